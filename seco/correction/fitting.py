"""Fitting: train the classifier, measure all losses, fit the mixture to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.files import PathLike
from seco.common.precision import exact
from seco.common.processes import Processes
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.judging import classifier_losses
from seco.correction.lessons import Lessons
from seco.correction.mixture import NoiseModel, fit_noise_model
from seco.correction.parallel import in_each
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
    """

    iterations: int
    losses: Tensor
    classes: Tensor
    areas: Tensor
    noise_model: NoiseModel


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
    losses, classes, areas = _survey(classifier, lessons, len(stream.marks), processes, progress)
    noise_model = fit_noise_model(
        losses.numpy(),
        classes.numpy(),
        areas.numpy(),
        mixture=settings.mixture,
        area_weighting=settings.area_weighting,
        max_loss=settings.max_loss,
        max_noise_share=settings.max_noise_share,
    )
    return FitRecord(iterations, losses, classes, areas, noise_model)


def _survey(
    classifier: ConnectivityClassifier,
    lessons: Lessons,
    size: int,
    processes: Processes,
    progress: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, classes and areas of all learnable connectivities, on the CPU, by sample."""
    from tqdm import tqdm

    def measure() -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        rows = {}
        own = range(processes.rank, size, processes.count)
        for index in tqdm(own, unit="image", disable=not (progress and processes.first)):
            lesson = lessons[index]
            if len(lesson.classes):
                with exact(classifier.extractor.device):
                    everything = torch.arange(len(lesson.classes))
                    logits = classifier.classify(lessons.features(lesson, everything)).cpu()
                losses = classifier_losses(logits, lesson.classes)
                rows[index] = losses, lesson.classes, lesson.areas
        return rows

    rows = {index: row for part in in_each(processes, measure) for index, row in part.items()}
    columns = zip(*(rows[index] for index in sorted(rows)), strict=True)
    losses, classes, areas = (torch.cat(column) for column in columns)
    return losses, classes, areas
