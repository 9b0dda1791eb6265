"""What happened to the labels of a data set: measured image by image, then pooled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seco.common.arrays import Array
from seco.common.labels import LabelSpace
from seco.correction.judging import Judgement
from seco.evaluation import (
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
        labels: the name of a step -> the label after it, (H, W) integer class ids or ignore, in
            the order of the steps; the first is the raw label.
        image: gives its pixels, (H, W, 3) uint8 RGB; called where the image is shown.
        truth: (H, W) integer class ids, if known; read for measuring only.
        regions: how many connectivities the last step kept, corrected and dropped, if it did so.
        judgement: gives what the last step found out about them; called where the image is shown
            or its truth known.
    """

    name: str
    labels: Mapping[str, Array]
    image: Callable[[], Array]
    truth: Array | None = None
    regions: tuple[int, int, int] | None = None
    judgement: Callable[[], Judgement] | None = None

    @property
    def before(self) -> Array:
        """The raw label."""
        return next(iter(self.labels.values()))

    @property
    def after(self) -> Array:
        """The label after the last step."""
        return list(self.labels.values())[-1]

    @property
    def changed(self) -> float:
        """Share of the pixels whose label is another one after the last step."""
        return float(np.mean(self.before != self.after))


@dataclass(frozen=True)
class LabelChanges:
    """What happened to the labels of any number of images; :meth:`pool` joins several.

    Args:
        space: the classes.
        steps: their names, in their order; none if there is no image.
        transitions: (K + 1, K + 1) int64, pixels by raw class (row) and by class after the last
            step (column); the last row and column are ignore.
        decisions: (3, 2) int64, connectivities and their pixels that the last step kept,
            corrected, dropped.
        changed: the images' names and shares of changed pixels.
        quality: the name of a step -> its labels beside the truth; empty if no truth is known.
        compared: images with known truth.
        connectivities: the judged ones beside the truth, of every image that has both.
    """

    space: LabelSpace
    steps: tuple[str, ...]
    transitions: Array
    decisions: Array
    changed: Sequence[tuple[str, float]] = ()
    quality: Mapping[str, LabelQuality] = field(default_factory=dict)
    compared: int = 0
    connectivities: TrueConnectivities = field(default_factory=lambda: TrueConnectivities.pool([]))

    @classmethod
    def pool(cls, parts: Iterable[LabelChanges], space: LabelSpace) -> LabelChanges:
        """Join the summaries of several images, or groups of them; parts are not kept.

        Raises:
            ValueError: parts with other steps.
        """
        count = space.num_classes + 1
        transitions, decisions = np.zeros((count, count), np.int64), np.zeros((3, 2), np.int64)
        steps: tuple[str, ...] = ()
        changed: list[tuple[str, float]] = []
        quality: dict[str, LabelQuality] = {}
        connectivities = []
        compared = 0
        for part in parts:
            if steps and part.steps and part.steps != steps:
                raise ValueError(
                    f"{part.changed[0][0]}: expected the steps {', '.join(steps)} as the images "
                    f"before, got {', '.join(part.steps)}"
                )
            steps = steps or part.steps
            transitions += part.transitions
            decisions += part.decisions
            changed += part.changed
            compared += part.compared
            for step, measured in part.quality.items():
                quality[step] = quality.get(step, LabelQuality.zero(space)) + measured
            connectivities.append(part.connectivities)
        return cls(
            space, steps, transitions, decisions, changed, quality, compared,
            TrueConnectivities.pool(connectivities),
        )  # fmt: skip

    @property
    def images(self) -> int:
        """How many."""
        return len(self.changed)

    @property
    def pixels(self) -> int:
        """All pixels of all images."""
        return int(self.transitions.sum())

    @property
    def before(self) -> Array:
        """(K,) int64, pixels of each class in the raw labels."""
        counts: Array = self.transitions[:-1].sum(axis=1)
        return counts

    @property
    def after(self) -> Array:
        """(K,) int64, pixels of each class after the last step."""
        counts: Array = self.transitions[:, :-1].sum(axis=0)
        return counts

    @property
    def relabelled(self) -> int:
        """Pixels that have one class before and another one after."""
        kept = self.transitions[:-1, :-1]
        return int(kept.sum() - np.trace(kept))

    @property
    def dropped(self) -> int:
        """Pixels that have a class before and none after."""
        return int(self.transitions[:-1, -1].sum())

    def most_changed(self, most: int) -> list[str]:
        """The names of the images with the largest shares of changed pixels, largest first."""
        ranked = sorted(self.changed, key=lambda one: -one[1])
        return [name for name, _ in ranked[:most]]


def summarise(
    item: ImageSteps, space: LabelSpace, *, dilation_ratio: float = DILATION_RATIO
) -> LabelChanges:
    """Measure one image.

    Args:
        item: the image.
        space: the classes.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.

    Raises:
        TypeError, ValueError: a label, truth or judgement of another size or kind (the message
            names the image).

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> raw, refined = np.array([[0, 1, 1, 255]]), np.array([[0, 0, 255, 1]])
        >>> pixels = lambda: np.zeros((1, 4, 3), np.uint8)
        >>> found = summarise(ImageSteps("a", {"raw": raw, "PSA": refined}, pixels), space)
        >>> found.relabelled, found.dropped, found.before.tolist(), found.after.tolist()
        (1, 1, [1, 2], [2, 1])
    """
    try:
        quality: dict[str, LabelQuality] = {}
        connectivities = TrueConnectivities.pool([])
        if item.truth is not None:
            quality = {
                step: measure_labels(label, item.truth, space, dilation_ratio=dilation_ratio)
                for step, label in item.labels.items()
            }
            if item.judgement is not None:
                connectivities = compare_with_truth(item.judgement(), item.truth, space)
        return LabelChanges(
            space=space,
            steps=tuple(item.labels),
            transitions=_transitions(item.before, item.after, space),
            decisions=_decisions(item, space),
            changed=[(item.name, item.changed)],
            quality=quality,
            compared=int(item.truth is not None),
            connectivities=connectivities,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"{item.name}: {error}") from error


def _transitions(before: Array, after: Array, space: LabelSpace) -> Array:
    """Pixels by class before and after, ignore as the class K."""
    count = space.num_classes
    own = confusion(after, before, space).counts
    unlabelled = (before < 0) | (before >= count)
    rest = after[unlabelled]
    rest = np.where((rest >= 0) & (rest < count), rest, count).astype(np.int64)
    return np.vstack([own, np.bincount(rest, minlength=count + 1)])


def _decisions(item: ImageSteps, space: LabelSpace) -> Array:
    """(3, 2) connectivities and their pixels: what the last step did to a pixel tells which."""
    if item.regions is None or len(item.labels) < 2:
        return np.zeros((3, 2), np.int64)
    judged = list(item.labels.values())[-2]
    counts = _transitions(judged, item.after, space)[:-1]
    kept, dropped = int(np.trace(counts[:, :-1])), int(counts[:, -1].sum())
    pixels = [kept, int(counts.sum()) - kept - dropped, dropped]
    return np.stack([np.array(item.regions), np.array(pixels)], axis=1).astype(np.int64)
