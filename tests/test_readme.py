"""The README's python code runs as it stands there, with the bundled models for large ones."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch

import seco
import sgg
from seco.common.label_spaces import CITYSCAPES
from seco.demo import street_scene

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
        "pseudo_weight": torch.full(shape, 0.9),
        "valid_mask": torch.ones(shape, dtype=torch.bool),
    }


def of_a_data_set() -> dict[str, Any]:
    one = of_one_image()
    regions = np.arange(SIZE[0])[:, None] // 8 + np.zeros(SIZE, np.uint8)
    return one | {"samples": [(one["image"], regions)]}


def of_a_source() -> dict[str, Any]:
    from sgg.demo import SIZE, load_diffusion, load_segmenter

    scene = street_scene(2, size=SIZE, domain="game")
    models = {"pipeline": load_diffusion(), "seg_model": load_segmenter()}
    return {"src_img": scene.image, "src_label": scene.label, **models}


# What each block of code is given, and where in it what comes in and what comes out lie.
BLOCKS = (
    (of_one_image, "pseudo_label", "clean"),
    (of_a_batch, "pseudo_label", "pseudo_label"),
    (of_one_image, "pseudo_label", "clean"),
    (of_a_data_set, "pseudo_label", "clean"),
    (of_a_source, "src_img", "translated"),
)


@pytest.mark.filterwarnings("ignore::seco.NoNoiseFoundWarning")
def test_python_code_of_the_readme_runs(monkeypatch, tmp_path):
    asked = pages.tiny_for_all(monkeypatch)
    monkeypatch.chdir(tmp_path)
    blocks = pages.python_blocks(README)
    names: dict[str, Any] = {}
    for block, (given, taken, made) in zip(blocks, BLOCKS, strict=True):
        names |= given()
        before = names[taken]
        if made != taken:
            names.pop(made, None)
        exec(block, names)
        assert names[made] is not before
        assert type(names[made]) is type(before)
        assert names[made].shape == before.shape
    options = {"checkpoint": "sam_vit_h_4b8939.pth", "device": "cuda"}
    assert asked == [(("vit_h",), options)]


def test_the_version_is_one():
    said = (README.parent / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {seco.__version__}\n" in said
    assert seco.__version__ == sgg.__version__ == version("seco-sgg")
