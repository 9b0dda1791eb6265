"""Which connectivities every step learns from: known before the first step, and by all processes.

All that is random in training (order, choice of connectivities, mirroring) is a function of the
seed and of the place in the schedule alone: no generator has a state to save, none is the
caller's, and the number of processes changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seco.common.parallel import in_each
from seco.common.processes import Processes
from seco.common.progress import follow
from seco.correction.settings import SCCSettings
from seco.correction.stream import SampleStream

_PASSES, _LEAST, _MOST = 4, 100, 5000


@dataclass(frozen=True)
class Census:
    """What a first look at S samples tells; learnable is what has ``min_area`` pixels or more.

    Args:
        counts: (S,) int64, learnable connectivities of each sample.
        classes: (K,) int64, learnable connectivities of each class.
        marks: (S,) int64, what each sample is recognised by.
    """

    counts: Tensor
    classes: Tensor
    marks: Tensor


@dataclass(frozen=True)
class Visit:
    """One image's part of a step.

    Args:
        epoch: how often all samples were gone through before.
        position: of the sample in this epoch's order.
        index: of the sample.
        count: how many of its learnable connectivities to learn from.
    """

    epoch: int
    position: int
    index: int
    count: int

    def draws(self, seed: int) -> np.random.Generator:
        """All that is random about this visit."""
        return np.random.default_rng([seed, self.epoch, self.position])


def take_census(
    stream: SampleStream,
    settings: SCCSettings,
    num_classes: int,
    processes: Processes,
    *,
    progress: bool = False,
) -> Census:
    """Read every sample once, each process its share; ``progress`` shows a bar.

    Raises:
        TypeError, ValueError: a sample that is wrong, or nothing to learn from.
    """

    def look() -> tuple[list[int], list[int], Tensor, set[bool]]:
        counts, marks, classes = [], [], torch.zeros(num_classes, dtype=torch.int64)
        confident = set()
        own = processes.rank, processes.count
        read = follow(
            stream.part(*own), "Counting regions", stream.count(*own),
            bar=progress and processes.first, log=processes.first,
        )  # fmt: skip
        for index, scene in read:
            learnable = scene.connectivities.classes[scene.areas >= settings.min_area]
            counts.append(len(learnable))
            marks.append(stream.marks[index])
            classes += torch.bincount(learnable.cpu(), minlength=num_classes)
            confident.add(scene.confidences is not None)
        return counts, marks, classes, confident

    parts = in_each(processes, look)
    if len({kind for part in parts for kind in part[3]}) > 1:
        raise ValueError("samples: expected a confidence with all of them or with none, got both")
    size = sum(len(part[0]) for part in parts)
    counts, marks = torch.zeros(2, size, dtype=torch.int64)
    for rank, part in enumerate(parts):
        counts[rank :: processes.count] = torch.tensor(part[0], dtype=torch.int64)
        marks[rank :: processes.count] = torch.tensor(part[1], dtype=torch.int64)
    if not counts.any():
        raise ValueError(
            "samples: expected at least one connectivity of min_area="
            f"{settings.min_area} or more pixels, got none"
        )
    return Census(counts, torch.stack([part[2] for part in parts]).sum(dim=0), marks)


def count_steps(census: Census, settings: SCCSettings) -> int:
    """The number of steps that suits the set, if the settings do not give one."""
    if settings.iterations is not None:
        return settings.iterations
    steps = math.ceil(_PASSES * int(census.counts.sum()) / settings.batch_size)
    return min(max(steps, _LEAST), _MOST)


def steps(
    census: Census, settings: SCCSettings, *, seed: int, shuffled: bool
) -> Iterator[list[Visit]]:
    """The visits of every step, without end.

    Args:
        census: of the samples.
        settings: for ``batch_size`` and ``per_image``.
        seed: of the order.
        shuffled: in a new random order every epoch, or in the samples' own.
    """
    counts = census.counts.tolist()
    visits: list[Visit] = []
    wanting = settings.batch_size
    for epoch in range(2**62):
        order = list(range(len(counts)))
        if shuffled:
            order = np.random.default_rng([seed, epoch]).permutation(len(counts)).tolist()
        for position, index in enumerate(order):
            count = min(wanting, settings.per_image, counts[index])
            if count == 0:
                continue
            visits.append(Visit(epoch, position, index, count))
            wanting -= count
            if wanting == 0:
                yield visits
                visits, wanting = [], settings.batch_size


def choose(weights: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draw ``count`` of N connectivities without replacement.

    Args:
        weights: (N,) above 0, how much each is preferred.
        count: at most N.
        rng: moved by N draws.

    Returns:
        (count,) int64 on the CPU, of 0..N-1.
    """
    # The largest keys u^(1/w) are a weighted draw without replacement (Efraimidis, Spirakis 2006).
    keys = np.log(1 - rng.random(len(weights))) / weights.cpu().numpy()
    return torch.from_numpy(np.argsort(-keys, kind="stable")[:count])
