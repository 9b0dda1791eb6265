"""Procedural street scenes with exact labels, in two domains.

The "game" domain is clean and saturated, the "camera" domain has texture, weather, light and a
lens. A seed fixes what is in the scene and where; the domain changes only how it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seco.common.label_spaces import STREETS
from seco.demo.canvas import Canvas
from seco.demo.render import majority, render_camera, render_game
from seco.demo.street import draw_street, random_camera

Domain = Literal["game", "camera"]

TRAIN_SEEDS = range(4_000)
"""Scenes that bundled models are trained on."""
DEV_SEEDS = range(90_000, 90_200)
"""Scenes to choose methods and settings on."""
TEST_SEEDS = range(100_000, 100_300)
"""Scenes to report numbers on, and nothing else."""

_SMALLEST = 32


def training_note(seeds: Sequence[int]) -> str:
    """What is to be said of scenes that the bundled models have seen; nothing of others.

    Example:
        >>> training_note([3_999, 4_000]), training_note([100_000])
        (", 1 of them from the bundled models' training", '')
    """
    known = sum(seed in TRAIN_SEEDS for seed in seeds)
    return f", {known} of them from the bundled models' training" if known else ""


@dataclass(frozen=True)
class Scene:
    """One street scene.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 class ids of ``STREETS``.
        instances: (H, W) int32, ids from 1 without a gap: one per visible thing and per visible
            area of stuff (one building, one tree, one sidewalk, the sky, ...). 0 occurs nowhere.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    instances: NDArray[np.int32]


def street_scene(
    seed: int, *, size: tuple[int, int] = (256, 512), domain: Domain = "camera"
) -> Scene:
    """Draw one street scene.

    Args:
        seed: at least 0; the same seed is the same street at every size and in both domains. See
            ``TRAIN_SEEDS``, ``DEV_SEEDS`` and ``TEST_SEEDS``.
        size: height and width in pixels, at least 32 each. A wider picture shows more of the
            street, a larger one shows it finer.
        domain: "game" (clean, saturated) or "camera" (texture, weather, blur, noise).

    Returns:
        Image, label and instances; the same bits for the same versions of numpy and Pillow.

    Raises:
        TypeError: ``seed`` is no integer, or ``size`` no sequence of integers.
        ValueError: ``seed`` is negative, ``size`` too small, or ``domain`` unknown.

    Example:
        >>> scene = street_scene(7, size=(64, 128))
        >>> scene.image.shape, scene.label.shape, scene.instances.dtype.name
        ((64, 128, 3), (64, 128), 'int32')
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed: expected an integer, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    if not isinstance(size, Sequence) or not all(isinstance(s, (int, np.integer)) for s in size):
        raise TypeError(f"size: expected integers (height, width), got {size}")
    if len(size) != 2 or min(size) < _SMALLEST:
        raise ValueError(f"size: expected (height, width) of at least {_SMALLEST} each, got {size}")
    if domain not in ("game", "camera"):
        raise ValueError(f'domain: expected "game" or "camera", got {domain!r}')
    layout = np.random.default_rng([int(seed), 0])
    canvas = Canvas((int(size[0]), int(size[1])), random_camera(layout), layout)
    draw_street(canvas, {name: k for k, name in enumerate(STREETS.names)})

    parts = majority(np.asarray(canvas.image))
    owners = np.array(canvas.owner, np.int32)[parts]
    visible = np.bincount(owners.ravel(), minlength=len(canvas.classes)) > 0
    instances = np.cumsum(visible, dtype=np.int32)[owners]
    label = np.array(canvas.classes, np.uint8)[owners]
    render, stream = (render_game, 1) if domain == "game" else (render_camera, 2)
    return Scene(
        render(canvas, parts, np.random.default_rng([int(seed), stream])), label, instances
    )
