"""A folder to work on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from folder_stages import scene
from PIL import Image

import seco
from seco import CITYSCAPES
from seco.common.files import write_label


@pytest.fixture
def work(tmp_path):
    """Six images, speckled labels, and regions, so that no SAM is needed."""
    for seed in range(6):
        image, label, speckled = scene(seed)
        for kind in ("images", "labels"):
            (tmp_path / kind / f"part{seed % 2}").mkdir(parents=True, exist_ok=True)
        name = f"part{seed % 2}/{seed}"
        Image.fromarray(image).save(tmp_path / f"images/{name}.png")
        write_label(tmp_path / f"labels/{name}.png", speckled, CITYSCAPES)
        regions = seco.Regions.from_label_map(torch.from_numpy(label.astype(np.int64)) + 1)
        regions.save(tmp_path / f"regions/{name}.npz")
    return tmp_path
