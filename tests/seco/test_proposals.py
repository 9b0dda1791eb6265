"""Segment everything: exact segments with an exact segmenter, the official masks with SAM."""

from __future__ import annotations

import sys
import typing

import numpy as np
import pytest
import torch
from psa_oracle import ExactSegmenter

from seco import MaskLogits, ProposalSettings, PSASettings, Regions, load_sam, propose_regions
from seco.common.arrays import Array
from seco.demo import street_scene
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
    _, passes = point_grid(8, (8, 8), torch.device("cpu"))
    assert torch.bincount(passes).tolist() == [4, 12, 48]
    assert point_grid(1, (8, 8), torch.device("cpu"))[1].tolist() == [1]


def test_grid_is_the_official_one():
    amg = pytest.importorskip("segment_anything.utils.amg")
    expected = amg.build_point_grid(7) * np.array([40, 30])
    grid, _ = point_grid(7, (30, 40), torch.device("cpu"))
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


def test_agrees_with_the_official_generator():
    amg = pytest.importorskip("segment_anything")
    sam = load_sam("tiny")
    image = street_scene(90_000, size=(192, 256)).image
    thresholds = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.8}
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
