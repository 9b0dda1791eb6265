"""Measures as plain numbers: of labels (overlap, accuracy, coverage, outlines), of correction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from seco.common.arrays import Array
from seco.common.confusion import Confusion, confusion
from seco.common.labels import LabelSpace
from seco.common.numbers import plain
from seco.evaluation.boundary import DILATION_RATIO, BoundaryOverlap, boundary_overlap
from seco.evaluation.connectivities import TrueConnectivities, recognition, repair


@dataclass(frozen=True)
class LabelQuality:
    """Labels of any number of images beside their truth; add two to pool images.

    Args:
        confusion: of all pixels.
        boundary: of the pixels near outlines.

    Example:
        >>> import numpy as np
        >>> space = LabelSpace(names=("road", "sky"))
        >>> truth = np.array([[0, 0, 1, 1]])
        >>> found = measure_labels(np.array([[0, 255, 1, 0]]), truth, space)
        >>> found.numbers(space)["coverage"], found.confusion.accuracy.__round__(2)
        (0.75, 0.67)
    """

    confusion: Confusion
    boundary: BoundaryOverlap

    def __add__(self, other: LabelQuality) -> LabelQuality:
        return LabelQuality(self.confusion + other.confusion, self.boundary + other.boundary)

    @classmethod
    def zero(cls, space: LabelSpace) -> LabelQuality:
        """Of no image: what pooling starts from."""
        return cls(Confusion.zero(space), BoundaryOverlap.zero(space))

    def numbers(self, space: LabelSpace) -> dict[str, Any]:
        """Every measure as a plain number in 0-1, for JSON; ``None`` where there is none.

        ``iou`` counts ignored pixels as misses, ``iou_labelled`` looks at labelled pixels alone.
        """
        found, labelled = self.confusion, self.confusion.labelled
        per_class = {
            "iou": found.iou,
            "iou_labelled": labelled.iou,
            "boundary_iou": self.boundary.iou,
        }
        return {
            "mean_iou": plain(found.mean_iou),
            "mean_iou_labelled": plain(labelled.mean_iou),
            "mean_boundary_iou": plain(self.boundary.mean_iou),
            "accuracy": plain(found.accuracy),
            "coverage": plain(found.coverage),
            "pixels": int(found.counts.sum()),
            "per_class": {
                name: {measure: plain(values[index]) for measure, values in per_class.items()}
                | {"true_pixels": int(found.counts[index].sum())}
                for index, name in enumerate(space.names)
            },
        }


def measure_labels(
    label: Array | Tensor,
    truth: Array | Tensor,
    space: LabelSpace,
    *,
    dilation_ratio: float = DILATION_RATIO,
) -> LabelQuality:
    """Compare a label map with the truth; see :func:`confusion` and :func:`boundary_overlap`.

    Raises:
        TypeError, ValueError: not integer maps of one shape (H, W), or a ratio out of range.
    """
    return LabelQuality(
        confusion(label, truth, space),
        boundary_overlap(label, truth, space, dilation_ratio=dilation_ratio),
    )


def connectivity_numbers(found: TrueConnectivities, tau_ns: float) -> dict[str, Any]:
    """Recognition and repair as plain numbers, for JSON, by count and by area."""
    said: dict[str, Any] = {"count": len(found), "wrong": int(found.noisy.sum()), "tau_ns": tau_ns}
    for name, by_area in (("by_count", False), ("by_area", True)):
        recognised = asdict(recognition(found, threshold=tau_ns, by_area=by_area))
        repaired = asdict(repair(found, by_area=by_area))
        said[name] = {key: plain(value) for key, value in (recognised | repaired).items()}
    return said
