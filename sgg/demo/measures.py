"""What the demo's translations are measured by; no translation reads any of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.demo.segmenter import StreetSegmenter
from sgg.evaluation import Moments, colour_features, frechet_distance


@torch.no_grad()
def oracle_labels(images: Tensor, oracle: StreetSegmenter) -> Tensor:
    """What the oracle sees: (B, 3, H, W) uint8 images to (B, H, W) uint8 class ids."""
    found = [oracle(part.float() / 255).argmax(1) for part in _parts(images)]
    return torch.cat(found).to(torch.uint8)


@torch.no_grad()
def network_features(images: Tensor, oracle: StreetSegmenter) -> Array:
    """Features of the oracle at an eighth of the resolution, one row per cell.

    Args:
        images: (B, 3, H, W) uint8.
        oracle: the fixed network.

    Returns:
        (N, 64) float64.
    """
    rows: list[Tensor] = []
    hook = oracle.stage8.register_forward_hook(lambda module, given, found: rows.append(found))
    try:
        for part in _parts(images):
            oracle(part.float() / 255)
    finally:
        hook.remove()
    found: Array = torch.cat(rows).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    return found


@dataclass(frozen=True)
class Ruler:
    """Distances to the target domain as parts of the source images' distance.

    0 is the target itself, 1 is as far as the source images are.

    Args:
        target: of target images, which share no scene with what is measured: by network features
            and by colour features.
        unit: the source images' distances.
    """

    target: tuple[Moments, Moments]
    unit: tuple[float, float]

    @classmethod
    def between(cls, source: Tensor, target: Tensor, oracle: StreetSegmenter) -> Ruler:
        """From source and target images (B, 3, H, W) uint8."""
        found = _moments(target, oracle)
        return cls(found, _distances(_moments(source, oracle), found))

    def measure(self, images: Tensor, oracle: StreetSegmenter) -> tuple[float, float]:
        """By network features and by colour features, of (B, 3, H, W) uint8 images."""
        network, colour = _distances(_moments(images, oracle), self.target)
        return network / self.unit[0], colour / self.unit[1]


def _parts(images: Tensor) -> Iterator[Tensor]:
    return (images[start : start + 16] for start in range(0, len(images), 16))


def _moments(images: Tensor, oracle: StreetSegmenter) -> tuple[Moments, Moments]:
    return Moments.of(network_features(images, oracle)), Moments.of(colour_features(images))


def _distances(found: Sequence[Moments], target: Sequence[Moments]) -> tuple[float, float]:
    network, colour = (frechet_distance(a, b) for a, b in zip(found, target, strict=True))
    return network, colour
