"""Regions in the pipelines and meta data of mmsegmentation 0.x and 1.x."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmseg_pipeline import META_KEYS, collect, crop, flip, load, pad, resize, rotate, run
from torch.utils.data import DataLoader

from seco import (
    LoadRegions,
    Regions,
    refine_in_loop,
    refine_pseudo_labels,
    regions_of,
)
from seco.common.inputs import find_inputs
from seco.folder import find_regions
from seco.sam.tiny import PROPOSALS, load_tiny_sam

SIZE = (40, 60)
NAMES = ("aachen/aachen_000000_000019_leftImg8bit.png", "ulm/ulm_000001_000019_leftImg8bit.png")
TABLES = ("regions", "regions_table")


def masks(seed: int, count: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    circles = [
        (ys - rng.integers(0, SIZE[0])) ** 2 + (xs - rng.integers(0, SIZE[1])) ** 2
        < rng.integers(3, 25) ** 2
        for _ in range(count)
    ]
    return torch.from_numpy(np.stack(circles))


@pytest.fixture
def data(tmp_path):
    """Two Cityscapes images, and regions where ``seco regions`` puts them."""
    for seed, name in enumerate(NAMES):
        path = tmp_path / "leftImg8bit" / name
        path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(path), np.full((*SIZE, 3), 100, np.uint8))
        Regions.from_masks(masks(seed)).save((tmp_path / "regions" / name).with_suffix(".npz"))
    return tmp_path


MOVES = {
    "as it is": [],
    "daformer": [resize((90, 60)), crop(5, 20, 48, 48), flip, pad(48, 48)],
    "padded": [resize((30, 20)), pad(48, 48)],
    "rotated": [rotate(10.0), crop(0, 0, 30, 30)],
}


@pytest.mark.parametrize("steps", MOVES.values(), ids=MOVES)
def test_a_vote_in_moved_regions_is_one_in_moved_masks(data, steps):
    """Move the map as one field, and every mask as a field of its own."""
    for seed, name in enumerate(NAMES):
        results = load(str(data / "leftImg8bit"), name)
        step = LoadRegions(str(data / "regions"))
        moved = run(results, [step, *steps, collect((*META_KEYS, *TABLES))])
        (regions,) = regions_of([moved["img_metas"]])

        alone = load(str(data / "leftImg8bit"), name)
        for number, mask in enumerate(masks(seed).numpy()):
            alone[f"mask{number}"] = mask.astype(np.uint8)
            alone["seg_fields"].append(f"mask{number}")
        alone = run(alone, steps)
        fields = np.stack([alone[key] for key in alone["seg_fields"]])
        expected = Regions.from_masks(torch.from_numpy(fields == 1))

        assert regions.size == moved["img"].shape[:2] == expected.size
        label = np.random.default_rng(seed).integers(0, 19, regions.size)
        label[: label.shape[0] // 2, : label.shape[1] // 2] = 3
        label = torch.from_numpy(label)[None]
        weight = torch.full(label.shape, 0.4)
        refined, _ = refine_in_loop(None, label, weight, regions=[regions], outside="ignore")
        by_masks = refine_pseudo_labels(None, label, regions=expected)
        assert torch.equal(refined, by_masks)
        assert (refined != label).any()


class DataSet(torch.utils.data.Dataset):
    """Source and target joined as UDADataset does: of the target, image and meta data only."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(NAMES)

    def __getitem__(self, index):
        steps = [LoadRegions(str(self.data / "regions")), *MOVES["daformer"]]
        results = load(str(self.data / "leftImg8bit"), NAMES[index])
        target = run(results, [*steps, collect((*META_KEYS, *TABLES))])
        img = torch.from_numpy(np.ascontiguousarray(target["img"])).permute(2, 0, 1)
        return {"target_img": img, "target_img_metas": target["img_metas"]}


def joined(samples):
    """Tensors are stacked, meta data stays a list: what mmcv's collate and scatter do."""
    return {
        "target_img": torch.stack([sample["target_img"] for sample in samples]),
        "target_img_metas": [sample["target_img_metas"] for sample in samples],
    }


def test_regions_arrive_from_the_processes_of_a_data_loader(data):
    loader = DataLoader(
        DataSet(data), 2, num_workers=1, collate_fn=joined, multiprocessing_context="spawn"
    )
    (batch,) = loader
    label = torch.zeros(2, 48, 48, dtype=torch.int64)
    label[:, ::3, ::3] = 7
    found = regions_of(batch["target_img_metas"])
    assert all(len(regions) > 3 for regions in found)
    refined, _ = refine_in_loop(
        batch["target_img"], label, torch.ones(label.shape), regions=found, outside="ignore"
    )
    assert set(refined.unique().tolist()) == {0, 255}


def test_what_the_command_writes_is_what_the_step_reads(data, monkeypatch):
    sam = load_tiny_sam()
    sam.proposal_settings = replace(PROPOSALS, points_per_side=4)
    out = data / "found"
    find_regions(find_inputs(data / "leftImg8bit"), out, sam)
    results = LoadRegions(str(out))(load(str(data / "leftImg8bit"), NAMES[0]))
    stored = Regions.load((out / NAMES[0]).with_suffix(".npz"))
    assert torch.equal(regions_of([results])[0].masks(), stored.masks())

    # an image that is replaced by one of the same size
    again = partial(load, str(data / "leftImg8bit"), NAMES[1])
    step = LoadRegions(str(out))
    step(again())
    image = data / "leftImg8bit" / NAMES[1]
    content = image.read_bytes()
    assert cv2.imwrite(str(image), np.full((*SIZE, 3), 7, np.uint8))
    step(again())  # once per file and process
    for changed in (again(), {**again(), "img_path": str(image)}):
        images = str(data / "leftImg8bit") if "img_path" in changed else None
        with pytest.raises(ValueError, match=r"another version of it.*check_images=False"):
            LoadRegions(str(out), images)(changed)
        LoadRegions(str(out), images, check_images=False)(changed)
    elsewhere = {**again(), "img_prefix": str(data / "gone")}
    with pytest.raises(FileNotFoundError, match=r"no such file.*check_images=False"):
        LoadRegions(str(out))(elsewhere)
    LoadRegions(str(out), check_images=False)(elsewhere)
    image.write_bytes(content)  # copied: another time, the same image
    LoadRegions(str(out))(again())


def test_without_a_folder_nothing_is_read_and_nothing_moves(data):
    """A run without seco on a machine that has no regions: images as they were, keys in place."""
    plain = run(load(str(data / "leftImg8bit"), NAMES[0]), MOVES["daformer"])
    step = LoadRegions(None)
    results = run(load(str(data / "leftImg8bit"), NAMES[0]), [step, *MOVES["daformer"]])
    assert set(results) - set(plain) == set(TABLES)
    assert results["seg_fields"] == plain["seg_fields"] == []
    assert np.array_equal(results["img"], plain["img"])
    metas = [collect((*META_KEYS, *TABLES))(results)["img_metas"]]
    label, weight = torch.zeros(1, 48, 48, dtype=torch.int64), torch.ones(1, 48, 48)

    def call(**options):
        return refine_in_loop(None, label, weight, regions=lambda: regions_of(metas), **options)

    assert call(enabled=False)[0] is label
    with pytest.raises(ValueError, match=r"metas: expected regions .* LoadRegions\(folder=None\)"):
        call()


@dataclass
class DataSample:
    """Of mmseg 1.x: no weights anywhere, meta data in an attribute."""

    gt_sem_seg: torch.Tensor  # (1, H, W) int64
    metainfo: dict[str, Any]


def test_data_samples_of_mmseg_1(data):
    step = LoadRegions(str(data / "regions"), images=str(data / "leftImg8bit"))
    samples = []
    for name in NAMES:
        results = load(str(data / "leftImg8bit"), name)
        del results["img_info"], results["ori_filename"]
        results["img_path"] = str(data / "leftImg8bit" / name)
        results = run(results, [step, *MOVES["daformer"]])
        speckled = np.random.default_rng(1).choice([2, 2, 2, 8], (1, 48, 48))
        metainfo = {key: results[key] for key in TABLES}
        samples.append(DataSample(torch.from_numpy(speckled), metainfo))
    label = torch.cat([sample.gt_sem_seg for sample in samples])
    refined = refine_pseudo_labels(None, label, regions=regions_of(samples))
    assert refined.dtype == torch.int64
    # the one channel there is for what not to learn
    assert {2, 255} <= set(refined.unique().tolist()) <= {2, 8, 255}
    assert (refined == 2).sum() > (label == 2).sum() * 0.3


def test_what_is_wrong_is_said(data):
    name, folder = NAMES[0], str(data / "regions")
    fresh = partial(load, str(data / "leftImg8bit"), name)
    with pytest.raises(FileNotFoundError, match="none"):
        LoadRegions(str(data / "none"))(fresh())
    with pytest.raises(ValueError, match="img: expected the image of"):
        LoadRegions(folder)(run(fresh(), [resize((20, 20))]))
    with pytest.raises(ValueError, match="one flipped; LoadRegions comes before"):
        LoadRegions(folder)(run(fresh(), [flip]))
    with pytest.raises(ValueError, match="images: expected the folder of the images"):
        LoadRegions(folder)({"img_path": str(data / "leftImg8bit" / name)})
    with pytest.raises(ValueError, match=r"results: expected .* got list \['img'\]; LoadRegions"):
        LoadRegions(folder, images=str(data / "leftImg8bit"))({"img": 0})
    with pytest.raises(ValueError, match="images: expected a folder that holds"):
        LoadRegions(folder, images=str(data / "elsewhere"))({"img_path": str(data / name)})
    results = run(fresh(), [LoadRegions(folder), collect(META_KEYS)])
    with pytest.raises(ValueError, match="metas: expected regions and regions_table"):
        regions_of([results["img_metas"]])
    for other in (results["img_metas"], None, ["regions"]):
        with pytest.raises(TypeError, match="metas: expected meta data of every image, got"):
            regions_of(other)
    # HRDA's synchronised crop cuts the tensors after the pipeline, where no field follows
    results = run(fresh(), [LoadRegions(folder), collect((*META_KEYS, *TABLES))])
    label = torch.zeros(1, 16, 16, dtype=torch.int64)
    with pytest.raises(ValueError, match="regions: expected the size"):
        refine_in_loop(
            None, label, torch.ones(1, 16, 16), regions=regions_of([results["img_metas"]])
        )
