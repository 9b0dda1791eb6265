"""What translations are measured by: whether the label still holds, and how near the target is.

Only measurements read these; no translation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seco.common.arrays import Array
from seco.demo.segmenter import StreetSegmenter

_PATCH = 8


@torch.no_grad()
def oracle_labels(images: Tensor, oracle: StreetSegmenter) -> Tensor:
    """What the oracle sees: (B, 3, H, W) uint8 images to (B, H, W) uint8 class ids."""
    found = [oracle(part.float() / 255).argmax(1) for part in images.split(16)]
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
    rows = []
    for part in images.split(16):
        deep = oracle.stage8(oracle.stage4(oracle.stage2((part.float() / 255 - 0.45) / 0.25)))
        rows.append(deep.permute(0, 2, 3, 1).flatten(0, 2))
    found: Array = torch.cat(rows).double().numpy()
    return found


def colour_features(images: Tensor) -> Array:
    """Colour and texture of patches of 8 x 8 pixels, which no network had a say in.

    Args:
        images: (B, 3, H, W) uint8; sides are multiples of 8.

    Returns:
        (N, 9) float64: mean and standard deviation of R, G and B, in 0-1, and the mean size of
        the luminance's steps to the right, downwards, and over both at a quarter of the pixels.
    """
    x = images.double() / 255
    mean = F.avg_pool2d(x, _PATCH)
    spread = (F.avg_pool2d(x.square(), _PATCH) - mean.square()).clamp(min=0).sqrt()
    grey = x.mean(1, keepdim=True)
    right = F.pad(grey.diff(dim=3).abs(), (0, 1))
    down = F.pad(grey.diff(dim=2).abs(), (0, 0, 0, 1))
    coarse = F.avg_pool2d(grey, 2)
    both = F.pad(coarse.diff(dim=3).abs(), (0, 1)) + F.pad(coarse.diff(dim=2).abs(), (0, 0, 0, 1))
    steps = [F.avg_pool2d(right, _PATCH), F.avg_pool2d(down, _PATCH)]
    rows = torch.cat([mean, spread, *steps, F.avg_pool2d(both, _PATCH // 2)], 1)
    found: Array = rows.permute(0, 2, 3, 1).flatten(0, 2).numpy()
    return found


@dataclass(frozen=True)
class Spread:
    """Mean and covariance of features.

    Args:
        mean: (D,).
        covariance: (D, D).
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: Array) -> Spread:
        """Of features (N, D)."""
        return cls(features.mean(0), np.cov(features, rowvar=False))


def frechet_distance(one: Spread, other: Spread) -> float:
    """Squared Fréchet distance of two Gaussians, as in FID; 0 where they are the same.

    Example:
        >>> unit = Spread(np.zeros(2), np.eye(2))
        >>> round(frechet_distance(unit, Spread(np.array([3.0, 4.0]), 4 * np.eye(2))), 6)
        27.0

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule ...", NeurIPS 2017.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    both = np.linalg.eigvalsh(root @ other.covariance @ root)
    apart = np.square(one.mean - other.mean).sum()
    widths = np.trace(one.covariance) + np.trace(other.covariance)
    return float(apart + widths - 2 * np.sqrt(both.clip(0)).sum())


@dataclass(frozen=True)
class Ruler:
    """Distances to the target domain as parts of the source images' distance.

    0 is the target itself, 1 is as far as the source images are.

    Args:
        target: of target images, which share no scene with what is measured: by kind of feature.
        unit: the source images' distance.
    """

    target: tuple[Spread, Spread]
    unit: tuple[float, float]

    @classmethod
    def between(cls, source: Tensor, target: Tensor, oracle: StreetSegmenter) -> Ruler:
        """From source and target images (B, 3, H, W) uint8."""
        found = _spreads(target, oracle)
        unit = _distances(_spreads(source, oracle), found)
        return cls(found, unit)

    def measure(self, images: Tensor, oracle: StreetSegmenter) -> tuple[float, float]:
        """By network features and by colour features, of (B, 3, H, W) uint8 images."""
        network, colour = _distances(_spreads(images, oracle), self.target)
        return network / self.unit[0], colour / self.unit[1]


def _spreads(images: Tensor, oracle: StreetSegmenter) -> tuple[Spread, Spread]:
    return Spread.of(network_features(images, oracle)), Spread.of(colour_features(images))


def _distances(found: Sequence[Spread], target: Sequence[Spread]) -> tuple[float, float]:
    network, colour = (frechet_distance(a, b) for a, b in zip(found, target, strict=True))
    return network, colour
