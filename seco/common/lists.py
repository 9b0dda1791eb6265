"""List files, one ``image label`` per line, as UniMatch and the SeCo authors' splits have them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seco.common.checks import check_number
from seco.common.files import PathLike, write_bytes


@dataclass(frozen=True)
class Line:
    """A line of a list file: paths as they stand there.

    Args:
        image: first column.
        label: second column, or ``None``.
        confidence: third column, or ``None``.
    """

    image: str
    label: str | None = None
    confidence: str | None = None


def read_list(path: PathLike, *, labels: bool = True) -> list[Line]:
    """Read a list file.

    Args:
        path: text, one image per line: image, label and optionally confidence, apart by white
            space. Blank lines, and what follows a ``#`` at a line's beginning, are passed over.
        labels: whether a label is expected; without, further columns are passed over.

    Raises:
        OSError: the file cannot be opened.
        ValueError: no text, no line, a line with another number of columns (a path with a space
            in it has too many), or a label (without labels an image) that is listed twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "list").write_text("# train\\na.png l/a.png\\n\\nb.png l/b.png\\n")
        ...     read_list(f"{folder}/list")[1]
        Line(image='b.png', label='l/b.png', confidence=None)
    """
    least, most = (2, 3) if labels else (1, 3)
    lines: list[Line] = []
    columns = 0
    seen: dict[str, int] = {}
    try:
        content = Path(path).read_text("utf-8-sig")  # with the mark that Windows puts first, or not
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8, got {error}") from error
    for number, text in enumerate(content.splitlines(), start=1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        columns = columns or len(words)
        if not least <= len(words) <= most or len(words) != columns:
            wanted = "an image" if not labels else "an image, a label and optionally a confidence"
            raise ValueError(
                f"{path}, line {number}: expected {wanted} without spaces in their paths, as many "
                f"columns as in the other lines, got {text.strip()!r}"
            )
        line = Line(*words) if labels else Line(words[0])
        written = line.label or line.image
        if written in seen:
            raise ValueError(
                f"{path}, line {number}: expected every file once, got {written} as in line "
                f"{seen[written]}"
            )
        seen[written] = number
        lines.append(line)
    if not lines:
        raise ValueError(f"{path}: expected at least one line with an image, got none")
    return lines


def write_lists(
    folder: Path,
    pairs: Sequence[tuple[Path, Path, float]],
    *,
    root: Path,
    least_share: float = 0.0,
) -> tuple[Path, Path]:
    """Write UniMatch's two lists, ``labeled.txt`` and ``unlabeled.txt``.

    Args:
        folder: where to.
        pairs: image, label, and the share of the label's pixels that has a class, 0-1.
        root: what the paths in the lists are relative to.
        least_share: an image is labelled if its share is larger than 0 and at least this.

    Returns:
        The paths of the lists.

    Raises:
        ValueError: a path outside ``root`` or with a space in it.
        OSError: a list cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as here:
        ...     root = Path(here)
        ...     pairs = [(root / "a.jpg", root / "a.png", 0.7), (root / "b.jpg", root / "b.png", 0)]
        ...     [path.read_text() for path in write_lists(root, pairs, root=root)]
        ['a.jpg a.png\\n', 'b.jpg b.png\\n']
    """
    check_number("least_share", least_share, low=0, high=1)
    lines: tuple[list[str], list[str]] = [], []
    for image, label, share in pairs:
        words = [_within(path, root) for path in (image, label)]
        lines[0 if share > 0 and share >= least_share else 1].append(" ".join(words) + "\n")
    paths = folder / "labeled.txt", folder / "unlabeled.txt"
    for path, content in zip(paths, lines, strict=True):
        write_bytes(path, "".join(content).encode())
    return paths


def check_listable(paths: Sequence[Path], root: Path) -> None:
    """Raise ``ValueError`` unless lists with these paths can be written, see above."""
    for path in paths:
        _within(path, root)


def _within(path: Path, root: Path) -> str:
    try:
        # Not resolved: data sets are often folders of links to elsewhere.
        text = Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()
    except ValueError:
        raise ValueError(f"{path}: expected a path within {root}, for the lists") from None
    if text.split() != [text]:
        raise ValueError(f"{path}: expected no space in a path, for the lists")
    return text
