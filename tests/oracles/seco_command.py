"""Three small images with labels, and the command that refines them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from commands import run

from seco import CITYSCAPES

QUICK = ("--device", "cpu", "--set", "points_per_side=3")


NAMES = ("a/one", "a/two", "b/three")


def pair(seed: int, size: tuple[int, int] = (40, 64)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.full(size, 10, np.uint8)  # sky
    label[size[0] // 2 :] = 0  # road
    label[10:30, 12:40] = 13  # car
    image = np.array(CITYSCAPES.colours, np.uint8)[label]
    label[rng.random(size) < 0.2] = 255
    return image, label


def refine(work: Path, *more: object):
    return run("refine", work / "images", work / "labels", work / "out", *QUICK, *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.*"))
        if path.is_file() and path.suffix not in (".json", ".jsonl")
    }
