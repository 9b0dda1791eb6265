"""Texture of surfaces: noise fixed to the world, and joints between stones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, grid: tuple[int, int], size: tuple[int, int]) -> Floats:
    """Standard normal values on a coarse grid, enlarged smoothly to ``size`` (H, W)."""
    field = Image.fromarray(rng.standard_normal(grid, dtype=np.float32))
    return np.asarray(field.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def world_noise(rng: np.random.Generator, along: Floats, up: Floats, depth: Floats) -> Floats:
    """Noise with details of 3 cm and of 20 cm, of unit scale up close and calmer far away.

    Args:
        rng: decides the pattern, which repeats after 8.5 m.
        along, up: (H, W) position on the surface in metres.
        depth: (H, W) distance in metres.
    """
    tile = rng.standard_normal((256, 256), dtype=np.float32)
    for cells in (96, 24):
        tile += np.float32(0.9) * smooth_noise(rng, (cells, cells), (256, 256))
    tile /= np.float32(tile.std())
    fine = tile[(up * 30).astype(np.int32) & 255, (along * 30).astype(np.int32) & 255]
    coarse = tile[(up * 5).astype(np.int32) & 255, (along * 5).astype(np.int32) & 255]
    calm: Floats = np.clip(14 / depth, 0.2, 1).astype(np.float32)
    noise: Floats = np.float32(0.8) * fine * calm + np.float32(0.3) * coarse
    return noise


def joints(kind: NDArray[np.uint8], along: Floats, up: Floats, depth: Floats) -> Floats:
    """Darkness of the joints between stones, (H, W), 0..1.

    Args:
        kind: (H, W); 0 no stones, 1 courses of a wall (30 cm high), 2 slabs (60 cm).
        along, up, depth: as in ``world_noise``.
    """
    stone = kind > 0
    rise = np.where(kind[stone] == 1, np.float32(0.3), np.float32(0.6))
    row = up[stone] / rise
    column = along[stone] / (2 * rise) + np.float32(0.5) * (np.floor(row) % 2)
    joint = ((row % 1) < 0.14) | ((column % 1) < 0.07)
    dark = np.zeros(kind.shape, np.float32)
    dark[stone] = joint * np.clip(10 / depth[stone], 0, 1)
    return dark
