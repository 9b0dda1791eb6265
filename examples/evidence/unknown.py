"""Scenes of an open set: images with things that no class names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from measuring.unknown import paste_unknown_things

from evidence.domains import ImageSet


def with_unknown_things(scenes: ImageSet, seed: int, count: int = 3) -> ImageSet:
    """Paste ``count`` unknown things into each image; their truth is unknown."""
    rng = np.random.default_rng([seed, 7])
    images, truth, objects, unknown = [], [], [], []
    for index in range(len(scenes)):
        image, things = paste_unknown_things(scenes.images[index], rng, count)
        names, hidden = scenes.objects[index], things > 0
        images.append(image)
        objects.append(np.where(hidden, names.max() + things, names).astype(names.dtype))
        unknown.append(hidden)
        truth.append(np.where(hidden, 255, scenes.truth[index]).astype(np.uint8))
    return replace(
        scenes,
        images=np.stack(images),
        truth=np.stack(truth),
        objects=np.stack(objects),
        unknown=np.stack(unknown),
    )
