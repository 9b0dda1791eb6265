"""The README's python code runs as it stands there, with the tiny SAM in the place of ViT-H."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seco
from seco.common.label_spaces import CITYSCAPES
from seco.demo import street_scene
from seco.sam.tiny import PROPOSALS

README = Path(__file__).parents[1] / "README.md"
SIZE = (32, 64)


def of_one_image() -> dict[str, Any]:
    label = np.random.default_rng(0).integers(0, CITYSCAPES.num_classes, SIZE, np.uint8)
    return {"image": street_scene(0, size=SIZE).image, "pseudo_label": label}


def of_a_batch() -> dict[str, Any]:
    pixels = torch.from_numpy(street_scene(1, size=SIZE).image).permute(2, 0, 1) / 255
    means, stds = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalised = (pixels - torch.tensor(means)[:, None, None]) / torch.tensor(stds)[:, None, None]
    shape = (2, *SIZE)
    return {
        "target_img": torch.stack([normalised, normalised.flip(2)]),
        "pseudo_label": torch.full(shape, CITYSCAPES.id_of("road")),
        "means": means,
        "stds": stds,
        "pseudo_prob": torch.full(shape, 0.9),
        "valid_mask": torch.ones(shape, dtype=torch.bool),
    }


def test_python_code_of_the_readme_runs(monkeypatch, tmp_path):
    tiny, asked = seco.load_sam("tiny"), []
    tiny.model.proposal_settings = replace(PROPOSALS, points_per_side=8)

    def load_sam(*args: object, **options: object) -> object:
        asked.append((args, options))
        return tiny

    monkeypatch.setattr(seco, "load_sam", load_sam)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block, given in zip(blocks, (of_one_image, of_a_batch, of_one_image), strict=True):
        names |= given()
        before = names["pseudo_label"]
        names.pop("clean", None)
        exec(block, names)
        after = names.get("clean", names["pseudo_label"])
        assert after is not before
        assert type(after) is type(before)
        assert after.shape == before.shape
    options = {"checkpoint": "sam_vit_h_4b8939.pth", "device": "cuda"}
    assert asked == [(("vit_h",), options)]
