"""Measures of a set of images: against slow and closed forms, and image by image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.linalg import sqrtm
from sklearn.metrics import accuracy_score, jaccard_score

from seco.common.files import read_image
from seco.common.inputs import find_inputs
from seco.common.jobs import JobOptions
from seco.common.labels import LabelSpace
from seco.common.processes import Processes
from sgg import Segmenter
from sgg.evaluation import (
    Evaluation,
    Moments,
    colour_features,
    evaluate_folder,
    frechet_distance,
    logit_features,
)
from sgg.evaluation.folder import evaluate_by_several

SPACE = LabelSpace(names=("dark", "red", "green", "blue", "none"), things=("blue", "none"))


def by_colour(x: torch.Tensor) -> torch.Tensor:
    never = torch.full_like(x[:, :1], -9)
    return torch.cat([torch.full_like(x[:, :1], 0.5), x, never], 1)


SEGMENTER = Segmenter(by_colour, normalization=None)


def gaussian(seed: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimensions, dimensions))
    return rng.normal(size=dimensions), root @ root.T + 0.1 * np.eye(dimensions)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_the_distance_is_that_of_its_definition(seed, dimensions):
    (mean, cov), (mean2, cov2) = gaussian(seed, dimensions), gaussian(seed + 1, dimensions)
    expected = np.square(mean - mean2).sum()
    expected += np.trace(cov + cov2 - 2 * np.real(sqrtm(cov @ cov2)))
    one, other = Moments(2, mean, cov), Moments(2, mean2, cov2)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 1000))
def test_the_distance_of_axis_parallel_gaussians(seed):
    rng = np.random.default_rng(seed)
    means, widths = rng.normal(size=(2, 4)), rng.uniform(0, 3, (2, 4))
    one, other = (Moments(2, m, np.diag(w**2)) for m, w in zip(means, widths, strict=True))
    expected = np.square(means[0] - means[1]).sum() + np.square(widths[0] - widths[1]).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.integers(0, 1000), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_pooled_moments_are_those_of_all_rows(seed, counts):
    rng = np.random.default_rng(seed)
    parts = [100 + rng.normal(size=(count, 3)) * 0.01 for count in counts]
    pooled = Moments.of(parts[0])
    for part in parts[1:]:
        pooled = pooled + Moments.of(part)
    rows = np.concatenate(parts)
    np.testing.assert_allclose(pooled.mean, rows.mean(0), rtol=1e-12)
    if len(rows) > 1:
        np.testing.assert_allclose(pooled.covariance, np.cov(rows, rowvar=False), atol=1e-12)


def slow_features(image: np.ndarray) -> list[list[float]]:
    """Patch by patch, of an image (H, W, 3)."""
    height, width = image.shape[:2]
    x = image / 255
    grey = x.mean(2)
    rows = []
    for top in range(0, height - 7, 8):
        for left in range(0, width - 7, 8):
            patch = x[top : top + 8, left : left + 8]
            right = down = both = 0.0
            for i in range(top, top + 8):
                for j in range(left, left + 8):
                    right += abs(grey[i, j + 1] - grey[i, j]) if j + 1 < width else 0
                    down += abs(grey[i + 1, j] - grey[i, j]) if i + 1 < height else 0

            def coarse(i, j):
                return grey[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()

            for i in range(top // 2, top // 2 + 4):
                for j in range(left // 2, left // 2 + 4):
                    both += abs(coarse(i, j + 1) - coarse(i, j)) if j + 1 < width // 2 else 0
                    both += abs(coarse(i + 1, j) - coarse(i, j)) if i + 1 < height // 2 else 0
            mean, spread = patch.mean((0, 1)), patch.std((0, 1))
            rows.append([*mean, *spread, right / 64, down / 64, both / 16])
    return rows


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (19, 30)])
def test_colour_features_are_those_of_a_loop(size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = colour_features(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(found, slow_features(image), atol=1e-9)


def test_an_image_without_a_patch_is_refused():
    with pytest.raises(ValueError, match="at least 8 pixels a side"):
        colour_features(torch.zeros(1, 3, 7, 20, dtype=torch.uint8))


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_logit_features_do_not_know_the_stride(stride):
    """Logits that are the same in cells of 16 pixels; a number added to all is no difference."""
    cells = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    logits = cells.repeat_interleave(16 // stride, 2).repeat_interleave(16 // stride, 3)
    found = logit_features(logits + 5, (32, 48))
    expected = (cells - cells.mean(1, keepdim=True)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    rows = expected.permute(0, 2, 3, 1).flatten(0, 2).numpy()
    np.testing.assert_allclose(found, rows, atol=1e-6)


def write_set(folder: Path, seed: int, sizes: list[tuple[int, int]], low: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number, size in enumerate(sizes):
        image = rng.integers(low, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/{number}.png")
        label = rng.integers(0, 4, size).astype(np.uint8)
        label[:3] = 255
        Image.fromarray(label).save(folder / f"labels/{number}.png")


def evaluate(folder: Path, **others) -> Evaluation:
    inputs = find_inputs(folder / "images", folder / "labels")
    return evaluate_folder(inputs, SEGMENTER, **{"label_space": SPACE} | others)


def test_consistency_is_that_of_all_pixels_at_once(tmp_path):
    write_set(tmp_path, 0, [(16, 24), (24, 16), (9, 9)])
    numbers = evaluate(tmp_path).numbers()
    labels, seen = [], []
    for number in range(3):
        image = np.array(Image.open(tmp_path / f"images/{number}.png")) / 255
        label = np.array(Image.open(tmp_path / f"labels/{number}.png"))
        scores = np.concatenate([np.full((*label.shape, 1), 0.5), image], 2)
        labels.append(label[label != 255])
        seen.append(scores.argmax(2)[label != 255])
    label, found = np.concatenate(labels), np.concatenate(seen)
    iou = jaccard_score(label, found, labels=range(4), average=None)
    recall = [(found[label == k] == k).mean() for k in range(4)]
    assert numbers["images"] == 3
    assert numbers["mean_iou"] == pytest.approx(iou.mean(), abs=1e-6)
    assert numbers["mean_iou_things"] == pytest.approx(iou[3], abs=1e-6)
    assert numbers["mean_iou_stuff"] == pytest.approx(iou[:3].mean(), abs=1e-6)
    assert numbers["accuracy"] == pytest.approx(accuracy_score(label, found), abs=1e-6)
    assert list(numbers["iou"].values()) == pytest.approx([*iou, None], abs=1e-6)
    assert list(numbers["recall"].values()) == pytest.approx([*recall, None], abs=1e-6)
    assert numbers["distance"] == {}


def test_several_segmenters_see_what_each_sees(tmp_path, monkeypatch):
    write_set(tmp_path / "set", 0, [(16, 24), (24, 16), (9, 9), (8, 40)])
    write_set(tmp_path / "target", 1, [(16, 24)] * 2)
    (tmp_path / "set/images/1.png").write_bytes(b"no picture")

    def at_a_loss(x):
        if x.shape[3] == 40:
            raise FloatingPointError("too wide")
        return by_colour(x.flip(1))

    other, target = Segmenter(at_a_loss, normalization=None), tmp_path / "target/images"
    inputs = find_inputs(tmp_path / "set/images", tmp_path / "set/labels")
    expected = [
        evaluate_folder(inputs, SEGMENTER, label_space=SPACE).numbers(),
        evaluate_folder(inputs, other, label_space=SPACE, target=target).numbers(),
    ]
    assert [numbers["images"] for numbers in expected] == [3, 2]
    reads, told = [], []

    def read(path):
        reads.append(path.name)
        return read_image(path)

    monkeypatch.setattr("sgg.evaluation.folder.read_image", read)
    found = evaluate_by_several(
        inputs, [SEGMENTER, other], label_space=SPACE, target=target,
        options=JobOptions(report=told.append),
    )  # fmt: skip
    assert [one.numbers() for one in found] == expected
    assert sorted(reads) == sorted(["0.png", "1.png", "2.png", "3.png", "0.png", "1.png"])
    assert [one.status for one in told].count("failed") == 2
    assert len(told) == 6


def test_logits_of_a_stride_are_enlarged(tmp_path):
    write_set(tmp_path, 0, [(16, 24)])
    Image.new("RGB", (24, 16), (0, 255, 0)).save(tmp_path / "images/0.png")
    Image.fromarray(np.full((16, 24), 2, np.uint8)).save(tmp_path / "labels/0.png")
    coarse = Segmenter(lambda x: by_colour(x)[:, :, ::4, ::4], normalization=None)
    inputs = find_inputs(tmp_path / "images", tmp_path / "labels")
    assert evaluate_folder(inputs, coarse, label_space=SPACE).confusion.mean_iou == 1


def test_the_distance_falls_towards_the_target(tmp_path):
    sizes = [(16, 24)] * 3
    for name, seed, low in (("set", 0, 0), ("nearer", 1, 100), ("target", 2, 120)):
        write_set(tmp_path / name, seed, sizes, low)
    target = tmp_path / "target/images"
    far, near, same = (
        evaluate(tmp_path / name, target=target).distances for name in ("set", "nearer", "target")
    )
    for kind in ("colour", "logits"):
        assert far[kind] > near[kind] > same[kind] >= 0
        assert same[kind] == pytest.approx(0, abs=1e-9)


def test_it_is_the_distance_of_all_patches_at_once(tmp_path):
    write_set(tmp_path / "set", 0, [(16, 24), (24, 32)])
    write_set(tmp_path / "target", 1, [(16, 16), (8, 8)])
    found = evaluate(tmp_path / "set", target=tmp_path / "target/images")
    rows = [
        np.concatenate([slow_features(np.array(Image.open(path))) for path in sorted(paths)])
        for paths in ((tmp_path / f"{name}/images").iterdir() for name in ("set", "target"))
    ]
    (mean, cov), (mean2, cov2) = ((r.mean(0), np.cov(r, rowvar=False)) for r in rows)
    expected = np.square(mean - mean2).sum()
    expected += np.trace(cov) + np.trace(cov2) - 2 * np.real(np.trace(sqrtm(cov @ cov2)))
    assert found.distances["colour"] == pytest.approx(expected, rel=1e-3)
    assert (found.images, found.targets) == (2, 2)


def test_bad_files_are_reported_and_the_rest_counts(tmp_path):
    write_set(tmp_path, 0, [(16, 24)] * 4)
    alone = tmp_path / "alone"
    write_set(alone, 0, [(16, 24)])
    (tmp_path / "images/1.png").write_bytes(b"no image")
    Image.fromarray(np.full((16, 24), 7, np.uint8)).save(tmp_path / "labels/2.png")
    (tmp_path / "labels/3.png").unlink()
    told = []
    found = evaluate(tmp_path, options=JobOptions(report=told.append))
    assert sorted(one.name for one in found.failures) == ["1", "2", "3"]
    assert [one.name for one in told if one.status == "failed"] == ["3", "1", "2"]
    assert found.images == 1
    np.testing.assert_array_equal(found.confusion.counts, evaluate(alone).confusion.counts)


def test_shares_of_processes_pool_to_the_whole(tmp_path, monkeypatch):
    write_set(tmp_path / "set", 0, [(16, 24), (24, 16), (8, 8), (16, 16)])
    write_set(tmp_path / "target", 1, [(16, 24), (24, 16), (8, 8)])
    target = tmp_path / "target/images"
    whole = evaluate(tmp_path / "set", target=target)
    shares = []

    def gather(self, value):
        shares.append(value)
        return list(shares)

    monkeypatch.setattr(Processes, "gather", gather)
    evaluate(tmp_path / "set", target=target, options=JobOptions(processes=Processes(0, 2)))
    pooled = evaluate(
        tmp_path / "set", target=target, options=JobOptions(processes=Processes(1, 2))
    )
    assert [seen.images for (seen,) in shares] == [2, 2]
    assert [seen.targets for (seen,) in shares] == [2, 1]
    np.testing.assert_array_equal(pooled.confusion.counts, whole.confusion.counts)
    assert (pooled.images, pooled.targets) == (4, 3)
    assert pooled.distances == pytest.approx(whole.distances, rel=1e-6)


def test_sets_without_anything_to_measure_are_refused(tmp_path):
    write_set(tmp_path / "set", 0, [(16, 24)])
    write_set(tmp_path / "target", 0, [(16, 24)])
    (tmp_path / "target/images/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="expected at least one usable image, got none"):
        evaluate(tmp_path / "set", target=tmp_path / "target/images")
    (tmp_path / "set/images/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="one usable image with its label, got none"):
        evaluate(tmp_path / "set")


def test_another_number_of_classes_is_refused(tmp_path):
    write_set(tmp_path, 0, [(16, 24)])
    with pytest.raises(ValueError, match="expected 2 classes, as the label space has, got 5"):
        evaluate(tmp_path, label_space=LabelSpace(names=("a", "b")))


def test_the_table_and_the_numbers_say_the_same(tmp_path):
    write_set(tmp_path, 0, [(16, 24)])
    found = evaluate(tmp_path, target=tmp_path / "images")
    numbers = json.loads(json.dumps(found.numbers()))
    table = found.table()
    assert f"| mean IoU | {100 * numbers['mean_iou']:.1f} |" in table
    assert "| IoU none | – |" in table
    assert "| distance to the target, colour | 0 |" in table
