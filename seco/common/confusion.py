"""Labels measured against truth: the confusion matrix and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

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
        >>> found.labelled.iou.tolist()
        [1.0, 1.0]
    """

    counts: Array

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts)

    @classmethod
    def zero(cls, space: LabelSpace) -> Confusion:
        """Of no image: what pooling starts from."""
        return cls(np.zeros((space.num_classes, space.num_classes + 1), np.int64))

    @property
    def labelled(self) -> Confusion:
        """The same without the pixels that the label leaves out."""
        return Confusion(np.pad(self.counts[:, :-1], ((0, 0), (0, 1))))

    @property
    def iou(self) -> Array:
        """(K,) IoU of each class, left-out pixels counted as misses; NaN for a class that is
        neither in truth nor in the labels."""
        kept = self.counts[:, :-1]
        hits = np.diag(kept)
        return ratios(hits, self.counts.sum(axis=1) + kept.sum(axis=0) - hits)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that occur; NaN if none does."""
        return mean_of_known(self.iou)

    @property
    def coverage(self) -> float:
        """Share of the pixels with a true class that the labels do not leave out; NaN of none."""
        return float(ratios(self.counts[:, :-1].sum(), self.counts.sum()))

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are not left out whose class is right; NaN if all are."""
        kept = self.counts[:, :-1]
        return float(ratios(np.trace(kept), kept.sum()))


def confusion(label: Array | Tensor, truth: Array | Tensor, space: LabelSpace) -> Confusion:
    """Compare a label map with the truth.

    Args:
        label: (H, W) or (B, H, W) integer class ids; anything outside the classes is left out.
        truth: the same shape, integer class ids; pixels outside the classes are not counted.
        space: the classes.

    Raises:
        TypeError, ValueError: not integer maps of one shape.
    """
    given, true = as_label_maps(label, truth)
    count = space.num_classes
    known = (true >= 0) & (true < count)
    rows, columns = true[known].astype(np.int64), given[known].astype(np.int64)
    columns = np.where((columns >= 0) & (columns < count), columns, count)
    counts = np.bincount(rows * (count + 1) + columns, minlength=count * (count + 1))
    return Confusion(counts.reshape(count, count + 1))


def as_label_maps(label: Array | Tensor, truth: Array | Tensor) -> tuple[Array, Array]:
    """Label and truth as numpy arrays, checked to be integer maps of one shape."""
    check_label_map("label", label)
    check_label_map("truth", truth)
    if tuple(label.shape) != tuple(truth.shape):
        raise ValueError(
            f"truth: expected shape {tuple(label.shape)} as label has, got {tuple(truth.shape)}"
        )
    return as_array(label), as_array(truth)


def as_array(values: Array | Tensor) -> Array:
    """A tensor's values on the CPU; an array as it is."""
    return values.cpu().numpy() if isinstance(values, Tensor) else values


def ratios(hits: Array, of: Array) -> Array:
    """``hits / of`` as float64, NaN where ``of`` is 0."""
    found: Array = np.divide(hits, of, out=np.full(np.shape(of), np.nan), where=np.asarray(of) > 0)
    return found


def mean_of_known(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
