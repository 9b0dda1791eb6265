"""Where a folder job's refining is done, and what of its settings counts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seco import CITYSCAPES, ProposalSettings, PSASettings, Regions
from seco.common.files import write_label
from seco.folder import Refiner, find_inputs, refine_folder

SIZE = (8, 12)


@pytest.fixture
def inputs(tmp_path):
    for kind in ("images", "labels", "regions"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(tmp_path / "images/a.png")
    write_label(tmp_path / "labels/a.png", rng.integers(0, 3, SIZE).astype(np.uint8), CITYSCAPES)
    halves = torch.ones(SIZE, dtype=torch.int64)
    halves[:, 6:] = 2
    Regions.from_label_map(halves).save(tmp_path / "regions/a.npz")
    return find_inputs(tmp_path / "images", tmp_path / "labels")


class Elsewhere:
    """A segmenter on some device, which is never asked."""

    def __init__(self, device):
        self.device = torch.device(device)

    def encode(self, images):
        raise NotImplementedError

    def decode(self, embedding, *, boxes=None, points=None, point_labels=None, multimask=False):
        raise NotImplementedError


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_work_is_done_where_the_model_is(inputs, monkeypatch, device):
    seen = []

    def stand_in(img, pl, sam, **options):
        seen.append((img, pl))
        labels = torch.zeros(1, *SIZE, dtype=torch.int64)
        return SimpleNamespace(
            labels=labels, scores=labels.float(), connectivities=[None], judgements=None
        )

    monkeypatch.setattr("seco.folder.refine.refine_with_details", stand_in)
    refiner = Refiner(Elsewhere(device), CITYSCAPES)
    given = refiner.read(inputs.files[0], inputs)
    result = refiner.refine(given)
    assert result.before is given[1]
    ((img, pl),) = seen
    if device == "cpu":
        assert img is given[0]
        assert pl is given[1]
    else:
        assert img.device == pl.device == torch.device("meta")
        assert (img.shape, img.dtype) == ((3, *SIZE), torch.uint8)
        assert (pl.shape, pl.dtype) == (SIZE, torch.int64)


def test_how_regions_are_found_does_not_count_where_they_are_given(inputs, tmp_path):
    def refine(points):
        settings = PSASettings(proposals=ProposalSettings(points_per_side=points))
        regions = tmp_path / "regions"
        refiner = Refiner(None, CITYSCAPES, regions=regions, settings=settings)
        (outcome,) = refine_folder(inputs, tmp_path / "out", refiner).outcomes
        return outcome.status

    assert [refine(8), refine(16)] == ["written", "skipped"]
