"""What lies between a scene and its picture: contrast curve, vignette, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def photograph(
    image: NDArray[np.float32], rng: np.random.Generator, *, night: float
) -> NDArray[np.uint8]:
    """Take a picture of (H, W, 3) float RGB in 0..1; darker scenes (``night`` > 0) are noisier."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    image = image * (1 - np.float32(rng.uniform(0.05, 0.15)) * (x * x + y * y))[..., None]
    image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.85, 1.2))
    black = np.float32(rng.uniform(0.0, 0.06))
    picture = Image.fromarray(((black + image * (1 - black)) * 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.0012, 0.0032)))
    noise = rng.standard_normal((height, width, 3), dtype=np.float32)
    noise *= np.float32(rng.uniform(2.0, 6.0) + 8.0 * night)
    noise += np.asarray(picture)
    packed = io.BytesIO()
    Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(
        packed, "JPEG", quality=int(rng.integers(45, 85))
    )
    return np.array(Image.open(packed))
