"""Scalar fields that textures, ragged outlines and light are made of: 1/f noise, dead leaves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Rng = np.random.Generator
Floats = npt.NDArray[np.float32]

BANK_SIZE = 512


@lru_cache(maxsize=1)
def _noise_bank() -> Floats:
    """(24, S, S) periodic 1/f^a noise fields of unit variance, a from 0.4 to 2.6."""
    rng = np.random.default_rng(2024)
    fy = np.fft.fftfreq(BANK_SIZE)[:, None]
    fx = np.fft.rfftfreq(BANK_SIZE)[None, :]
    fields = []
    for k in range(24):
        stretch = np.exp(rng.normal(0, 0.6)) if k % 3 == 0 else 1.0
        radius = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
        radius[0, 0] = np.inf
        spectrum = np.fft.rfft2(rng.standard_normal((BANK_SIZE, BANK_SIZE)))
        field = np.fft.irfft2(spectrum * radius ** -(0.4 + 2.2 * k / 23), s=(BANK_SIZE, BANK_SIZE))
        fields.append((field / field.std()).astype(np.float32))
    return np.stack(fields)


@lru_cache(maxsize=1)
def leaves_bank() -> Floats:
    """(6, S, S) fine dead-leaves fields (foliage, pebbles, crowds), values about N(0, 1)."""
    rng = np.random.default_rng(2025)
    fields = []
    for k in range(6):
        canvas = Image.new("F", (BANK_SIZE, BANK_SIZE))
        draw = ImageDraw.Draw(canvas)
        for _ in range(9000 // (1 + k)):
            r = min(2.0 * (1 + 0.6 * k) * rng.pareto(2.0) + 1.5, 20)
            x, y = rng.uniform(0, BANK_SIZE, 2)
            squeeze = np.exp(rng.normal(0, 0.4))
            box = [x - r * squeeze, y - r / squeeze, x + r * squeeze, y + r / squeeze]
            draw.ellipse(box, fill=float(rng.normal()))
        fields.append(np.asarray(canvas, np.float32))
    return np.stack(fields)


def crop(rng: Rng, bank: Floats, index: int, h: int, w: int) -> Floats:
    """A random window of one field, randomly transposed and flipped."""
    field = bank[index]
    if rng.random() < 0.5:
        field = field.T
    y, x = rng.integers(0, BANK_SIZE - h + 1), rng.integers(0, BANK_SIZE - w + 1)
    return field[y : y + h, x : x + w][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def noise(rng: Rng, h: int, w: int, *, smooth: float | None = None) -> Floats:
    """Noise of a random exponent, or of the one nearest to ``smooth`` in 0..1."""
    k = int(rng.integers(24)) if smooth is None else round(smooth * 23)
    return crop(rng, _noise_bank(), k, h, w)


def grid(h: int, w: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return y, x
