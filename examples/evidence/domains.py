"""Sets of images, and what is known of two domains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import seco
from seco.common.confusion import Confusion, confusion
from seco.common.numbers import plain
from seco.correction.extractors import ModuleExtractor
from seco.demo.segmenter import predict


@dataclass(frozen=True)
class ImageSet:
    """Images and what only a measurement may know of them.

    Args:
        images: (N, H, W, 3) uint8.
        truth: (N, H, W) uint8, 255 where it is unknown. It is read for measuring, for the upper
            bound and, of the source, for training; nothing else sees it.
        objects: (N, H, W) int32, the true regions, for the ceiling.
        unknown: (N, H, W) bool, where something lies that has no class.
    """

    images: np.ndarray
    truth: np.ndarray
    objects: np.ndarray
    unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: list[Any], truth: list[Any], objects: list[Any]) -> ImageSet:
        """Without anything unknown."""
        labels = np.stack(truth)
        return cls(np.stack(images), labels, np.stack(objects), np.zeros(labels.shape, bool))


@dataclass(frozen=True)
class Domains:
    """What one seed works with.

    Args:
        key: all that decides it, as JSON holds it.
        space: the classes.
        source: labelled images.
        target: images that are labelled by a model; the truth is for measuring.
        unknown: target images with things of no class.
        open: images of neither domain, with things of no class.
        held_out: target images to measure on.
        labelled: target images whose truth the upper bound may learn from.
        segmenter: the source model: images (B, 3, H, W) in [0, 1] -> logits.
        new: seed -> a network that has learnt nothing of source or target.
        black_box: labels (N, H, W) of the target that a model nobody knows has given; ``None``:
            the source model's.
        features: what a corrector sees; ``None``: the SAM's embedding.
        edges: regions of the target images, cut from the maps of a boundary detector, if there
            are any.
    """

    key: dict[str, Any]
    space: seco.LabelSpace
    source: ImageSet
    target: ImageSet
    unknown: Callable[[], ImageSet]
    open: Callable[[], ImageSet]
    held_out: ImageSet
    labelled: Callable[[], ImageSet]
    segmenter: Callable[[], torch.nn.Module]
    new: Callable[[int], torch.nn.Module]
    black_box: np.ndarray | None = None
    features: Callable[[], ModuleExtractor] | None = None
    edges: Callable[[], list[seco.Regions]] | None = None


def seen(
    model: torch.nn.Module, images: np.ndarray, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, H, W) uint8 and confidence (N, H, W) float32 of a model."""
    labels, confidence = [], []
    model = model.to(device)
    for image in images:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(device).float() / 255
        label, sure = predict(model, pixels)
        labels.append(label[0].to(torch.uint8).cpu().numpy())
        confidence.append(sure[0].cpu().numpy())
    return np.stack(labels), np.stack(confidence)


def quality(labels: np.ndarray, truth: np.ndarray, space: seco.LabelSpace) -> dict[str, Any]:
    """Labels beside the truth, shares in 0-1; ignored pixels count as misses in the IoU."""
    found: Confusion = confusion(labels, truth, space)
    return {
        "mean_iou": plain(found.mean_iou),
        "accuracy": plain(found.accuracy) if found.labelled.counts.any() else None,
        "coverage": plain(found.coverage) if found.counts.any() else None,
        "iou": dict(zip(space.names, map(plain, found.iou), strict=True)),
    }
