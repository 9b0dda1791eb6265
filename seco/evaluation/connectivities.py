"""Corrections measured against truth: which regions were recognised as noise, what became of them.

*Recognition* asks whether the noise probability tells wrong regions from right ones; *repair* asks
what happened to the wrong ones, and to the right ones that should have been left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_label_map, check_number
from seco.common.labels import LabelSpace
from seco.evaluation.confusion import as_array

DROPPED = -1
"""The class after correction of a connectivity that became ignore."""


@dataclass(frozen=True)
class TrueConnectivities:
    """N connectivities beside the truth about them; :meth:`pool` joins those of several images.

    Only connectivities with at least one pixel of known truth are in it.

    Args:
        before: (N,) int64, the classes before correction.
        after: (N,) int64, the classes after it; ``DROPPED`` where it became ignore.
        true: (N,) int64, the commonest true class under each; the class before if it is as common.
        noise_probability: (N,) float64 in [0, 1].
        areas: (N,) int64, pixels of known truth under each.
    """

    before: Array
    after: Array
    true: Array
    noise_probability: Array
    areas: Array

    def __len__(self) -> int:
        return len(self.before)

    @property
    def noisy(self) -> Array:
        """(N,) bool, whether the class before correction is wrong."""
        wrong: Array = self.before != self.true
        return wrong

    @classmethod
    def pool(cls, parts: Sequence[TrueConnectivities]) -> TrueConnectivities:
        """All connectivities of several images; of none, none."""
        nothing = (*(np.zeros(0, np.int64),) * 3, np.zeros(0), np.zeros(0, np.int64))
        columns = (
            [empty, *(getattr(part, field.name) for part in parts)]
            for field, empty in zip(fields(cls), nothing, strict=True)
        )
        return cls(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Recognition:
    """How well noise probability tells wrong connectivities from right ones.

    Args:
        auroc: area under the ROC curve of noise probability, the probability that a wrong
            connectivity has a larger one than a right one; NaN unless there are both.
        noise_rate: share of wrong ones among all.
        noise_rate_below: share of wrong ones among those below the threshold, which are taken for
            clean (6-9 % in the paper's figure 4); NaN if there are none.
        noise_rate_above: share of wrong ones among those at or above the threshold, which are
            taken for noise (86-89 % there); NaN if there are none.
        share_above: share of all that are at or above the threshold.
    """

    auroc: float
    noise_rate: float
    noise_rate_below: float
    noise_rate_above: float
    share_above: float


@dataclass(frozen=True)
class Repair:
    """What became of wrong and of right connectivities; each group's shares sum to 1.

    All are NaN for a group without a connectivity.

    Args:
        noisy_corrected: of the wrong ones, the share that got the right class.
        noisy_miscorrected: of the wrong ones, that got another wrong class.
        noisy_dropped: of the wrong ones, that became ignore.
        noisy_kept: of the wrong ones, that kept their class.
        clean_kept: of the right ones, that kept their class.
        clean_harmed: of the right ones, that got a wrong class.
        clean_dropped: of the right ones, that became ignore.
    """

    noisy_corrected: float
    noisy_miscorrected: float
    noisy_dropped: float
    noisy_kept: float
    clean_kept: float
    clean_harmed: float
    clean_dropped: float


def compare_with_truth(
    ids: Array | Tensor,
    before: Array | Tensor,
    after: Array | Tensor,
    noise_probability: Array | Tensor,
    truth: Array | Tensor,
    space: LabelSpace,
) -> TrueConnectivities:
    """Find the true class of every connectivity of one image.

    Args:
        ids: (H, W) integers, the connectivity of every pixel, 1..N; 0 is none.
        before: (N,) integers, the classes before correction.
        after: (N,) integers, the classes after it; ``DROPPED`` where it became ignore.
        noise_probability: (N,) floats in [0, 1].
        truth: (H, W) integer class ids; outside the classes it is unknown.
        space: the classes.

    Raises:
        TypeError, ValueError: not integer maps of one shape, or other than N values.

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> ids = np.array([[1, 1, 1, 2, 2]])
        >>> truth = np.array([[0, 1, 1, 1, 255]])
        >>> found = compare_with_truth(ids, np.array([0, 1]), np.array([1, 1]), np.array([0.9, 0]),
        ...     truth, space)
        >>> found.true.tolist(), found.noisy.tolist(), found.areas.tolist()
        ([1, 1], [True, False], [3, 1])
    """
    check_label_map("ids", ids, batched=False)
    check_label_map("truth", truth, batched=False)
    if tuple(ids.shape) != tuple(truth.shape):
        raise ValueError(
            f"truth: expected shape {tuple(ids.shape)} as ids has, got {tuple(truth.shape)}"
        )
    number, true = as_array(ids).astype(np.int64), as_array(truth)
    columns = [as_array(values) for values in (before, after, noise_probability)]
    for name, column in zip(("before", "after", "noise_probability"), columns, strict=True):
        if column.shape != columns[0].shape[:1] or number.min() < 0 or number.max() > len(column):
            raise ValueError(
                f"{name}: expected one value for each of the ids {number.min()}..{number.max()} "
                f"from 1 on, got shape {column.shape}"
            )
    count, total = space.num_classes, len(columns[0])
    counted = (number > 0) & (true >= 0) & (true < count)
    cells = (number[counted] - 1) * count + true[counted]
    votes = np.bincount(cells, minlength=total * count).reshape(total, count)
    areas = votes.sum(axis=1)
    own = columns[0].astype(np.int64)
    commonest = votes.argmax(axis=1)
    is_own = np.take_along_axis(votes, own[:, None], axis=1)[:, 0] == votes.max(axis=1, initial=0)
    known = areas > 0
    return TrueConnectivities(
        before=own[known],
        after=columns[1].astype(np.int64)[known],
        true=np.where(is_own, own, commonest)[known],
        noise_probability=columns[2].astype(np.float64)[known],
        areas=areas[known],
    )


def recognition(
    found: TrueConnectivities, *, threshold: float = 0.6, by_area: bool = False
) -> Recognition:
    """Measure recognition.

    Args:
        found: connectivities of any number of images.
        threshold: of noise probability, ``tau_ns`` of the correction.
        by_area: count pixels instead of connectivities.

    Raises:
        TypeError, ValueError: a threshold out of [0, 1].

    Example:
        >>> ids, truth = np.array([[1, 2, 3]]), np.array([[0, 0, 1]])
        >>> classes, noise = np.zeros(3, int), np.array([0, 0.7, 0.9])
        >>> space = LabelSpace(names=("road", "sky"))
        >>> pooled = compare_with_truth(ids, classes, classes, noise, truth, space)
        >>> recognition(pooled).auroc, recognition(pooled).noise_rate_above
        (1.0, 0.5)

    Source: SeCo, figure 4 (noise rates).
    """
    from sklearn.metrics import roc_auc_score

    check_number("threshold", threshold, low=0, high=1)
    noisy, weights = found.noisy, _weights(found, by_area)
    above = found.noise_probability >= threshold
    both = 0 < noisy.sum() < len(noisy)
    auroc = roc_auc_score(noisy, found.noise_probability, sample_weight=weights) if both else np.nan
    everything = np.ones(len(found), bool)
    return Recognition(
        auroc=float(auroc),
        noise_rate=_share(noisy, everything, weights),
        noise_rate_below=_share(noisy, ~above, weights),
        noise_rate_above=_share(noisy, above, weights),
        share_above=_share(above, everything, weights),
    )


def repair(found: TrueConnectivities, *, by_area: bool = False) -> Repair:
    """Measure what became of wrong and of right connectivities.

    Args:
        found: connectivities of any number of images.
        by_area: count pixels instead of connectivities.

    Example:
        >>> ids, truth = np.array([[1, 2, 3, 4]]), np.array([[0, 1, 1, 1]])
        >>> before, after = np.array([0, 0, 0, 0]), np.array([0, 1, DROPPED, 0])
        >>> space = LabelSpace(names=("road", "sky"))
        >>> measured = repair(compare_with_truth(ids, before, after, np.ones(4), truth, space))
        >>> round(measured.noisy_corrected, 2), measured.clean_kept
        (0.33, 1.0)
    """
    noisy, clean, weights = found.noisy, ~found.noisy, _weights(found, by_area)
    dropped = found.after == DROPPED
    kept = found.after == found.before
    right = found.after == found.true
    return Repair(
        noisy_corrected=_share(right, noisy, weights),
        noisy_miscorrected=_share(~(right | kept | dropped), noisy, weights),
        noisy_dropped=_share(dropped, noisy, weights),
        noisy_kept=_share(kept, noisy, weights),
        clean_kept=_share(kept, clean, weights),
        clean_harmed=_share(~(kept | dropped), clean, weights),
        clean_dropped=_share(dropped, clean, weights),
    )


def _weights(found: TrueConnectivities, by_area: bool) -> Array:
    return found.areas if by_area else np.ones(len(found), np.int64)


def _share(which: Array, among: Array, weights: Array) -> float:
    """Weight of ``which`` in ``among``; NaN where that has none."""
    total = int(weights[among].sum())
    return int(weights[among & which].sum()) / total if total else float("nan")
