"""Things that no class names, put into an image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from shapes import shapes_image

SHARE = (0.004, 0.08)
"""Smallest and largest part of an image that an unknown thing covers."""


def paste_unknown_things(
    image: np.ndarray, rng: np.random.Generator, count: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Paste generated shapes into an image.

    They are those that the bundled tiny SAM learnt from, of which no class of anything is known:
    whatever a segmenter calls them is wrong.

    Returns:
        The image, and (H, W) int32: 0 where it is as it was, else the number of the thing, from 1.
    """
    image, things = image.copy(), np.zeros(image.shape[:2], np.int32)
    for number in range(1, count + 1):
        shape, patch = _thing(rng, things.shape)
        top = rng.integers(0, things.shape[0] - shape.shape[0] + 1)
        left = rng.integers(0, things.shape[1] - shape.shape[1] + 1)
        window = np.s_[top : top + shape.shape[0], left : left + shape.shape[1]]
        image[window][shape] = patch[shape]
        things[window][shape] = number
    return image, things


def _thing(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A mask and its colours, cut from a generated image of shapes."""
    extent, area = min(size), size[0] * size[1]
    while True:
        drawn = shapes_image(int(rng.integers(2**31)), size=extent)
        parts, found = ndimage.label(drawn.levels[1] == rng.choice(np.unique(drawn.levels[1])))
        for number, window in enumerate(ndimage.find_objects(parts), start=1):
            mask = parts[window] == number
            if found and SHARE[0] * area <= mask.sum() <= SHARE[1] * area:
                return mask, drawn.image[window]
