"""How far sets of images are from each other: statistics of patches, and a distance of these.

Source of the distance: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a
Local Nash Equilibrium", NeurIPS 2017 (FID); the features are our choice, since those of FID need
a network that is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

PATCH = 8
"""Pixels a side of a patch."""


@dataclass(frozen=True)
class Moments:
    """Mean and scatter of features; add two to pool images.

    Args:
        count: how many rows.
        mean: (D,) float64.
        scatter: (D, D) float64, the sum of the outer products of the deviations from the mean.

    Example:
        >>> one, other = np.array([[0.0, 1.0]]), np.array([[2.0, 1.0], [4.0, 1.0]])
        >>> pooled = Moments.of(one) + Moments.of(other)
        >>> pooled.mean.tolist(), pooled.covariance.tolist()
        ([2.0, 1.0], [[4.0, 0.0], [0.0, 0.0]])
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> Moments:
        """Of features (N, D), N >= 1."""
        mean = features.mean(0)
        apart = features - mean
        return cls(len(features), mean, apart.T @ apart)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(D, D), unbiased."""
        found: NDArray[np.float64] = self.scatter / max(self.count - 1, 1)
        return found

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.scatter
            + other.scatter
            + np.outer(apart, apart) * (self.count * other.count / count),
        )


def frechet_distance(one: Moments, other: Moments) -> float:
    """Squared Fréchet distance of two Gaussians; 0 where they are the same.

    Example:
        >>> unit = Moments(2, np.zeros(2), np.eye(2))
        >>> round(frechet_distance(unit, Moments(2, np.array([3.0, 4.0]), 4 * np.eye(2))), 6)
        27.0
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    both = np.linalg.eigvalsh(root @ other.covariance @ root)
    apart = np.square(one.mean - other.mean).sum()
    widths = np.trace(one.covariance) + np.trace(other.covariance)
    return max(float(apart + widths - 2 * np.sqrt(both.clip(0)).sum()), 0.0)


def colour_features(images: Tensor) -> NDArray[np.float64]:
    """Colour and texture of patches of 8 x 8 pixels, which no network had a say in.

    Args:
        images: (B, 3, H, W) uint8; what is over a multiple of 8 at the right and at the bottom
            is left out.

    Returns:
        (N, 9) float64: mean and standard deviation of R, G and B, in 0-1, and the mean size of
        the luminance's steps to the right, downwards, and over both at a quarter of the pixels.

    Raises:
        ValueError: an image without a patch.

    Example:
        >>> import torch
        >>> colour_features(torch.full((1, 3, 8, 12), 51, dtype=torch.uint8)).round(6).tolist()
        [[0.2, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    if min(images.shape[-2:]) < PATCH:
        raise ValueError(
            f"image: expected at least {PATCH} pixels a side, got {tuple(images.shape[-2:])}"
        )
    x = images.double() / 255
    mean = F.avg_pool2d(x, PATCH)
    spread = (F.avg_pool2d(x.square(), PATCH) - mean.square()).clamp(min=0).sqrt()
    grey = x.mean(1, keepdim=True)
    right = F.pad(grey.diff(dim=3).abs(), (0, 1))
    down = F.pad(grey.diff(dim=2).abs(), (0, 0, 0, 1))
    coarse = F.avg_pool2d(grey, 2)
    both = F.pad(coarse.diff(dim=3).abs(), (0, 1)) + F.pad(coarse.diff(dim=2).abs(), (0, 0, 0, 1))
    steps = [F.avg_pool2d(right, PATCH), F.avg_pool2d(down, PATCH)]
    rows = F.avg_pool2d(both, PATCH // 2)
    found = [part.permute(0, 2, 3, 1).flatten(0, 2) for part in (mean, spread, *steps, rows)]
    return np.concatenate([part.cpu().numpy() for part in found], axis=1)


def logit_features(logits: Tensor, size: tuple[int, int]) -> NDArray[np.float64]:
    """What a segmenter says of patches of 8 x 8 pixels: mean logits, less their own mean.

    Args:
        logits: (1, K, h, w), of any stride.
        size: (H, W) of the image.

    Returns:
        (N, K) float64.
    """
    cells = (max(size[0] // PATCH, 1), max(size[1] // PATCH, 1))
    pooled = F.adaptive_avg_pool2d(logits.double(), cells)
    centred = pooled - pooled.mean(1, keepdim=True)
    found: NDArray[np.float64] = centred.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy()
    return found
