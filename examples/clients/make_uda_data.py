"""Generate a small GTA -> Cityscapes task, to try a training repository and its patch with.

    python examples/clients/make_uda_data.py data

writes ``data/gta`` and ``data/cityscapes`` with the names, sizes and label ids of the real sets,
and the two JSON files that DAFormer, HRDA and MIC draw rare classes from. The pictures are
generated streets; nothing can be learnt from so few, but every path through a loader is the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seco import CITYSCAPES
from seco.common.files import write_label
from seco.demo import STREETS, street_scene

TRAIN_IDS = np.array([CITYSCAPES.id_of(name) for name in STREETS.names], np.uint8)
RAW_IDS = np.zeros(256, np.uint8)  # 0: unlabelled
RAW_IDS[:19] = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
"""Cityscapes' and GTA's own ids of the 19 train ids."""
SIZES = {"gta": (1052, 1914), "cityscapes": (1024, 2048)}
MIN_PIXELS = 3000
"""A class that no image has more pixels of is not drawn for (the trainers' ``min_pixels``)."""


def write_scene(seed: int, domain: str, size: tuple[int, int], image: Path, label: Path) -> dict:
    """Write one street and its train ids, with the raw ids beside them; return pixels per class."""
    scene = street_scene(seed, size=size, domain=domain)
    train_ids = TRAIN_IDS[scene.label]
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(image)
    write_label(label, train_ids, CITYSCAPES)
    raw = label.name.replace("_labelTrainIds", "" if domain == "game" else "_labelIds")
    Image.fromarray(RAW_IDS[train_ids]).save(label.with_name(raw))
    classes, counts = np.unique(train_ids, return_counts=True)
    return dict(zip(map(str, classes), map(int, counts), strict=True))


def write_source(folder: Path, images: int) -> None:
    """Write images, labels and the files for rare class sampling."""
    pixels: dict[str, dict[str, int]] = {}
    for seed in range(1, images + 1):
        label = folder / f"labels/{seed:05d}_labelTrainIds.png"
        picture = folder / f"images/{seed:05d}.png"
        pixels[str(label)] = write_scene(seed, "game", SIZES["gta"], picture, label)
    most: dict[str, int] = {}
    for counts in pixels.values():
        most = {name: max(n, most.get(name, 0)) for name, n in (most | counts).items()}
    drawn = [name for name, n in most.items() if n > MIN_PIXELS]
    kept = {
        file: {c: n for c, n in counts.items() if c in drawn} for file, counts in pixels.items()
    }
    stats: list[dict[str, Any]] = [{**counts, "file": file} for file, counts in kept.items()]
    having = {c: [(file, n[c]) for file, n in kept.items() if c in n] for c in drawn}
    (folder / "sample_class_stats.json").write_text(json.dumps(stats))
    (folder / "samples_with_class.json").write_text(json.dumps(having))


def write_target(folder: Path, split: str, seeds: range) -> None:
    """Write one split in Cityscapes' folders."""
    for seed in seeds:
        name = f"street/street_{seed:06d}_000019"
        image = folder / f"leftImg8bit/{split}/{name}_leftImg8bit.png"
        label = folder / f"gtFine/{split}/{name}_gtFine_labelTrainIds.png"
        write_scene(seed, "camera", SIZES["cityscapes"], image, label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="gets gta/ and cityscapes/")
    parser.add_argument("--images", type=int, default=8, help="of each domain (default 8)")
    options = parser.parse_args()
    write_source(options.out / "gta", options.images)
    write_target(options.out / "cityscapes", "train", range(100, 100 + options.images))
    write_target(options.out / "cityscapes", "val", range(50, 52))


if __name__ == "__main__":
    main()
