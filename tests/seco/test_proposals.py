"""Segment everything: exact segments with an exact segmenter, the official masks with SAM."""

from __future__ import annotations

import sys
import typing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from psa_oracle import ExactSegmenter

import seco.sam.inference
import seco.sam.proposals
from seco import (
    LabelSpace,
    MaskLogits,
    ProposalSettings,
    PSASettings,
    Regions,
    load_sam,
    propose_regions,
    refine_pseudo_labels,
)
from seco.common.arrays import Array
from seco.demo import street_scene
from seco.sam.crop_layers import windows_of_layer
from seco.sam.proposals import point_grid


def mosaic(seed=0, size=(30, 40)):
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, size, (6, 2))
    ys, xs = np.mgrid[: size[0], : size[1]]
    segments = ((ys[..., None] - seeds[:, 0]) ** 2 + (xs[..., None] - seeds[:, 1]) ** 2).argmin(2)
    return segments, np.repeat(segments[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("skip", [True, False])
def test_finds_every_segment_once(skip):
    segments, image = mosaic()
    sam = ExactSegmenter()
    options = ProposalSettings(points_per_side=16, skip_covered=skip)
    regions = propose_regions(image, sam, settings=options)
    found = {tuple(mask.flatten().tolist()) for mask in regions.masks()}
    assert len(found) == len(regions)
    assert found == {tuple((segments == value).ravel().tolist()) for value in np.unique(segments)}
    assert sam.prompts == ([64] * 4 if not skip else sam.prompts)
    assert sum(sam.prompts) <= (40 if skip else 256)


def test_one_point_in_a_mask_of_everything_does_not_hide_the_rest():
    segments, image = mosaic()

    class Whole(ExactSegmenter):
        def decode(self, embedding, **prompts):
            answer = super().decode(embedding, **prompts)
            logits = answer.logits.clone()
            logits[:, 0] = 10.0
            return MaskLogits(logits, answer.scores, answer.extent)

    found = propose_regions(image, Whole(), settings=ProposalSettings(points_per_side=16))
    expected = {tuple((segments == v).ravel().tolist()) for v in np.unique(segments)}
    assert expected <= {tuple(mask.flatten().tolist()) for mask in found.masks()}


def test_passes_are_coarse_to_fine():
    _, passes = point_grid(8, (8, 8))
    assert torch.bincount(passes).tolist() == [4, 12, 48]
    assert point_grid(1, (8, 8))[1].tolist() == [1]


def test_grid_is_the_official_one():
    amg = pytest.importorskip("segment_anything.utils.amg")
    expected = amg.build_point_grid(7) * np.array([40, 30])
    grid, _ = point_grid(7, (30, 40))
    np.testing.assert_allclose(grid.numpy(), expected, rtol=1e-6)


def test_batch_gives_a_list():
    images = torch.stack([torch.from_numpy(mosaic(seed)[1]).permute(2, 0, 1) for seed in (1, 2)])
    settings = ProposalSettings(points_per_side=8)
    together = propose_regions(images, ExactSegmenter(), settings=settings)
    assert isinstance(together, list)
    for image, regions in zip(images, together, strict=True):
        alone = propose_regions(image, ExactSegmenter(), settings=settings)
        assert torch.equal(alone.masks(), regions.masks())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.get_overloads is newer")
def test_the_type_of_an_array_decides_what_comes_back():
    found = [typing.get_type_hints(overload) for overload in typing.get_overloads(propose_regions)]
    returned = {hints["img"]: hints["return"] for hints in found}
    assert returned == {Array: Regions, torch.Tensor: Regions | list[Regions]}


class Rated(ExactSegmenter):
    """Rates the segment of value v with v / 10 and softens its mask's logits likewise."""

    def decode(self, embedding, **prompts):
        answer = super().decode(embedding, **prompts)
        value = torch.stack(
            [embedding.features[mask > 0].float().mean() for mask in answer.logits[:, 0]]
        )
        scores = (value / 10)[:, None].expand_as(answer.scores)
        return MaskLogits(answer.logits, scores, answer.extent)


@pytest.mark.parametrize("threshold", [0.0, 0.15, 0.35, 0.9])
def test_rating_decides(threshold):
    segments, image = mosaic(3)
    settings = ProposalSettings(points_per_side=16, pred_iou_thresh=threshold)
    regions = propose_regions(image, Rated(), settings=settings)
    kept = {int(segments[mask.numpy()][0]) for mask in regions.masks()}
    assert kept == {v for v in np.unique(segments) if np.float32(v) / 10 >= threshold}


def test_small_and_unstable_masks_are_dropped():
    segments, image = mosaic(4)
    areas = np.bincount(segments.ravel())
    area = int(np.median(areas))
    settings = ProposalSettings(points_per_side=16, min_mask_region_area=area)
    regions = propose_regions(image, ExactSegmenter(), settings=settings)
    assert sorted(regions.areas().tolist()) == sorted(a for a in areas if a >= area)
    # Logits are +-10: an offset beyond them leaves nothing inside.
    settings = ProposalSettings(points_per_side=8, stability_score_offset=11.0)
    assert len(propose_regions(image, ExactSegmenter(), settings=settings)) == 0


@pytest.mark.parametrize("layers", [0, 1])
def test_agrees_with_the_official_generator(layers):
    amg = pytest.importorskip("segment_anything")
    sam = load_sam("tiny")
    image = street_scene(90_000, size=(192, 256)).image
    thresholds = {
        "pred_iou_thresh": 0.6,
        "stability_score_thresh": 0.8,
        "crop_n_layers": layers,
        "crop_n_points_downscale_factor": 2,
    }
    generator = amg.SamAutomaticMaskGenerator(sam.model, points_per_side=8, **thresholds)
    official = np.stack([item["segmentation"] for item in generator.generate(image)])
    settings = ProposalSettings(points_per_side=8, skip_covered=False, **thresholds)
    ours = propose_regions(image, sam, settings=settings).masks().numpy()
    shared = (official[:, None] & ours[None]).sum(axis=(2, 3))
    union = (official[:, None] | ours[None]).sum(axis=(2, 3))
    best = (shared / union).max(axis=1)
    # Judging at low resolution may decide borderline masks differently, no more than that.
    assert len(official) >= 3
    assert (best > 0.9).mean() >= 0.75
    assert abs(len(ours) - len(official)) <= 0.25 * len(official) + 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points_per_side", 0),
        ("points_per_batch", 0),
        ("points_per_side", 2.5),
        ("box_nms_thresh", 1.5),
        ("stability_score_thresh", float("nan")),
        ("min_mask_region_area", -1),
        ("crop_n_layers", -1),
        ("crop_overlap_ratio", 1.5),
        ("crop_n_points_downscale_factor", 0),
        ("crop_nms_thresh", -0.1),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected .*, got"):
        ProposalSettings(**{name: value})


def test_settings_of_another_kind():
    with pytest.raises(TypeError, match="settings: expected ProposalSettings or None, got PSA"):
        propose_regions(mosaic()[1], ExactSegmenter(), settings=PSASettings())


def test_a_segmenter_may_bring_its_own_settings():
    _, image = mosaic()
    sam = ExactSegmenter()
    sam.proposal_settings = ProposalSettings(points_per_side=2, skip_covered=False)
    propose_regions(image, sam)
    assert sam.prompts == [4]
    sam.proposal_settings = {"points_per_side": 2}
    with pytest.raises(TypeError, match=r"sam\.proposal_settings: expected .*got dict"):
        propose_regions(image, sam)
    assert load_sam("tiny").proposal_settings != ProposalSettings()


@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    layer=st.integers(0, 3),
    ratio=st.floats(0, 0.9),
)
def test_windows_are_the_official_ones_moved_inwards(size, layer, ratio):
    amg = pytest.importorskip("segment_anything.utils.amg")
    windows = windows_of_layer(size, layer, overlap_ratio=ratio)
    boxes, layers = amg.generate_crop_boxes(size, layer, ratio)
    official = [box for box, number in zip(boxes, layers, strict=True) if number == layer]
    width, height = (official[0][2] - official[0][0], official[0][3] - official[0][1])
    expected = {(min(y, size[0] - height), min(x, size[1] - width)) for x, y, _, _ in official}
    assert {(window.top, window.left) for window in windows} == expected
    assert {(window.height, window.width) for window in windows} == {(height, width)}
    seen = np.zeros(size, bool)
    for window in windows:
        seen[window.rows, window.columns] = True
    assert seen.all()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_closer_look_finds_no_parts_and_nothing_twice(layers):
    segments, image = mosaic(5, size=(64, 80))
    sam = ExactSegmenter()
    options = ProposalSettings(points_per_side=16, crop_n_layers=layers)
    regions = propose_regions(image, sam, settings=options)
    assert sam.encoded == 1 + 4 + 16 * (layers - 1)
    found = [tuple(mask.flatten().tolist()) for mask in regions.masks()]
    assert len(set(found)) == len(found)
    assert set(found) == {
        tuple((segments == value).ravel().tolist()) for value in np.unique(segments)
    }


@pytest.mark.parametrize(
    ("bound", "passes"), [(1, [1] * 21), (3, [1, 3, 1, *[3] * 5, 1]), (99, [1, 4, 16])]
)
def test_windows_of_a_layer_are_encoded_together_as_many_as_are_allowed(bound, passes, monkeypatch):
    """As on a GPU; what is found is what is found one by one."""
    _, image = mosaic(5, size=(64, 80))
    options = ProposalSettings(points_per_side=16, crop_n_layers=2)
    expected = propose_regions(image, ExactSegmenter(), settings=options)
    monkeypatch.setattr(seco.sam.inference, "images_at_once", lambda _, most: most)
    monkeypatch.setattr(seco.sam.proposals, "images_at_once", lambda _, most: most)

    class Counting(ExactSegmenter):
        def encode(self, images):
            seen.append(len(images))
            return super().encode(images)

    seen: list[int] = []
    found = propose_regions(image, Counting(), settings=options, images_per_batch=bound)
    assert seen == passes
    assert torch.equal(found.masks(), expected.masks())
    assert torch.equal(found.scores, expected.scores)


class BlindToSpecks(ExactSegmenter):
    """Rates what is less than a five hundredth of what it looks at with 0."""

    def decode(self, embedding, **prompts):
        answer = super().decode(embedding, **prompts)
        share = (answer.logits[:, :1] > 0).float().mean(dim=(2, 3))
        scores = torch.where(share < 1 / 500, 0.0, answer.scores)
        return MaskLogits(answer.logits, scores, answer.extent)


def test_a_closer_look_sees_what_is_too_small_in_the_whole_image():
    image = np.zeros((96, 96, 3), np.uint8)
    image[12:15, 16:19] = 1
    image[70:90, 40:60] = 2
    speck, block = (tuple((image[..., 0] == value).ravel().tolist()) for value in (1, 2))
    found = {}
    for layers in (0, 1):
        settings = ProposalSettings(points_per_side=32, crop_n_layers=layers)
        regions = propose_regions(image, BlindToSpecks(), settings=settings)
        found[layers] = {tuple(mask.flatten().tolist()) for mask in regions.masks()}
    assert block in found[0]
    assert speck not in found[0]
    assert {speck, block} <= found[1]


def test_fewer_points_in_deeper_layers():
    sam = ExactSegmenter()
    settings = ProposalSettings(
        points_per_side=9,
        crop_n_layers=2,
        crop_n_points_downscale_factor=3,
        crop_overlap_ratio=0.0,
        skip_covered=False,
        points_per_batch=100,
    )
    propose_regions(np.zeros((60, 60, 3), np.uint8), sam, settings=settings)
    assert sam.prompts == [81] + [9] * 4 + [1] * 16


def test_a_batch_looks_closer_at_each_of_its_images():
    images = torch.stack([torch.from_numpy(mosaic(seed)[1]).permute(2, 0, 1) for seed in (1, 2)])
    settings = ProposalSettings(points_per_side=8, crop_n_layers=1)
    together = propose_regions(images, ExactSegmenter(), settings=settings)
    for image, regions in zip(images, together, strict=True):
        alone = propose_regions(image, ExactSegmenter(), settings=settings)
        assert torch.equal(alone.masks(), regions.masks())


def test_refining_looks_closer_where_its_settings_say_so():
    segments, image = mosaic(6)
    sam = ExactSegmenter()
    label_space = LabelSpace(names=tuple("abcdef"))
    for layers, encoded in ((0, 1), (1, 5)):
        sam.encoded = 0
        settings = PSASettings(proposals=ProposalSettings(points_per_side=4, crop_n_layers=layers))
        refine_pseudo_labels(image, segments, sam, label_space=label_space, settings=settings)
        assert sam.encoded == encoded


def test_of_a_mask_seen_twice_the_closer_look_stays():
    image = np.zeros((96, 96, 3), np.uint8)
    image[14:34, 16:36] = 1

    class Blurred(ExactSegmenter):
        """Adds a rim of a pixel to what it sees in more than 80 x 80 pixels."""

        def decode(self, embedding, **prompts):
            answer = super().decode(embedding, **prompts)
            if min(embedding.size) <= 80:
                return answer
            wider = torch.nn.functional.max_pool2d(answer.logits, 3, stride=1, padding=1)
            return MaskLogits(wider, answer.scores, answer.extent)

    for layers, side in ((0, 22), (1, 20)):
        settings = ProposalSettings(points_per_side=16, crop_n_layers=layers)
        areas = propose_regions(image, Blurred(), settings=settings).areas()
        assert [area for area in areas.tolist() if area < 1000] == [side * side]
