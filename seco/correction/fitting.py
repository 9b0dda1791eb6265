"""Fitting: train the classifier, measure all losses, fit the mixture to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seco.common.files import PathLike
from seco.common.parallel import in_each
from seco.common.precision import exact
from seco.common.processes import Processes
from seco.common.progress import follow
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.judging import measure_losses
from seco.correction.lessons import Lesson, Lessons
from seco.correction.mixture import NoiseModel, fit_noise_model
from seco.correction.neighbours import Drawn, NeighbourBank, make_bank, winners
from seco.correction.settings import SCCSettings
from seco.correction.stream import SampleStream
from seco.correction.training import train_classifier


@dataclass(frozen=True)
class FitRecord:
    """What fitting saw and found.

    Args:
        iterations: training steps.
        losses: (N,) float32, of every connectivity of ``min_area`` or more pixels.
        classes: (N,) int64, their classes.
        areas: (N,) int64, their pixels.
        noise_model: the mixture(s) of these losses.
        bank: some of these connectivities, which others are compared with (at most
            ``BANK_SIZE``), unless the settings ask for no neighbours.
        confident: whether the losses count how sure the labels were.
        regions: whether the connectivities were given, as regions that refining found are, or are
            the connected components of labels; ``None``: some are this and some that, or it is not
            known.
    """

    iterations: int
    losses: Tensor
    classes: Tensor
    areas: Tensor
    noise_model: NoiseModel
    bank: NeighbourBank | None = None
    confident: bool = False
    regions: bool | None = None

    def to(self, device: torch.device) -> FitRecord:
        """The same with its bank on another device."""
        return self if self.bank is None else replace(self, bank=self.bank.to(device))


def fit_classifier(
    classifier: ConnectivityClassifier,
    stream: SampleStream,
    settings: SCCSettings,
    *,
    seed: int,
    processes: Processes,
    checkpoint: PathLike | None,
    checkpoint_every: int,
    feature_memory: int,
    progress: bool,
) -> FitRecord:
    """Train a new classifier in place and learn from its losses what is noise.

    Arguments and errors are those of :meth:`seco.ConnectivityCorrector.fit`; ``processes`` are
    those that call this together.
    """
    lessons = Lessons(classifier, stream, settings.min_area, feature_memory)
    iterations = train_classifier(
        classifier,
        lessons,
        stream,
        settings,
        seed=seed,
        processes=processes,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )

    def each(name: str) -> Iterator[tuple[int, Lesson]]:
        return _each(lessons, stream, name, processes, progress)

    bank = None
    if settings.neighbours:
        bank = _draw_bank(classifier, lessons, each("Drawing neighbours"), seed, processes)
    losses, classes, areas, confident, regions = _survey(
        classifier, lessons, each("Measuring losses"), bank, settings.neighbours, processes
    )
    noise_model = fit_noise_model(
        losses.numpy(),
        classes.numpy(),
        areas.numpy(),
        mixture=settings.mixture,
        area_weighting=settings.area_weighting,
        max_loss=settings.max_loss,
        max_noise_share=settings.max_noise_share,
    )
    return FitRecord(iterations, losses, classes, areas, noise_model, bank, confident, regions)


def _draw_bank(
    classifier: ConnectivityClassifier,
    lessons: Lessons,
    each: Iterator[tuple[int, Lesson]],
    seed: int,
    processes: Processes,
) -> NeighbourBank:
    """A random subset of all learnable connectivities, on the extractor's device.

    The losses need all of it, so this is a pass of its own (through memory, where a frozen
    encoder's features are kept).
    """

    def drawn() -> Iterator[Drawn]:
        for index, lesson in each:
            if len(lesson.classes):
                yield Drawn.of(_features(classifier, lessons, lesson), lesson.classes, seed, index)

    device = classifier.extractor.device
    with exact(torch.device("cpu"), device):  # where they are drawn, and where they go
        chosen = in_each(processes, lambda: winners(drawn()))
        return make_bank(item for part in chosen for item in part).to(device)


def _survey(
    classifier: ConnectivityClassifier,
    lessons: Lessons,
    each: Iterator[tuple[int, Lesson]],
    bank: NeighbourBank | None,
    neighbours: int,
    processes: Processes,
) -> tuple[Tensor, Tensor, Tensor, bool, bool | None]:
    """Losses, classes and areas of all learnable connectivities, on the CPU, by sample.

    And whether the losses count how sure the labels were, and whether these are regions.
    """

    def measure() -> dict[int, tuple[Tensor, Tensor, Tensor, bool, bool]]:
        rows = {}
        for index, lesson in each:
            if len(lesson.classes):
                features = _features(classifier, lessons, lesson)
                with exact(classifier.extractor.device):
                    losses, _ = measure_losses(
                        features, lesson.classes, classifier, bank, neighbours,
                        confidences=lesson.confidences,
                    )  # fmt: skip
                confident = lesson.confidences is not None
                rows[index] = losses, lesson.classes, lesson.areas, confident, lesson.given
        return rows

    rows = {index: row for part in in_each(processes, measure) for index, row in part.items()}
    *columns, confident, given = zip(*(rows[index] for index in sorted(rows)), strict=True)
    losses, classes, areas = (torch.cat(column) for column in columns)
    return losses, classes, areas, confident[0], given[0] if len(set(given)) == 1 else None


def _each(
    lessons: Lessons, stream: SampleStream, name: str, processes: Processes, progress: bool
) -> Iterator[tuple[int, Lesson]]:
    """Number and lesson of every sample of this process, once; the first one says how far it is."""
    own = range(processes.rank, len(stream.marks), processes.count)
    bar = progress and processes.first
    with closing(stream.ahead(own, lambda index: lessons.wants(index, False))) as scenes:
        for index, scene in follow(scenes, name, len(own), bar=bar, log=processes.first):
            yield index, lessons.read(index, scene)


def _features(classifier: ConnectivityClassifier, lessons: Lessons, lesson: Lesson) -> Tensor:
    """Features of all connectivities of a sample."""
    with exact(classifier.extractor.device):
        return lessons.features(lesson, torch.arange(len(lesson.classes)))
