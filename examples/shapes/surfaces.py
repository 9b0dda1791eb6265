"""How a part is painted: its colour, its texture and its grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapes.fields import Floats, Rng, crop, grid, leaves_bank, noise


def _wave(rng: Rng, h: int, w: int, angle: float) -> Floats:
    """A grating in -1..1: period 3 to 40 px, random duty, sharpness and waviness."""
    y, x = grid(h, w)
    period = 3 * 13 ** rng.random()
    phase = (np.cos(angle) * x + np.sin(angle) * y) / period + rng.random()
    if rng.random() < 0.5:
        phase = phase + rng.exponential(0.3) * noise(rng, h, w, smooth=rng.uniform(0.6, 1))
    wave = np.sin(2 * np.pi * phase) + rng.uniform(-0.7, 0.7)
    return np.tanh(wave * np.exp(rng.uniform(-0.5, 2.5))).astype(np.float32)


def _pattern(rng: Rng, kind: str, h: int, w: int) -> Floats:
    """A scalar texture, roughly in -1.5..1.5."""
    if kind == "flat":
        return np.zeros((h, w), np.float32)
    if kind == "noise":
        return 0.6 * noise(rng, h, w)
    if kind == "spots":
        field = noise(rng, h, w, smooth=rng.uniform(0.3, 0.95)) + rng.uniform(-1, 1)
        return np.tanh(field * np.exp(rng.uniform(0, 3)))
    if kind == "veins":
        field = np.abs(noise(rng, h, w, smooth=rng.uniform(0.4, 0.9)))
        return 1 - np.minimum(2.5 * field, 2)
    if kind == "leaves":
        return 0.8 * crop(rng, leaves_bank(), int(rng.integers(6)), h, w)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    if kind == "stripes":
        return _wave(rng, h, w, angle)
    return _wave(rng, h, w, angle) * _wave(rng, h, w, angle + np.pi / 2)


_KINDS = ["flat", "noise", "spots", "veins", "leaves", "stripes", "checker"]
_KIND_ODDS = [0.14, 0.34, 0.12, 0.08, 0.14, 0.11, 0.07]


def _colour(rng: Rng) -> Floats:
    """A colour in 0..1: any lightness, mostly weak saturation, as in photographs."""
    grey = rng.beta(1.3, 1.3)
    tint = rng.normal(0, 1, 3)
    tint = (tint - tint.mean()) * min(rng.exponential(0.08), 0.35)
    return np.clip(grey + tint, 0.02, 0.98).astype(np.float32)


@dataclass(frozen=True)
class Surface:
    """How a part is painted; parts of one object share or vary this."""

    base: Floats
    kind: str
    contrast: float
    grain: float

    @staticmethod
    def draw(rng: Rng) -> Surface:
        """A random surface."""
        kind = str(rng.choice(_KINDS, p=_KIND_ODDS))
        return Surface(_colour(rng), kind, min(rng.exponential(0.13), 0.5), rng.exponential(0.03))

    def vary(self, rng: Rng, amount: float) -> Surface:
        """One like it: the colour moves by about ``amount``, the texture may change."""
        base = np.clip(self.base + amount * (rng.normal() + 0.5 * rng.normal(0, 1, 3)), 0, 1)
        kind = self.kind if rng.random() < 0.6 else str(rng.choice(_KINDS, p=_KIND_ODDS))
        return Surface(base.astype(np.float32), kind, self.contrast, self.grain)

    def paint(self, rng: Rng, h: int, w: int) -> Floats:
        """(h, w, 3) RGB about 0..1, not clipped."""
        direction = 1 + 0.5 * rng.normal(0, 1, 3)
        field = _pattern(rng, self.kind, h, w)[..., None] * (self.contrast * direction)
        grain = noise(rng, h, w, smooth=rng.uniform(0, 0.6))[..., None] * self.grain
        slow = noise(rng, h, w, smooth=1.0)[..., None] * rng.exponential(0.04)
        return (self.base + field + grain + slow).astype(np.float32)
