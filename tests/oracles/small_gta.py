"""A labelled source set of six small images, as GTA is laid out, and its translation.

The models are formulas, so that an image takes milliseconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gaussian_domain import target_domain
from PIL import Image

from seco.common.inputs import find_inputs
from seco.common.jobs import JobOptions
from seco.common.labels import LabelSpace
from sgg import Segmenter
from sgg.folder import SetLayout, TranslatedSet, TranslationOptions, translate_folder

SPACE = LabelSpace(names=("dark", "red", "green", "blue"))
OPTIONS = TranslationOptions(num_inference_steps=3, guidance_scale=0.5)
SIZE = (12, 20)


def by_colour(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(x[:, :1]), 4 * x - 2], 1)


SEGMENTER = Segmenter(by_colour, normalization=None)


@dataclass
class Source:
    """A small GTA: images, labels with train ids and raw ids, and the files of sampling."""

    root: Path

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        for folder in ("images", "labels"):
            (self.root / folder).mkdir(parents=True)
        stats, samples = [], {}
        for number in range(1, 7):
            name = f"{number:05}"
            self.write_image(name, rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8))
            label = rng.integers(0, 3, SIZE).astype(np.uint8)
            label[:2] = 255
            if number == 2:
                label[5:9, 5:9] = 3
            self.write_label(name, label)
            Image.fromarray(label + 7).save(self.root / f"labels/{name}.png")  # raw ids
            file = f"/data/gta/labels/{name}_labelTrainIds.png"
            ids, counts = np.unique(label[label < 255], return_counts=True)
            stats.append({"file": file, **dict(zip(map(str, ids), counts.tolist(), strict=True))})
            for class_id, count in zip(ids, counts.tolist(), strict=True):
                samples.setdefault(str(class_id), []).append([file, count])
        self.write_class_files(stats, samples)

    def write_image(self, name: str, image: np.ndarray) -> None:
        Image.fromarray(image).save(self.root / f"images/{name}.png")

    def write_label(self, name: str, label: np.ndarray) -> None:
        Image.fromarray(label).save(self.root / f"labels/{name}_labelTrainIds.png")

    def write_class_files(self, stats: object, samples: object) -> None:
        (self.root / "sample_class_stats.json").write_text(json.dumps(stats))
        (self.root / "samples_with_class.json").write_text(json.dumps(samples))

    def translate(
        self, out: Path, *, diffusion: Any = None, seg_model: Any = SEGMENTER,
        labels_by: Any = "link", options: JobOptions = JobOptions(), **others: Any,
    ) -> TranslatedSet:  # fmt: skip
        images, labels = self.root / "images", self.root / "labels"
        return translate_folder(
            find_inputs(images, labels, naming="gta"),
            SetLayout(images, labels, out, labels_by),
            diffusion or target_domain(),
            seg_model,
            **{"label_space": SPACE, "translation": OPTIONS, "min_pixels": 10}
            | others
            | {"options": options},
        )


def content(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
