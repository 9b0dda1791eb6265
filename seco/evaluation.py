"""Labels measured against truth: the confusion matrix and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_label_map
from seco.common.labels import LabelSpace


@dataclass(frozen=True)
class Confusion:
    """Pixels counted by true and by predicted class; add two to pool images.

    Args:
        counts: (K, K + 1) int64; row: the true class, column: the predicted one, the last column
            the pixels that the label leaves out (ignore).

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> found = confusion(np.array([[0, 1, 255, 1]]), np.array([[0, 1, 1, 255]]), space)
        >>> found.counts.tolist()
        [[1, 0, 0], [0, 1, 1]]
        >>> found.iou.tolist(), round(found.coverage, 2), found.accuracy
        ([1.0, 0.5], 0.67, 1.0)
    """

    counts: Array

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    @property
    def iou(self) -> Array:
        """(K,) IoU of each class, left-out pixels counted as misses; NaN for a class that is
        neither in truth nor in the labels."""
        kept = self.counts[:, :-1]
        hits = np.diag(kept).astype(np.float64)
        union = self.counts.sum(axis=1) + kept.sum(axis=0) - hits
        iou: Array = np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
        return iou

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that occur."""
        return float(np.nanmean(self.iou)) if np.isfinite(self.iou).any() else float("nan")

    @property
    def coverage(self) -> float:
        """Share of the pixels with a true class that the labels do not leave out."""
        return float(self.counts[:, :-1].sum() / max(self.counts.sum(), 1))

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are not left out whose class is right."""
        kept = self.counts[:, :-1]
        return float(np.trace(kept) / max(kept.sum(), 1))


def confusion(label: Array, truth: Array, space: LabelSpace) -> Confusion:
    """Compare a label map with the truth.

    Args:
        label: (H, W) integer class ids; anything outside the classes is left out.
        truth: (H, W) integer class ids; pixels outside the classes are not counted.
        space: the classes.

    Raises:
        TypeError, ValueError: not integer maps of one shape.
    """
    check_label_map("label", label)
    check_label_map("truth", truth)
    if label.shape != truth.shape:
        raise ValueError(f"truth: expected shape {label.shape} as label has, got {truth.shape}")
    count = space.num_classes
    known = (truth >= 0) & (truth < count)
    rows, columns = truth[known].astype(np.int64), label[known].astype(np.int64)
    columns = np.where((columns >= 0) & (columns < count), columns, count)
    counts = np.bincount(rows * (count + 1) + columns, minlength=count * (count + 1))
    return Confusion(counts.reshape(count, count + 1))
