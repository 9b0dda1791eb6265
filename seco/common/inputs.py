"""Which image, label and confidence belong together, in folders, in lists, or given one by one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seco.common.checks import check_choice
from seco.common.files import PathLike, as_path
from seco.common.jobs import Outcome
from seco.common.jobs.run import failure
from seco.common.lists import read_list
from seco.common.naming import NAMINGS, Naming, by_key, detect_naming

IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
CONFIDENCE_FORMATS = (*IMAGE_FORMATS, ".npy")


@dataclass(frozen=True)
class ImageFiles:
    """One image and what belongs to it.

    Args:
        image: RGB image.
        label: label map, or ``None``; see :func:`seco.common.files.read_label`.
        confidence: of the label, or ``None``.
        image_place: the image's path within its folder, without the format; its regions are
            called so.
        place: what outputs are called, a path within their folder, without the format: the
            label's, or without labels the image's.
    """

    image: Path
    label: Path | None
    confidence: Path | None
    image_place: Path
    place: Path

    @property
    def name(self) -> str:
        """What a user knows it by, for messages."""
        return self.place.as_posix()


@dataclass(frozen=True)
class Inputs:
    """The images of a job.

    Args:
        files: in the order of their names, or of the list.
        failures: one for every file without exactly one partner.
        ignore_index: the id of unlabelled pixels in the labels, if another than the label space's.
    """

    files: tuple[ImageFiles, ...]
    failures: tuple[Outcome, ...] = ()
    ignore_index: int | None = None


def find_inputs(
    images: PathLike,
    labels: PathLike | None = None,
    *,
    confidence: PathLike | None = None,
    list_file: PathLike | None = None,
    naming: str | Naming = "auto",
    match: Literal["path", "name"] = "path",
    among: Sequence[Path] | None = None,
) -> Inputs:
    """Pair the files of folders, subfolders included.

    Args:
        images: folder of images in the formats of ``IMAGE_FORMATS``.
        labels: folder of label maps, if they are wanted.
        confidence: folder of confidences, images or ``.npy``, if they are wanted.
        list_file: take the files that a list names instead, see
            :func:`seco.common.lists.read_list`; the folders are then what its paths are relative
            to (confidences without a folder: the labels').
        naming: how names are built, a key of ``NAMINGS``, one of your own, or ``"auto"`` to find
            out where that is unambiguous.
        match: files belong together whose ``"path"`` within their folders, or whose ``"name"``
            alone, is the same.
        among: take these images of the folder alone, ``images`` being the start of their paths.

    Raises:
        OSError: nothing at one of the places.
        ValueError: a file where a folder is expected, folders without any pair, an ambiguous
            naming, or a list that is wrong.
    """
    check_choice("match", match, ("path", "name"))
    images, labels, confidence = Path(images), as_path(labels), as_path(confidence)
    for folder in (images, labels, confidence):
        if folder is not None and not folder.exists():
            raise FileNotFoundError(f"{folder}: no such file or folder")
        if folder is not None and not folder.is_dir():
            why = "" if folder == images else f", as {images} is one"
            raise ValueError(f"{folder}: expected a folder{why}, got a file")
    if isinstance(naming, str):
        check_choice("naming", naming, ("auto", *NAMINGS))
    if list_file is not None:
        ignore = None if naming == "auto" else _named(naming).ignore_index
        return _listed(images, labels, confidence, list_file, ignore)
    failures: list[Outcome] = []
    if among is None:
        found_images = _files_in(images, IMAGE_FORMATS, failures)
    else:
        found_images = sorted(path.relative_to(images) for path in among)
    if labels is None:
        return _images_alone(images, found_images, naming, failures)
    alone = match == "name"
    asked, found_labels = naming, _files_in(labels, IMAGE_FORMATS, failures)
    if naming == "auto":
        beside = _files_in(labels, CONFIDENCE_FORMATS)
        naming = detect_naming(found_images, beside, name_alone=alone)
    rule = _named(naming)
    folders = [images, labels]
    found = [
        by_key(found_images, rule, rule.image_ends, name_alone=alone),
        by_key(found_labels, rule, rule.label_ends, name_alone=alone),
    ]
    if not found[0].keys() & found[1].keys():
        hint = "" if alone else _hint_of_names(found_images, found_labels, asked)
        if not hint and asked == "auto":
            hint = _hint_of_suffixes(found_images, found_labels, name_alone=alone)
        raise ValueError(
            f"expected images and labels with the same names, "
            f"got {_some(found[0], found_images)} in {images} "
            f"and {_some(found[1], found_labels)} in {labels}{hint}"
        )
    keys = sorted(found[0].keys() | found[1].keys())
    if confidence is not None:
        files = _files_in(confidence, CONFIDENCE_FORMATS, failures)
        folders.append(confidence)
        found.append(by_key(files, rule, rule.confidence_ends, name_alone=alone))
    paired = []
    for key in keys:
        parts = [some.get(key, []) for some in found]
        wrong = [
            _complaint(kind, files)
            for kind, files in zip(("image", "label", "confidence"), parts, strict=False)
            if len(files) != 1
        ]
        if wrong:
            failures.append(Outcome(key, "failed", "; ".join(wrong)))
            continue
        paths = [folder / files[0] for folder, files in zip(folders, parts, strict=True)]
        paired.append(
            ImageFiles(
                image=paths[0],
                label=paths[1],
                confidence=paths[2] if confidence is not None else None,
                image_place=parts[0][0].with_suffix(""),
                place=parts[1][0].with_suffix(""),
            )
        )
    return Inputs(tuple(paired), tuple(failures), rule.ignore_index)


def single_input(
    image: PathLike,
    label: PathLike,
    *,
    confidence: PathLike | None = None,
    ignore_index: int | None = None,
) -> Inputs:
    """One image and its label, given as files.

    Raises:
        FileNotFoundError: nothing at one of the places.
        ValueError: a folder.
    """
    image, label, confidence = Path(image), Path(label), as_path(confidence)
    for path in (image, label, confidence):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if path is not None and path.is_dir():
            raise ValueError(f"{path}: expected a file, as {image} is one, got a folder")
    files = ImageFiles(image, label, confidence, Path(image.stem), Path(image.stem))
    return Inputs((files,), ignore_index=ignore_index)


def check_apart(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Raise ``ValueError`` if an output is, holds or lies in an input or another output.

    Outputs among the inputs would be taken for inputs in the next run, or replace them.
    """
    places = [path for path in inputs if path is not None]
    for output in outputs:
        if output is None:
            continue
        for other in places:
            a, b = output.resolve(), other.resolve()
            if a == b or a in b.parents or b in a.parents:
                places_of = "the inputs and other outputs, got one of them" if a == b else other
                raise ValueError(f"{output}: expected a place apart from {places_of}")
        places.append(output)


def _named(naming: str | Naming) -> Naming:
    return NAMINGS[naming] if isinstance(naming, str) else naming


def _images_alone(
    folder: Path, found: list[Path], naming: str | Naming, failures: list[Outcome]
) -> Inputs:
    rule = _named("plain" if naming == "auto" else naming)
    kept = by_key(found, rule, rule.image_ends)
    if not kept:
        raise ValueError(f"expected images, got {_some(kept, found)} in {folder}")
    places: dict[Path, list[Path]] = {}
    for path in sorted(path for paths in kept.values() for path in paths):
        places.setdefault(path.with_suffix(""), []).append(path)
    for place, paths in places.items():
        if len(paths) > 1:
            failures.append(Outcome(place.as_posix(), "failed", _complaint("image", paths)))
    files = (
        ImageFiles(folder / paths[0], None, None, place, place)
        for place, paths in places.items()
        if len(paths) == 1
    )
    return Inputs(tuple(files), tuple(failures))


def _listed(
    images: Path,
    labels: Path | None,
    confidence: Path | None,
    list_file: PathLike,
    ignore_index: int | None,
) -> Inputs:
    found, failures = [], []
    for line in read_list(list_file, labels=labels is not None):
        image, label, certainty = images / line.image, None, None
        image_place = place = _place(line.image, list_file)
        parts = [("image", image)]
        if labels is not None and line.label is not None:
            label, place = labels / line.label, _place(line.label, list_file)
            parts.append(("label", label))
        if line.confidence is not None:
            certainty = (confidence or labels or images) / line.confidence
            parts.append(("confidence", certainty))
        elif confidence is not None:
            raise ValueError(f"{list_file}: expected a third column, the confidence, got none")
        missing = [f"no {kind} at {path}" for kind, path in parts if not path.is_file()]
        if missing:
            failures.append(Outcome(place.as_posix(), "failed", "; ".join(missing)))
        else:
            found.append(ImageFiles(image, label, certainty, image_place, place))
    return Inputs(tuple(found), tuple(failures), ignore_index)


def _place(path: str, list_file: PathLike) -> Path:
    place = Path(path)
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(
            f"{list_file}: expected paths relative to the folders of images and labels, got {path}"
        )
    return place.with_suffix("")


def _files_in(
    folder: Path, formats: tuple[str, ...], failures: list[Outcome] | None = None
) -> list[Path]:
    """The files of a folder and its subfolders in these formats, within it, sorted.

    Links are followed, but not back to a folder that they are in: else every file would be found
    some forty times. Subfolders that cannot be read are added to ``failures``.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found = []
    errors: list[OSError] = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=errors.append):
        folders[:] = [name for name in folders if not _leads_back(Path(parent, name))]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in formats:
                found.append(path.relative_to(folder))
    for error in errors:
        if Path(error.filename) == folder:
            raise error
        if failures is not None:
            failures.append(failure(str(error.filename), error))
    return sorted(found)


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it is in, by whatever links it was come to."""
    if not folder.is_symlink():
        return False
    target, above = folder.resolve(), [parent.resolve() for parent in folder.parents]
    return any(target == one or target in one.parents for one in above)


def _hint_of_names(images: list[Path], labels: list[Path], naming: str | Naming) -> str:
    """What to say besides where no paths agree, but names do."""
    hint = "; the names without subfolders agree: --match name pairs by them"
    try:
        rule = _named(
            detect_naming(images, labels, name_alone=True) if naming == "auto" else naming
        )
    except ValueError:  # several fit, which it will say then
        return hint
    own = by_key(images, rule, rule.image_ends, name_alone=True)
    others = by_key(labels, rule, rule.label_ends, name_alone=True)
    return hint if own.keys() & others.keys() else ""


def _complaint(kind: str, files: list[Path]) -> str:
    if not files:
        return f"no {kind} of that name"
    return f"more than one {kind} of that name: {', '.join(map(str, files))}"


def _hint_of_suffixes(images: list[Path], labels: list[Path], *, name_alone: bool) -> str:
    """What to say besides where names agree but for what follows their last ``_``, ``-`` or ``.``

    Of ``0_rgb.png`` and ``0_pred.png`` that is ``_rgb`` and ``_pred``.
    """
    image_end, label_end = _shared_end(images), _shared_end(labels)
    rule = Naming(image_ends=(image_end,), label_ends=(label_end,))
    own = by_key(images, rule, rule.image_ends, name_alone=name_alone)
    others = by_key(labels, rule, rule.label_ends, name_alone=name_alone)
    ends = (("image", image_end), ("label", label_end))
    given = " ".join(f"--{kind}-suffix {end}" for kind, end in ends if end)
    pairs = len(own.keys() & others.keys())
    return f"; {given} pairs {pairs} of them" if given and pairs else ""


def _shared_end(paths: list[Path]) -> str:
    """What follows the last separator in all names, and the separator; ``""`` if they differ."""
    cuts = [(path.stem, max(path.stem.rfind(mark) for mark in "_-.")) for path in paths]
    ends = {stem[cut:] if cut >= 0 else "" for stem, cut in cuts}
    return ends.pop() if len(ends) == 1 else ""


def _some(found: dict[str, list[Path]], files: list[Path]) -> str:
    """Names to show; if there are none, why."""
    names = sorted(found)
    if names:
        return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    if files:
        more = ", ..." if len(files) > 1 else ""
        return f"{len(files)} files ({files[0]}{more}) that the naming leaves alone"
    return f"no file in a format that is read ({', '.join(IMAGE_FORMATS)})"
