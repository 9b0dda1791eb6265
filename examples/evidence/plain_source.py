"""A source model that knows nothing but its own look, so that the gap is wide.

The demo's source segmenter was trained with strong augmentation of colour, blur and noise, and has
little left to gain on the target.
"""

from __future__ import annotations

from typing import Any

import torch
from measuring.training import new_segmenter, train

from evidence.kept import Kept
from evidence.scales import SggScale
from evidence.streets import scenes
from seco.demo import STREETS
from seco.demo.scenes import TRAIN_SEEDS

PLAIN = "streets-plain"
RATE = 3e-3


def plain_made_with(scale: SggScale) -> dict[str, Any]:
    """All that decides its weights."""
    names = ("size", "plain_scenes", "plain_steps", "batch")
    return {"source model": "plain", "plain rate": RATE} | {n: getattr(scale, n) for n in names}


def plain_source(scale: SggScale, kept: Kept, device: torch.device) -> torch.nn.Module:
    """The same for all seeds: mirrored windows of game scenes, a little brighter or darker."""
    model = new_segmenter(1_000, STREETS.num_classes).to(device)

    def make() -> None:
        known = scenes(TRAIN_SEEDS[0], scale.plain_scenes, scale.size, "game")
        height, width = scale.size
        train(
            model,
            known.images,
            known.truth,
            crop=(height * 7 // 8, width * 7 // 8),
            steps=scale.plain_steps,
            batch=2 * scale.batch,
            rate=RATE,
            seed=0,
        )

    return kept.weights("plain-source", plain_made_with(scale), model, make)
