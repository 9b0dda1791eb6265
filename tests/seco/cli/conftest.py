"""A folder to call commands on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from seco_command import NAMES, pair

from seco import CITYSCAPES
from seco.common.files import write_label


@pytest.fixture
def work(tmp_path):
    """Three images in two formats, their labels and confidences, in subfolders."""
    for seed, name in enumerate(NAMES):
        image, label = pair(seed)
        for kind in ("images", "labels", "confidence"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        suffix = ".png" if seed else ".bmp"
        Image.fromarray(image).save(tmp_path / "images" / f"{name}{suffix}")
        write_label(tmp_path / "labels" / f"{name}.png", label, CITYSCAPES)
        confidence = np.linspace(0, 1, label.size, dtype=np.float32).reshape(label.shape)
        np.save(tmp_path / "confidence" / f"{name}.npy", confidence)
    return tmp_path
