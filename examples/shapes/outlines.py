"""Silhouettes of objects, and cutting them into parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from shapes.fields import Rng, grid, noise

Bools = npt.NDArray[np.bool_]


def _drawn(h: int, w: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (w, h))
    return image, ImageDraw.Draw(image)


def _radial(rng: Rng, h: int, w: int, *, harmonics: int, spread: float) -> Bools:
    """A star-shaped outline from a random Fourier series."""
    y, x = grid(h, w)
    y, x = (y - (h - 1) / 2) / (h / 2), (x - (w - 1) / 2) / (w / 2)
    theta = np.arctan2(y, x)
    radius = np.full_like(theta, 0.85)
    for k in range(1, harmonics + 1):
        radius += spread * rng.normal() / k * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    power = rng.choice([2.0, 2.0, 3.0, 6.0, 1.0])
    return (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power) < radius


def _polygon(rng: Rng, h: int, w: int) -> Bools:
    n = int(rng.integers(3, 9))
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    r = rng.uniform(0.5 if rng.random() < 0.5 else 0.9, 1.0, n)
    image, draw = _drawn(h, w)
    points = np.stack([w / 2 + w / 2 * r * np.cos(angle), h / 2 + h / 2 * r * np.sin(angle)], 1)
    draw.polygon([(float(a), float(b)) for a, b in points], fill=1)
    return np.asarray(image) > 0


def _quad(rng: Rng, h: int, w: int) -> Bools:
    inset = rng.uniform(0, 0.35, 2) * (rng.random() < 0.5)
    image, draw = _drawn(h, w)
    left, right = inset * w
    draw.polygon([(left, 0), (w - 1 - right, 0), (w - 1, h - 1), (0, h - 1)], fill=1)
    return np.asarray(image) > 0


def _tube(rng: Rng, h: int, w: int) -> Bools:
    """A bent bar: pole, branch, snake."""
    n = int(rng.integers(2, 6))
    t = np.linspace(0.05, 0.95, n)
    bend = rng.uniform(0.1, 0.9, n)
    along = np.stack([t * w, bend * h], 1) if w > h else np.stack([bend * w, t * h], 1)
    dense = np.linspace(0, n - 1, 24)
    line = np.stack([np.interp(dense, np.arange(n), along[:, k]) for k in range(2)], 1)
    line = ndimage.gaussian_filter1d(line, 1.5, axis=0, mode="nearest")
    width = max(3, int(min(h, w) * rng.uniform(0.05, 0.35)))
    image, draw = _drawn(h, w)
    draw.line([(float(a), float(b)) for a, b in line], fill=1, width=width, joint="curve")
    return np.asarray(image) > 0


def _cloud(rng: Rng, h: int, w: int) -> Bools:
    """A ragged blob: crowns of trees, rocks, stains."""
    y, x = grid(h, w)
    r = np.hypot((y - h / 2) / (h / 2), (x - w / 2) / (w / 2))
    mask = r + 0.22 * noise(rng, h, w, smooth=rng.uniform(0.6, 1.0)) < 0.75
    labels, count = ndimage.label(mask)
    if count == 0:
        return r < 0.8
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def silhouette(rng: Rng, h: int, w: int) -> Bools:
    kind = rng.choice(6, p=[0.2, 0.25, 0.15, 0.15, 0.1, 0.15])
    if kind == 0:
        mask = _radial(rng, h, w, harmonics=1, spread=0.02)
    elif kind == 1:
        mask = _radial(rng, h, w, harmonics=7, spread=rng.uniform(0.05, 0.3))
    elif kind == 2:
        mask = _polygon(rng, h, w)
    elif kind == 3:
        mask = _quad(rng, h, w)
    elif kind == 4:
        mask = _tube(rng, h, w)
    else:
        mask = _cloud(rng, h, w)
    if rng.random() < 0.4:
        mask = ndimage.rotate(mask.astype(np.uint8), rng.uniform(0, 360), order=0) > 0
    return mask


def split(rng: Rng, mask: Bools) -> npt.NDArray[np.int64]:
    """Cut a silhouette into parts: 0, 1, ... on the mask (values outside have no meaning)."""
    h, w = mask.shape
    y, x = grid(h, w)
    kind = rng.choice(4)
    if kind == 0:  # rows and columns of windows on a wall
        rows, cols = rng.integers(1, 5, 2)
        v, u = y / h * rows, x / w * cols
        margin = rng.uniform(0.1, 0.35)
        inside = (np.abs(v % 1 - 0.5) < 0.5 - margin) & (np.abs(u % 1 - 0.5) < 0.5 - margin)
        return np.where(inside, 1 + v.astype(int) * cols + u.astype(int), 0)
    if kind == 1:  # bands
        angle, n = rng.uniform(0, np.pi), int(rng.integers(2, 5))
        along = np.cos(angle) * (x / w - 0.5) + np.sin(angle) * (y / h - 0.5)
        return np.digitize(along, np.sort(rng.uniform(-0.4, 0.4, n - 1)))
    if kind == 2:  # patches
        points = rng.uniform(0, 1, (int(rng.integers(2, 6)), 2)) * [h, w]
        return np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0)
    out = np.zeros((h, w), np.int64)  # smaller shapes on top: eyes, wheels, doors, prints
    for k in range(int(rng.integers(1, 5))):
        a, b = (np.maximum(4, rng.uniform(0.12, 0.5, 2) * [h, w])).astype(int)
        piece = silhouette(rng, min(a, h), min(b, w))[:h, :w]
        i = int(rng.integers(0, h - piece.shape[0] + 1))
        j = int(rng.integers(0, w - piece.shape[1] + 1))
        out[i : i + piece.shape[0], j : j + piece.shape[1]][piece] = k + 1
    return out
