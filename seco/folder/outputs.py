"""What a stage writes for an image, and in whose layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_choice
from seco.common.files import as_path, write_confidence, write_label
from seco.common.images import restore
from seco.common.inputs import ImageFiles
from seco.common.labels import LabelSpace
from seco.common.naming import NAMINGS
from seco.connectivities import Connectivities
from seco.folder.connectivities import write_connectivities

Layout = Literal["palette", "proda"]
ScoreFormat = Literal["png", "npy"]


@dataclass(frozen=True)
class ResultFiles:
    """The files that are written for an image; ``None`` for what is not."""

    label: Path
    scores: Path | None = None
    connectivities: Path | None = None

    @property
    def listed(self) -> tuple[Path, ...]:
        """Those that are."""
        paths = (self.label, self.scores, self.connectivities)
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class OutputFormat:
    """How refined or corrected labels are written, named as the labels that were read.

    Args:
        layout: ``"palette"``, a PNG with ids inside and colours when looked at; or ``"proda"``,
            the same with 250 for ignore, and beside every ``name.png`` the scores as
            ``name_conf.npy``, half precision.
        scores: a folder of its own for the scores (loss weights); not with ``"proda"``.
        score_format: of these, 8-bit grey ``"png"`` or half precision ``"npy"``.
        connectivities: a folder of its own for the regions that the labels consist of, see
            :mod:`seco.folder.connectivities`.

    Raises:
        ValueError: another layout or format, or scores with ``"proda"``.
    """

    layout: Layout = "palette"
    scores: Path | None = None
    score_format: ScoreFormat = "png"
    connectivities: Path | None = None

    def __post_init__(self) -> None:
        for name in ("scores", "connectivities"):  # strings will do
            object.__setattr__(self, name, as_path(getattr(self, name)))
        check_choice("layout", self.layout, ("palette", "proda"))
        check_choice("score_format", self.score_format, ("png", "npy"))
        if self.layout == "proda" and self.scores is not None:
            raise ValueError(
                f"scores: expected None with layout proda, which has its own, got {self.scores}"
            )

    def of_image(self, files: ImageFiles, out: Path) -> ResultFiles:
        """Where what belongs to an image is written."""
        scores = connectivities = None
        if self.layout == "proda":
            scores = file_at(out, files.place, "_conf.npy")
        elif self.scores is not None:
            scores = file_at(self.scores, files.place, f".{self.score_format}")
        if self.connectivities is not None:
            connectivities = connectivities_file(self.connectivities, files)
        return ResultFiles(file_at(out, files.place, ".png"), scores, connectivities)

    def paths(self, files: ImageFiles, out: Path) -> tuple[Path, ...]:
        """The label's path, then those of what else is written."""
        return self.of_image(files, out).listed

    def ignore_index(self, space: LabelSpace) -> int:
        """The id of unlabelled pixels in the labels as they are written."""
        proda = NAMINGS["proda"].ignore_index
        return proda if self.layout == "proda" and proda is not None else space.ignore_index

    def check_space(self, space: LabelSpace) -> None:
        """Raise ``ValueError`` unless all ids of a label space can be written."""
        ignore, classes = self.ignore_index(space), space.num_classes
        if classes > 256 or not 0 <= ignore <= 255 or ignore < classes:
            raise ValueError(
                "label_space: expected ids in 0..255, as an 8-bit PNG holds, got "
                f"{classes} classes, to be written with ignore_index {ignore}"
            )

    def describe(self) -> dict[str, str]:
        """What of it changes the files, for a manifest."""
        scores = "" if self.scores is None else f" and scores as {self.score_format}"
        connectivities = "" if self.connectivities is None else " and connectivities"
        return {"layout": self.layout + scores + connectivities}


@dataclass(frozen=True)
class LabelResult:
    """A label that was made of another one.

    Args:
        before: (H, W) integer array, ids as in the label space.
        labels: (1, H, W) int64, on any device.
        scores: (1, H, W) float32 in 0-1.
        connectivities: of ``labels``.
        regions: how many regions were kept, corrected and dropped, if that was judged.
    """

    before: Array
    labels: Tensor
    scores: Tensor
    connectivities: Connectivities
    regions: dict[str, int]


def write_result(
    at: ResultFiles, result: LabelResult, space: LabelSpace, output: OutputFormat
) -> dict[str, Any]:
    """Write a label after what belongs to it, and tell what has become of its pixels.

    Returns:
        Facts for the journal: ``before`` and ``after``, pixels per class and, last, unlabelled
        ones; ``changed``, pixels whose id is another one now; the counts of ``result.regions``.
    """
    after = restore(result.labels, like=result.before)
    if at.scores is not None:
        write_confidence(at.scores, result.scores[0].cpu().numpy())
    if at.connectivities is not None:
        write_connectivities(at.connectivities, result.connectivities)
    ignore = output.ignore_index(space)
    if ignore == space.ignore_index:
        write_label(at.label, after, space)
    else:
        stored = np.where(after == space.ignore_index, ignore, after)
        write_label(at.label, stored, replace(space, ignore_index=ignore))
    return {
        "before": _count(result.before, space),
        "after": _count(after, space),
        "changed": int((after != result.before).sum()),
        **result.regions,
    }


def labelled_share(facts: Any) -> float:
    """The share of a written label's pixels that has a class, of :func:`write_result`'s facts."""
    counts: list[int] = facts["after"]
    return sum(counts[:-1]) / sum(counts)


def connectivities_file(folder: Path, files: ImageFiles) -> Path:
    """Where the connectivities of an image's label are."""
    return file_at(folder, files.place, ".npz")


def file_at(folder: Path, place: Path, end: str) -> Path:
    """The file of an image in an output folder; names may have dots in them."""
    return folder / place.parent / (place.name + end)


def _count(label: Array, space: LabelSpace) -> list[int]:
    ids = np.where(label == space.ignore_index, space.num_classes, label)
    counts: list[int] = np.bincount(ids.ravel(), minlength=space.num_classes + 1).tolist()
    return counts
