"""examples/clients: a data set that trainers read, soft labels refined."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import seco
from seco.common.files import read_image, read_label
from seco.common.inputs import find_inputs

SIZE = (64, 128)


@pytest.fixture
def data(example, monkeypatch, tmp_path):
    made = example("make_uda_data")
    monkeypatch.setattr(made, "SIZES", {"gta": SIZE, "cityscapes": SIZE})
    monkeypatch.setattr(made, "MIN_PIXELS", 200)
    made.write_source(tmp_path / "gta", 3)
    made.write_target(tmp_path / "cityscapes", "train", range(100, 102))
    return tmp_path


def test_the_set_has_the_names_and_ids_of_the_real_ones(data):
    """The first raw ids are those that GTA's converters know; see Cityscapes' label table."""
    raw_of = {"road": 7, "building": 11, "vegetation": 21, "sky": 23, "car": 26, "bicycle": 33}
    source = find_inputs(data / "gta/images", data / "gta/labels", naming="gta")
    target = find_inputs(
        data / "cityscapes/leftImg8bit/train", data / "cityscapes/gtFine/train", naming="cityscapes"
    )
    assert [len(inputs.files) for inputs in (source, target)] == [3, 2]
    for number in (1, 2, 3):
        ids = read_label(data / f"gta/labels/{number:05d}_labelTrainIds.png")
        raw = read_label(data / f"gta/labels/{number:05d}.png")
        assert read_image(data / f"gta/images/{number:05d}.png").shape == (*ids.shape, 3)
        for name, value in raw_of.items():
            assert np.array_equal(ids == seco.CITYSCAPES.id_of(name), raw == value)


def test_rare_classes_are_drawn_from_images_that_show_them(data):
    stats = json.loads((data / "gta/sample_class_stats.json").read_text())
    having = json.loads((data / "gta/samples_with_class.json").read_text())
    assert len(stats) == 3
    present = set()
    for entry in stats:
        label = read_label(entry.pop("file"))
        present |= {str(value) for value in np.unique(label)}
        assert entry
        for name, pixels in entry.items():
            assert (label == int(name)).sum() == pixels
    assert {name for entry in stats for name in entry} == set(having)
    assert set(having) < present
    for files in having.values():
        assert max(pixels for _, pixels in files) > 200


def test_soft_labels_change_where_the_class_does(example, tmp_path):
    truth = np.repeat(np.arange(4), 4)[None] // 2 + np.zeros((8, 1), int)  # two halves
    soft = np.full((3, 8, 16), 0.1, np.float32)
    np.put_along_axis(soft, truth[None], np.float32(0.8), axis=0)
    soft[:, 2, 3] = 0.1, 0.2, 0.7
    whole = torch.from_numpy(truth + 1).repeat_interleave(4, 0).repeat_interleave(4, 1)
    seco.Regions.from_label_map(whole).save(tmp_path / "a.npz")
    refined = example("refine_soft_labels").refine(soft, tmp_path / "a.npz", 0.9)
    assert refined.dtype == np.float32
    assert np.allclose(refined[:, 2, 3], (0.9, 0.05, 0.05))
    refined[:, 2, 3] = soft[:, 2, 3]
    assert np.array_equal(refined, soft)
