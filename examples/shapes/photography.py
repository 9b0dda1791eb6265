"""What turns painted segments into a photograph: light and shadow, lens, sensor, JPEG."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from shapes.fields import Floats, Rng, grid, noise


def light(rng: Rng, objects: npt.NDArray[np.int64]) -> Floats:
    """Slow illumination, shading across single objects, cast and contact shadows."""
    n = objects.shape[0]
    light = np.exp(rng.exponential(0.12) * noise(rng, n, n, smooth=1.0))
    y, x = grid(n, n)
    if rng.random() < 0.5:
        a = rng.uniform(0, 2 * np.pi)
        light *= np.exp(rng.normal(0, 0.3) * (np.cos(a) * x + np.sin(a) * y) / n)
    angle = rng.uniform(0, 2 * np.pi)
    shaded, strength = rng.random() < 0.7, rng.exponential(0.2)
    shadow, reach = rng.random() < 0.5, rng.uniform(1, 12)
    for k, window in enumerate(ndimage.find_objects(objects)):
        if window is None:
            continue
        inside = objects[window] == k + 1
        h, w = inside.shape
        if shaded:
            along = np.cos(angle) * (x[:h, :w] / w - 0.5) + np.sin(angle) * (y[:h, :w] / h - 0.5)
            light[window][inside] *= np.exp(strength * 2 * along)[inside]
        if shadow and rng.random() < 0.4 and inside.size < n * n // 3:
            pad = 16
            soft = ndimage.gaussian_filter(np.pad(inside, pad).astype(np.float32), reach / 2)
            top = int(window[0].start - pad - reach * np.sin(angle))
            left = int(window[1].start - pad - reach * np.cos(angle))
            i, j = max(top, 0), max(left, 0)
            part = soft[i - top : i - top + n - i, j - left : j - left + n - j]
            target = light[i : i + part.shape[0], j : j + part.shape[1]]
            part = part[: target.shape[0], : target.shape[1]]
            own = objects[i : i + part.shape[0], j : j + part.shape[1]] == k + 1
            target *= np.where(own, 1, 1 - 0.5 * part)
    return light.astype(np.float32)


def camera(rng: Rng, image: Floats) -> npt.NDArray[np.uint8]:
    """Exposure, lens blur, sensor noise, JPEG."""
    if rng.random() < 0.06:
        image = np.repeat(image.mean(2, keepdims=True), 3, axis=2)
    image = (image - 0.5) * np.exp(rng.normal(-0.1, 0.25)) + 0.5 + rng.normal(0, 0.06)
    image = np.clip(image + rng.normal(0, 0.03, 3), 0, 1) ** np.exp(rng.normal(0, 0.2))
    sigma = rng.uniform(0.35, 0.8) if rng.random() < 0.75 else rng.uniform(0.8, 1.8)
    image = ndimage.gaussian_filter(image, (sigma, sigma, 0))
    if rng.random() < 0.6:
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + min(rng.exponential(0.02), 0.1) * grain
    out = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.4:
        buffer = io.BytesIO()
        Image.fromarray(out).save(buffer, "JPEG", quality=int(rng.integers(30, 95)))
        out = np.asarray(Image.open(buffer))
    return out
