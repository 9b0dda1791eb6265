"""Files of ProDA and UniMatch, and CLOUDS' labels: written as they do, refined, read as they do."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from seco import (
    CITYSCAPES,
    Regions,
    refine_pseudo_labels,
)
from seco.folder import OutputFormat, Refiner, find_inputs, refine_folder

SIZE = (32, 64)
STRIDE = 4
NAMES = ("aachen_000000_000019_leftImg8bit.png", "ulm_000001_000019_leftImg8bit.png")


def truth(seed: int) -> np.ndarray:
    """Three areas of even sides: road, sky, a car."""
    label = np.full(SIZE, CITYSCAPES.id_of("sky"), np.uint8)
    label[SIZE[0] // 2 :] = CITYSCAPES.id_of("road")
    left = 8 + 16 * seed
    label[16:28, left : left + 20] = CITYSCAPES.id_of("car")
    return label


def softmax(seed: int) -> np.ndarray:
    """(19, h, w) float32 at the network's stride, wrong in a tenth of the cells."""
    rng = np.random.default_rng(seed)
    label = truth(seed)[::STRIDE, ::STRIDE].astype(int)
    wrong = rng.random(label.shape) < 0.1
    logits = rng.normal(0, 0.2, (19, *label.shape))
    np.put_along_axis(logits, np.where(wrong, 5, label)[None], 1.5, axis=0)
    logits *= np.where(wrong, 1, 3)  # and unsure there
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(0)).astype(np.float32)


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate(NAMES):
        for folder in ("images", "regions", "soft", "LP"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "images" / name)
        regions = Regions.from_label_map(torch.from_numpy(truth(seed).astype(np.int64) + 1))
        regions.save((tmp_path / "regions" / name).with_suffix(".npz"))
        soft = softmax(seed)
        np.save((tmp_path / "soft" / name).with_suffix(".npy"), soft)
        full = soft.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)
        Image.fromarray(full.argmax(0).astype(np.uint8)).save(tmp_path / "LP" / name)
        colours = np.zeros((*SIZE, 3), np.uint8)
        Image.fromarray(colours).save(tmp_path / "LP" / name.replace(".png", "_color.png"))
        confidence = full.max(0).astype(np.float16)
        np.save(tmp_path / "LP" / name.replace(".png", "_conf.npy"), confidence)
    return tmp_path


def read_as_proda_does(folder, name, threshold):
    """Stages 2 and 3: ids, and 250 where the confidence is not above the threshold."""
    label = np.array(Image.open(folder / name), dtype=np.uint8)
    confidence = np.load(folder / name.replace(".png", "_conf.npy"))
    assert (label.shape, confidence.shape, confidence.dtype) == (SIZE, SIZE, np.float16)
    label[confidence <= threshold] = 250
    return label


@pytest.mark.parametrize("outside", ["keep", "ignore"])
def test_proda_s_labels_and_confidences_are_rewritten(data, outside):
    inputs = find_inputs(data / "images", data / "LP", confidence=data / "LP", naming="proda")
    refiner = Refiner(None, CITYSCAPES, regions=data / "regions", outside=outside)
    summary = refine_folder(inputs, data / "new", refiner, output=OutputFormat("proda"))
    assert not summary.of("failed")
    for seed, name in enumerate(NAMES):
        before, label = (
            read_as_proda_does(data / folder, name, threshold=0.0) for folder in ("LP", "new")
        )
        assert 0.8 < (before == truth(seed)).mean() < 0.95
        assert set(np.unique(label)) <= {*np.unique(truth(seed)), 250}
        assert (label == truth(seed)).mean() > 0.99
        # what its threshold drops is gone, not another class
        sure = read_as_proda_does(data / "new", name, threshold=0.9)
        assert set(np.unique(sure[sure != label])) == {250}


def test_proda_s_soft_labels_become_smoothed_one_hot_where_refined(data, example, monkeypatch):
    words = [str(data / folder) for folder in ("soft", "regions", "refined_soft")]
    monkeypatch.setattr("sys.argv", ["refine_soft_labels.py", *words])
    example("refine_soft_labels").main()
    for seed, name in enumerate(NAMES):
        soft, refined = (
            np.load((data / folder / name).with_suffix(".npy"))
            for folder in ("soft", "refined_soft")
        )
        # its loader: full size, bilinear; rectified and taken the best of
        lpsoft = torch.from_numpy(refined)[None]
        assert (lpsoft.dtype, lpsoft.shape[1]) == (torch.float32, 19)
        torch.testing.assert_close(lpsoft.sum(1), torch.ones_like(lpsoft[:, 0]))
        full = torch.nn.functional.interpolate(
            lpsoft, size=SIZE, mode="bilinear", align_corners=True
        )
        assert (full[0].argmax(0).numpy() == truth(seed)).mean() > 0.85
        assert np.array_equal(refined.argmax(0), truth(seed)[::STRIDE, ::STRIDE])
        changed = soft.argmax(0) != refined.argmax(0)
        assert 0.05 < changed.mean() < 0.2
        assert np.allclose(np.sort(refined[:, changed], 0).T, [0.1 / 18] * 18 + [0.9])
        assert np.array_equal(refined[:, ~changed], soft[:, ~changed])


def test_unimatch_reads_the_lists_and_the_labels(data):
    """Lines "image label" under one root; 255 is ignore, 254 is its own for padding."""
    split = data / "unlabeled.txt"
    split.write_text("".join(f"images/{name} LP/{name}\n" for name in NAMES))
    out = data / "refined"
    refiner = Refiner(None, CITYSCAPES, regions=data / "by_place", outside="keep")
    inputs = find_inputs(data, data, list_file=split)
    (data / "by_place").mkdir()
    (data / "regions").rename(data / "by_place/images")
    assert not refine_folder(inputs, out, refiner).of("failed")

    new = data / "unlabeled_refined.txt"
    new.write_text("".join(f"images/{name} refined/LP/{name}\n" for name in NAMES))
    for seed, line in enumerate(new.read_text().splitlines()):
        image, label = (os.path.join(data, part) for part in line.split(" "))
        assert Image.open(image).convert("RGB").size == SIZE[::-1]
        mask = np.array(Image.fromarray(np.array(Image.open(label))))
        assert (mask.dtype, mask.shape) == (np.uint8, SIZE)
        assert set(np.unique(mask)) == set(np.unique(truth(seed)))
        assert (mask == truth(seed)).all()


def test_clouds_label_maps_one_image_at_a_time():
    """(H, W) int64 maps in a list of dicts; 19 and 255 are no class; images uint8, 0-255."""
    for seed in range(2):
        image = torch.zeros(3, *SIZE, dtype=torch.uint8)
        sem_seg = torch.from_numpy(truth(seed).astype(np.int64))
        sem_seg[::3, ::3] = 19
        outputs = [{"sem_seg": sem_seg}]
        regions = Regions.from_label_map(torch.from_numpy(truth(seed).astype(np.int64) + 1))
        for item in outputs:
            label = item["sem_seg"].masked_fill(item["sem_seg"] == 19, 255)
            item["sem_seg"] = refine_pseudo_labels(image, label, regions=regions, outside="keep")
        refined = outputs[0]["sem_seg"]
        assert refined.dtype == torch.int64
        assert torch.equal(refined, torch.from_numpy(truth(seed).astype(np.int64)))
        classes = [k for k in refined.unique().tolist() if k not in (19, 255)]
        masks = torch.stack([(refined == k).float() for k in classes])
        assert masks.sum(0).eq(1).all()
    with pytest.raises(ValueError, match="got 19"):
        refine_pseudo_labels(image, sem_seg, regions=regions)
