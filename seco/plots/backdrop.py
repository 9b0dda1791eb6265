"""The image behind outlines and changes: grey and washed out, so that colours stand out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from seco.common.arrays import Array


def backdrop(image: Array, size: tuple[int, int] | None = None) -> Array:
    """The image in light grey: (H, W, 3) float64.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: height and width to resize to; its own if ``None``.

    Example:
        >>> backdrop(np.zeros((1, 1, 3), np.uint8)).tolist()
        [[[60.0, 60.0, 60.0]]]
    """
    grey = Image.fromarray(image).convert("L")
    if size is not None:
        grey = grey.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(grey)[..., None] * 0.7 + 60, 3, axis=2)
