"""A small source set and models that are formulas, for progressive translation.

``main`` is one of several processes that translate together.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gaussian_domain import target_domain
from PIL import Image
from torch import nn

from seco.common.jobs import JobOptions
from seco.common.labels import LabelSpace
from seco.common.processes import Processes
from sgg import Segmenter
from sgg.folder import TranslationOptions
from sgg.progressive import (
    FinetuneSettings,
    FinetuneTask,
    Progression,
    finetune_segmenter,
    progressive_translation,
)

SPACE = LabelSpace(names=("dark", "red", "green", "blue"), things=("blue",))
OPTIONS = TranslationOptions(num_inference_steps=2, guidance_scale=0.5)
SIZE = (12, 20)
IMAGES = 5
STRENGTHS = (0.4, 0.8)
PLAIN = FinetuneSettings(
    steps=6, batch_size=3, learning_rate=0.05, crop_height=99, crop_width=99, flip=False, jitter=0.0
)


class Colour(nn.Module):
    """Sees the colour of a pixel, and a little of its neighbours."""

    def __init__(self, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.bias.copy_(torch.tensor([1.0, -0.5, -0.5, -0.5]))
            for k in range(3):
                self.look.weight[k + 1, k, 1, 1] = 3.0
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.look(self.dropout(x)))


def segmenter(**options: Any) -> Segmenter:
    return Segmenter(Colour(**options).eval(), normalization=None)


def write_source(root: Path, images: int = IMAGES) -> Path:
    """A data set whose colours mostly tell the class."""
    rng = np.random.default_rng(3)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(1, images + 1):
        blocks = rng.integers(0, 4, (3, 5))
        label = blocks.repeat(4, 0).repeat(4, 1).astype(np.uint8)
        colours = np.array([(60, 60, 60), (230, 60, 60), (60, 230, 60), (60, 60, 230)])
        image = colours[label] + rng.integers(-40, 41, (*SIZE, 3))
        label[:2] = 255
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"images/{number:05}.png")
        Image.fromarray(label).save(root / f"labels/{number:05}.png")
    return root


def run(root: Path, out: Path, **options: Any) -> Progression:
    given: dict[str, Any] = {
        "diffusion": target_domain(),
        "strengths": STRENGTHS,
        "finetune": partial(finetune_segmenter, settings=PLAIN),
        "label_space": SPACE,
        "translation": OPTIONS,
        "checkpoint_every": 2,
    } | options
    guide = given.pop("seg_model") if "seg_model" in given else segmenter()
    models = given.pop("diffusion"), guide
    return progressive_translation((root / "images", root / "labels"), *models, out=out, **given)


def results(out: Path) -> dict[str, bytes]:
    """All files that runs leave, but for those that tell of the last run and of times."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and ".job" not in path.parts]
    paths = [path for path in paths if path.name != "summary.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def watched(segmenter: Segmenter, task: FinetuneTask, *, folder: Path) -> Any:
    """Fine-tune, and keep every process's own weights."""
    losses = finetune_segmenter(segmenter, task, settings=PLAIN)
    state = segmenter.model.state_dict()
    torch.save(state, folder / f"stage-{task.stage} of {task.processes.rank}.pt")
    return losses


def main(root: Path, folder: Path) -> None:
    """Be one of several processes: translate with two models."""
    torch.set_num_threads(1)
    options = {"options": JobOptions(processes=Processes.join())}
    run(root, folder / "plain", **options)
    normalised = segmenter(norm=True, dropout=0.1)
    run(
        root, folder / "norm", seg_model=normalised, finetune=partial(watched, folder=folder),
        **options,
    )  # fmt: skip


class Stopped(Exception):
    """In the place of a kill, within one process."""


def stop_in(monkeypatch, name: str, call: int) -> None:
    """Raise in one of the calls of a function of the package."""
    module, _, function = name.rpartition(".")
    original, calls = getattr(sys.modules[module], function), iter(range(1, 10**6))

    def stopping(*args, **options):
        if next(calls) == call:
            raise Stopped
        return original(*args, **options)

    monkeypatch.setattr(name, stopping)


def to_nan(segmenter, task):
    with torch.no_grad():
        segmenter.model.look.weight.fill_(torch.nan)
    return [(1, 0.5)]


def to_one_class(segmenter, task):
    if task.stage == 2:
        with torch.no_grad():
            segmenter.model.look.weight.zero_()
    return []
