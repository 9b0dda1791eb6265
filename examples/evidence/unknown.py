"""Things that no class names, put into images: scenes of an open set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from shapes import shapes_image

from evidence.domains import ImageSet

SHARE = (0.004, 0.08)
"""Smallest and largest part of an image that an unknown thing covers."""


def with_unknown_things(scenes: ImageSet, seed: int, count: int = 3) -> ImageSet:
    """Paste up to ``count`` generated shapes into each image; their truth is unknown.

    The shapes are those that the bundled tiny SAM learnt from, of which no class of anything is
    known: whatever a segmenter calls them is wrong.
    """
    rng = np.random.default_rng([seed, 7])
    images, truth, objects, unknown = [], [], [], []
    for index in range(len(scenes)):
        image, names = scenes.images[index].copy(), scenes.objects[index].copy()
        hidden = np.zeros(names.shape, bool)
        for _ in range(count):
            shape, patch = _thing(rng, names.shape)
            top = rng.integers(0, names.shape[0] - shape.shape[0] + 1)
            left = rng.integers(0, names.shape[1] - shape.shape[1] + 1)
            window = np.s_[top : top + shape.shape[0], left : left + shape.shape[1]]
            image[window][shape] = patch[shape]
            names[window][shape] = names.max() + 1
            hidden[window] |= shape
        images.append(image)
        objects.append(names)
        unknown.append(hidden)
        truth.append(np.where(hidden, 255, scenes.truth[index]).astype(np.uint8))
    return replace(
        scenes,
        images=np.stack(images),
        truth=np.stack(truth),
        objects=np.stack(objects),
        unknown=np.stack(unknown),
    )


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
