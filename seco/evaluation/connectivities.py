"""Corrections measured against truth: which regions were recognised as noise, what became of them.

*Recognition* asks whether the noise probability tells wrong regions from right ones; *repair* asks
what happened to the wrong ones, and to the right ones that should have been left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_label_map, check_number
from seco.common.confusion import as_array
from seco.common.labels import LabelSpace
from seco.correction.decision import DROP
from seco.correction.judging import Judgement

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
        losses: (N,) float64, their cross-entropies under the classifier.
        noise_probability: (N,) float64 in [0, 1].
        areas: (N,) int64, pixels of known truth under each.
    """

    before: Array
    after: Array
    true: Array
    losses: Array
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
        integers, floats = np.zeros(0, np.int64), np.zeros(0)
        parts = [cls(integers, integers, integers, floats, floats, integers), *parts]
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )


@dataclass(frozen=True)
class Recognition:
    """How well loss and noise probability tell wrong connectivities from right ones.

    Args:
        auroc_of_loss: area under the ROC curve of the loss, the probability that a wrong
            connectivity has a larger one than a right one; NaN unless there are both.
        auroc_of_noise_probability: the same of noise probability, where a tie counts half: all
            that ``max_noise_share`` spares have 0, so that it is mostly lower.
        noise_rate: share of wrong ones among all.
        noise_rate_below: share of wrong ones among those below the threshold, which are taken for
            clean (6-9 % in the paper's figure 4); NaN if there are none.
        noise_rate_above: share of wrong ones among those at or above the threshold, which are
            taken for noise (86-89 % there); NaN if there are none.
        share_above: share of all that are at or above the threshold.
    """

    auroc_of_loss: float
    auroc_of_noise_probability: float
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


def true_classes(
    ids: Array | Tensor, classes: Array | Tensor, truth: Array | Tensor, space: LabelSpace
) -> tuple[Array, Array]:
    """Find the true class of every connectivity of one image.

    Args:
        ids: (H, W) integers, the connectivity of every pixel, 1..N; 0 is none.
        classes: (N,) integers, the class that each was given.
        truth: (H, W) integer class ids; outside the classes it is unknown.
        space: the classes.

    Returns:
        (N,) int64, the commonest true class under each, the given one if it is as common, -1 if
        the truth is unknown; and (N,) int64, the pixels of known truth under each.

    Raises:
        TypeError, ValueError: not integer maps of one shape, or other than N classes.

    Example:
        >>> ids, truth = np.array([[1, 1, 1, 2, 2]]), np.array([[0, 1, 1, 1, 255]])
        >>> true_classes(ids, np.array([0, 1]), truth, LabelSpace(names=("road", "sky")))
        (array([1, 1]), array([3, 1]))
    """
    check_label_map("ids", ids, batched=False)
    check_label_map("truth", truth, batched=False)
    if tuple(ids.shape) != tuple(truth.shape):
        raise ValueError(
            f"truth: expected shape {tuple(ids.shape)} as ids has, got {tuple(truth.shape)}"
        )
    number, given, true = (as_array(values) for values in (ids, classes, truth))
    number, given = number.astype(np.int64), given.astype(np.int64)
    if given.ndim != 1 or number.min() < 0 or number.max() > len(given):
        raise ValueError(
            f"classes: expected one for each of the ids 1..{number.max()}, got shape {given.shape}"
        )
    count, total = space.num_classes, len(given)
    counted = (number > 0) & (true >= 0) & (true < count)
    cells = (number[counted] - 1) * count + true[counted]
    votes = np.bincount(cells, minlength=total * count).reshape(total, count)
    areas = votes.sum(axis=1)
    is_given = votes[np.arange(total), given] == votes.max(axis=1)
    found = np.where(is_given, given, votes.argmax(axis=1))
    return np.where(areas > 0, found, -1), areas


def compare_with_truth(
    judgement: Judgement, truth: Array | Tensor, space: LabelSpace
) -> TrueConnectivities:
    """Put what correction did to the connectivities of one image beside the truth.

    Args:
        judgement: of :meth:`seco.ConnectivityCorrector.correct_with_details` or of
            :func:`seco.refine_with_details`.
        truth: (H, W) integer class ids; outside the classes it is unknown.
        space: the classes.

    Raises:
        TypeError, ValueError: not an integer map, or of another size than the image.
    """
    before, decided = judgement.connectivities, judgement.decisions
    true, areas = true_classes(before.ids, before.classes, truth, space)
    after = torch.where(decided.actions == DROP, DROPPED, decided.classes)
    known = areas > 0
    return TrueConnectivities(
        before=as_array(before.classes)[known],
        after=as_array(after)[known],
        true=true[known],
        losses=as_array(judgement.losses)[known].astype(np.float64),
        noise_probability=as_array(judgement.noise_probability)[known].astype(np.float64),
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
        >>> given, true, area = np.zeros(3, int), np.array([0, 0, 1]), np.ones(3, int)
        >>> losses, noise = np.array([0.1, 1, 2]), np.array([0, 0.7, 0.9])
        >>> pooled = TrueConnectivities(given, given, true, losses, noise, area)
        >>> recognition(pooled).auroc_of_loss, recognition(pooled).noise_rate_above
        (1.0, 0.5)

    Source: SeCo, figure 4 (noise rates).
    """
    check_number("threshold", threshold, low=0, high=1)
    noisy, weights = found.noisy, _weights(found, by_area)
    above = found.noise_probability >= threshold
    everything = np.ones(len(found), bool)
    return Recognition(
        auroc_of_loss=_auroc(noisy, found.losses, weights),
        auroc_of_noise_probability=_auroc(noisy, found.noise_probability, weights),
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
        >>> before, true, certain = np.zeros(4, int), np.array([0, 1, 1, 1]), np.ones(4)
        >>> after, area = np.array([0, 1, DROPPED, 0]), np.ones(4, int)
        >>> measured = repair(TrueConnectivities(before, after, true, certain, certain, area))
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


def _auroc(noisy: Array, measure: Array, weights: Array) -> float:
    """NaN unless there are both kinds."""
    from sklearn.metrics import roc_auc_score

    both = 0 < noisy.sum() < len(noisy)
    return float(roc_auc_score(noisy, measure, sample_weight=weights)) if both else float("nan")


def _share(which: Array, among: Array, weights: Array) -> float:
    """Weight of ``which`` in ``among``; NaN where that has none."""
    total = int(weights[among].sum())
    return int(weights[among & which].sum()) / total if total else float("nan")
