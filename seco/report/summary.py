"""What happened to the labels of a data set, gathered image by image."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seco.common.arrays import Array
from seco.common.checks import check_integer
from seco.common.labels import LabelSpace
from seco.correction.judging import Judgement
from seco.evaluation import (
    Confusion,
    LabelQuality,
    TrueConnectivities,
    compare_with_truth,
    confusion,
    measure_labels,
)
from seco.evaluation.boundary import DILATION_RATIO

ACTIONS = ("kept", "corrected", "dropped")
"""What can become of a connectivity, in the order of :mod:`seco.correction.decision`."""


@dataclass(frozen=True)
class ImageSteps:
    """One image and its label at every step.

    Args:
        name: what the user knows it by.
        image: gives its pixels, (H, W, 3) uint8 RGB; called for the few images that are shown.
        labels: the name of a step -> the label after it, (H, W) integer class ids or ignore, in
            the order of the steps and the same steps for all images; the first is the raw label.
        judgement: of the connectivities that the last step judged, if it did.
        truth: (H, W) integer class ids, if known; read for measuring only.
    """

    name: str
    image: Callable[[], Array]
    labels: Mapping[str, Array]
    judgement: Judgement | None = None
    truth: Array | None = None

    @property
    def before(self) -> Array:
        """The raw label."""
        return next(iter(self.labels.values()))

    @property
    def after(self) -> Array:
        """The label after the last step."""
        return list(self.labels.values())[-1]


@dataclass(frozen=True)
class Summary:
    """What happened to the labels of a data set.

    Args:
        space: the classes.
        images: how many.
        change: pixels counted by raw class (row) and by class after the last step (column, the
            last one for ignore).
        filled: (K,) int64, pixels that the raw label ignores, by class after the last step.
        ignored: pixels that are ignored in both.
        actions: (3, 2) int64, connectivities and their pixels that were kept, corrected, dropped.
        quality: the name of a step -> its labels beside the truth; empty if no truth is known.
        compared: images with known truth.
        connectivities: the judged ones beside the truth; ``None`` without judgement or truth.
        largest: the images whose labels changed most, the largest share of changed pixels first.
    """

    space: LabelSpace
    images: int
    change: Confusion
    filled: Array
    ignored: int
    actions: Array
    quality: Mapping[str, LabelQuality]
    compared: int
    connectivities: TrueConnectivities | None
    largest: Sequence[ImageSteps]

    @property
    def pixels(self) -> int:
        """All pixels of all images."""
        return int(self.change.counts.sum() + self.filled.sum()) + self.ignored

    @property
    def before(self) -> Array:
        """(K,) int64, pixels of each class in the raw labels."""
        counts: Array = self.change.counts.sum(axis=1)
        return counts

    @property
    def after(self) -> Array:
        """(K,) int64, pixels of each class after the last step."""
        counts: Array = self.change.counts[:, :-1].sum(axis=0) + self.filled
        return counts

    @property
    def relabelled(self) -> int:
        """Pixels that have one class before and another one after."""
        kept = self.change.counts[:, :-1]
        return int(kept.sum() - np.trace(kept))

    @property
    def dropped(self) -> int:
        """Pixels that have a class before and none after."""
        return int(self.change.counts[:, -1].sum())


def summarise(
    images: Iterable[ImageSteps],
    space: LabelSpace,
    *,
    shown: int = 8,
    dilation_ratio: float = DILATION_RATIO,
) -> Summary:
    """Look at every image once; only the ``shown`` most changed labels stay in memory.

    Args:
        images: with the same steps each.
        space: the classes.
        shown: how many of the most changed images to keep for the gallery.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.

    Raises:
        TypeError, ValueError: a label, truth or judgement of another size or kind (the message
            names the image), or images with other steps.

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> raw, refined = np.array([[0, 1, 1, 255]]), np.array([[0, 0, 255, 1]])
        >>> pixels = lambda: np.zeros((1, 4, 3), np.uint8)
        >>> found = summarise([ImageSteps("a", pixels, {"raw": raw, "PSA": refined})], space)
        >>> found.relabelled, found.dropped, found.before.tolist(), found.after.tolist()
        (1, 1, [1, 2], [2, 1])
    """
    check_integer("shown", shown, low=0)
    count = space.num_classes
    transitions = np.zeros((count + 1, count + 1), np.int64)
    actions = np.zeros((3, 2), np.int64)
    quality: dict[str, LabelQuality] = {}
    steps: tuple[str, ...] | None = None
    parts: list[TrueConnectivities] = []
    largest: list[tuple[float, int, ImageSteps]] = []
    seen = compared = 0
    for position, item in enumerate(images):
        if steps is not None and tuple(item.labels) != steps:
            raise ValueError(
                f"{item.name}: expected the steps {', '.join(steps)} as the images before, "
                f"got {', '.join(item.labels)}"
            )
        steps, seen = tuple(item.labels), seen + 1
        try:
            transitions += _transitions(item.before, item.after, space)
            if item.judgement is not None:
                actions += _actions(item.judgement)
            if item.truth is not None:
                compared += 1
                for step, label in item.labels.items():
                    measured = measure_labels(
                        label, item.truth, space, dilation_ratio=dilation_ratio
                    )
                    quality[step] = quality.get(step, LabelQuality.zero(space)) + measured
                if item.judgement is not None:
                    parts.append(compare_with_truth(item.judgement, item.truth, space))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{item.name}: {error}") from error
        # Of two that changed alike, the first stays: positions make every entry distinct.
        entry = (float(np.mean(item.before != item.after)), -position, item)
        (heapq.heappush if len(largest) < shown else heapq.heappushpop)(largest, entry)
    return Summary(
        space=space,
        images=seen,
        change=Confusion(transitions[:count]),
        filled=transitions[count, :count],
        ignored=int(transitions[count, count]),
        actions=actions,
        quality=quality,
        compared=compared,
        connectivities=TrueConnectivities.pool(parts) if parts else None,
        largest=[item for _, _, item in sorted(largest, reverse=True)],
    )


def _transitions(before: Array, after: Array, space: LabelSpace) -> Array:
    """(K + 1, K + 1) pixels by class before and after, the last row and column for ignore."""
    count = space.num_classes
    own = confusion(after, before, space).counts
    unlabelled = (before < 0) | (before >= count)
    rest = after[unlabelled]
    rest = np.where((rest >= 0) & (rest < count), rest, count).astype(np.int64)
    return np.vstack([own, np.bincount(rest, minlength=count + 1)])


def _actions(judgement: Judgement) -> Array:
    """(3, 2) connectivities and pixels by what became of them."""
    areas = torch.bincount(
        judgement.connectivities.ids.flatten(), minlength=len(judgement.connectivities) + 1
    )[1:]
    decided = judgement.decisions.actions
    columns = [torch.bincount(decided, weights, minlength=3) for weights in (None, areas)]
    return torch.stack([column.long() for column in columns], dim=1).cpu().numpy()
