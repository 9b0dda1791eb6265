"""Fitting: train the classifier, measure all losses, fit the mixture to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.files import PathLike
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.judging import measure_losses
from seco.correction.mixture import NoiseModel, fit_noise_model
from seco.correction.samples import SampleStream
from seco.correction.settings import SCCSettings
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
    checkpoint: PathLike | None,
    checkpoint_every: int,
    progress: bool,
) -> FitRecord:
    """Train a new classifier in place and learn from its losses what is noise.

    Arguments and errors are those of :meth:`seco.ConnectivityCorrector.fit`.
    """
    iterations = train_classifier(
        classifier,
        stream,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )
    losses, classes, areas = _survey(classifier, stream, settings.min_area, progress)
    noise_model = fit_noise_model(
        losses.numpy(),
        classes.numpy(),
        areas.numpy(),
        mixture=settings.mixture,
        area_weighting=settings.area_weighting,
    )
    return FitRecord(iterations, losses, classes, areas, noise_model)


def _survey(
    classifier: ConnectivityClassifier, stream: SampleStream, min_area: int, progress: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, classes and areas of all connectivities that are large enough, on the CPU."""
    from tqdm import tqdm

    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for scene in tqdm(stream, unit="image", disable=not progress):
        if len(scene.connectivities):
            losses, _ = measure_losses(scene.image, scene.connectivities, classifier)
            large = scene.areas >= min_area
            row = (losses[large], scene.connectivities.classes[large], scene.areas[large])
            rows.append((row[0].cpu(), row[1].cpu(), row[2].cpu()))
    losses, classes, areas = (torch.cat(column) for column in zip(*rows, strict=True))
    return losses, classes, areas
