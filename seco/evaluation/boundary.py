"""Boundary IoU: how well labels agree with truth close to the outlines of the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_number
from seco.common.confusion import as_label_maps, mean_of_known, ratios
from seco.common.labels import LabelSpace

DILATION_RATIO = 0.02
"""Of the image's diagonal: the width of the band along outlines in Cheng et al. for COCO and LVIS;
they take 0.005 for Cityscapes, whose pictures are large."""


@dataclass(frozen=True)
class BoundaryOverlap:
    """Pixels close to outlines, counted by class; add two to pool images.

    Args:
        intersection: (K,) int64, pixels of the class near its outline in both label and truth.
        union: (K,) int64, in either.

    Example:
        >>> truth = np.zeros((20, 20), int)
        >>> truth[:, 10:] = 1
        >>> late = np.roll(truth, 1, axis=1)
        >>> late[:, 0] = 0  # the outline is one pixel off
        >>> found = boundary_overlap(late, truth, LabelSpace(names=("road", "sky")))
        >>> found.iou.round(2).tolist(), round(found.mean_iou, 2)
        ([0.5, 0.49], 0.49)
    """

    intersection: Array
    union: Array

    def __add__(self, other: BoundaryOverlap) -> BoundaryOverlap:
        return BoundaryOverlap(self.intersection + other.intersection, self.union + other.union)

    @classmethod
    def zero(cls, space: LabelSpace) -> BoundaryOverlap:
        """Of no image: what pooling starts from."""
        nothing = np.zeros(space.num_classes, np.int64)
        return cls(nothing, nothing)

    @property
    def iou(self) -> Array:
        """(K,) Boundary IoU of each class; NaN for a class without a pixel near an outline."""
        return ratios(self.intersection, self.union)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that occur; NaN if none does."""
        return mean_of_known(self.iou)


def boundary_overlap(
    label: Array | Tensor,
    truth: Array | Tensor,
    space: LabelSpace,
    *,
    dilation_ratio: float = DILATION_RATIO,
) -> BoundaryOverlap:
    """Compare label and truth near the outlines of the classes.

    A pixel is near the outline of its class if a pixel of another one, or the outside of the
    image, is at most d pixels away in both directions; d is ``dilation_ratio`` of the image's
    diagonal, rounded, at least 1. Pixels whose truth is unknown are not counted and make no
    outline, neither in the truth nor in the label; ignored pixels of the label do.

    Args:
        label: (H, W) integer class ids; anything outside the classes is ignored.
        truth: the same shape, integer class ids; outside the classes they are unknown.
        space: the classes.
        dilation_ratio: of the diagonal, in (0, 1].

    Raises:
        TypeError, ValueError: not integer maps of one shape (H, W), or a ratio out of range.

    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
    CVPR 2021. The paper compares instances; here, as with IoU, all pixels of a class are pooled.
    """
    check_number("dilation_ratio", dilation_ratio, low=0, high=1, low_open=True)
    given, true = as_label_maps(label, truth)
    if given.ndim != 2:
        raise ValueError(f"label: expected shape (H, W), got {given.shape}")
    count = space.num_classes
    true = np.where((true >= 0) & (true < count), true, count).astype(np.int64)
    given = np.where((given >= 0) & (given < count), given, count).astype(np.int64)
    known = true < count
    width = max(1, round(dilation_ratio * float(np.hypot(*true.shape))))
    near_true = _near_outline(true, known, width) & known
    near_given = _near_outline(given, known, width) & known & (given < count)

    def per_class(classes: Array) -> Array:
        return np.bincount(classes, minlength=count)

    both = per_class(true[near_true & near_given & (true == given)])
    either = per_class(true[near_true]) + per_class(given[near_given]) - both
    return BoundaryOverlap(both, either)


def _near_outline(classes: Array, known: Array, width: int) -> Array:
    """Whether some known pixel within ``width`` has another class, or the image ends there."""
    from scipy.ndimage import maximum_filter, minimum_filter

    # All classes at once: a window holds one class alone if its least and its greatest are equal.
    size, top = 2 * width + 1, int(classes.max()) + 1
    least = minimum_filter(np.where(known, classes, top), size, mode="constant", cval=-1)
    greatest = maximum_filter(np.where(known, classes, -1), size, mode="constant", cval=top)
    near: Array = (least != classes) | (greatest != classes)
    return near
