"""Generated street scenes: the game look is the source, the camera look the target."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from measuring.training import new_segmenter
from train_segmenter import augment

from evidence.domains import Domains, ImageSet
from evidence.scales import SecoScale
from evidence.unknown import with_unknown_things
from seco.demo import STREETS, street_scene
from seco.demo.scenes import TEST_SEEDS, Domain
from seco.demo.segmenter import load_segmenter

FIRST = 200_000
"""From here on scenes come in blocks, of which a seed has the one of its number."""
APART = 5_000
"""A block's scenes begin so far after those of the block before."""
MOVED = {0: 30}
"""Seeds that have another block: on the scenes of block 0 the tiny SAM was trained. Of those that
are used nobody else has had a scene: no model was trained and nothing was chosen on them."""


def own_scenes(seed: int, part: int) -> int:
    """The first scene of a part (0: source, 1: target, 2: open) of a seed."""
    return FIRST + MOVED.get(seed, seed) * APART + part * (APART // 4)


def scenes_key(seed: int) -> dict[str, Any]:
    """What tells a seed's scenes, for fingerprints; of those in their usual place the seed does."""
    return {"first scene": own_scenes(seed, 0)} if seed in MOVED else {}


def scenes(first: int, count: int, size: tuple[int, int], domain: Domain) -> ImageSet:
    """Drawn anew."""
    drawn = [street_scene(first + k, size=size, domain=domain) for k in range(count)]
    return ImageSet.of(
        [one.image for one in drawn],
        [one.label for one in drawn],
        [one.instances for one in drawn],
    )


def streets(scale: SecoScale, seed: int, device: torch.device) -> Domains:
    """Source and target scenes of a seed; the held-out ones are the same for all seeds."""
    size = scale.size
    target = scenes(own_scenes(seed, 1), scale.target, size, "camera")
    key: dict[str, Any] = {
        "data": "streets", "seed": seed, "size": size, "target": scale.target,
        "source": scale.source, **scenes_key(seed),
    }  # fmt: skip
    return Domains(
        key=key,
        space=STREETS,
        source=scenes(own_scenes(seed, 0), scale.source, size, "game"),
        target=target,
        unknown=cache(lambda: with_unknown_things(target, seed)),
        open=cache(lambda: open_scenes(seed, scale)),
        held_out=scenes(TEST_SEEDS[0], scale.held_out, size, "camera"),
        labelled=lambda: target,
        segmenter=lambda: load_segmenter().to(device),
        new=lambda seed: new_segmenter(seed, STREETS.num_classes).to(device),
    )


def open_scenes(seed: int, scale: SecoScale) -> ImageSet:
    """Game scenes in colours, blur and noise of all kinds, with unknown things.

    They stand for open images of the world: neither source nor target. No camera scene is in them.
    """
    plain = scenes(own_scenes(seed, 2), scale.target, scale.size, "game")
    generator = torch.Generator().manual_seed(seed)
    images, truth, objects = [], [], []
    for image, label, names in zip(plain.images, plain.truth, plain.objects, strict=True):
        pixels, ids = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(names)
        view, moved = augment(pixels[None], ids[None], scale.size, generator)
        class_of = np.zeros(names.max() + 1, np.uint8)
        class_of[names] = label
        images.append((view[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        objects.append(moved[0].numpy().astype(np.int32))
        truth.append(class_of[objects[-1]])
    return with_unknown_things(ImageSet.of(images, truth, objects), seed)
