"""In the loops of DAFormer, HRDA, MIC and PiPa, as stand-ins of our own make them."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from psa_oracle import ExactSegmenter
from self_training import IGNORE, KINDS, MEAN, STD, SelfTraining
from torch import nn

from seco import (
    CITYSCAPES,
    ProposalSettings,
    PSASettings,
    Regions,
    in_loop,
    load_sam,
    refine_in_loop,
    regions_of,
    to_region_map,
)
from seco.demo import STREETS, street_scene
from seco.sam.inference import encode

SIZE = (24, 32)
STEPS = 2
SETTINGS = PSASettings(proposals=ProposalSettings(points_per_side=6))


class CountingSegmenter(ExactSegmenter):
    """Sees segments in images that were normalised and are whole numbers up to rounding."""

    def encode(self, images):
        assert images.dtype == torch.float32
        return super().encode(images.round())


def segments(seed):
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, SIZE, (6, 2))
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((ys[..., None] - seeds[:, 0]) ** 2 + (xs[..., None] - seeds[:, 1]) ** 2).argmin(2)


def batch(kind, step):
    """Two pairs of images; segments in the red channel, noise in the others."""
    rng = np.random.default_rng(step)
    maps = [np.stack([segments(10 * step + 2 * i + side) for i in range(2)]) for side in (0, 1)]
    images = []
    for of_side in maps:
        pixels = rng.integers(0, 256, (2, *SIZE, 3)).astype(np.float32)
        pixels[..., 0] = of_side
        normalised = (pixels - np.float32(MEAN)) / np.float32(STD)
        images.append(torch.from_numpy(normalised).permute(0, 3, 1, 2).contiguous())
    truth = torch.from_numpy(rng.permutation(19)[maps[0]])[:, None]
    truth[torch.from_numpy(rng.random(truth.shape) < 0.05)] = IGNORE
    cut = [to_region_map(Regions.from_label_map(torch.from_numpy(m + 1))) for m in maps[1]]
    found = {
        "img": images[0],
        "gt_semantic_seg": truth,
        "target_img": images[1],
        "target_img_metas": [{"regions": m, "regions_table": table} for m, table in cut],
    }
    if kind.with_valid:
        found["valid_pseudo_mask"] = torch.ones(2, 1, *SIZE, dtype=torch.uint8)
        found["valid_pseudo_mask"][:, :, :3] = 0
    return found


def train(kind, seam, **change):
    loop = SelfTraining(kind, seam)
    for name, value in change.items():
        setattr(loop, name, value)
    losses = [loop.train_step(batch(kind, step)) for step in range(STEPS)]
    return losses, loop


def call(seen, **options):
    """The call as it stands in a loop, given what the loop has there."""
    _, target, label, weight, _, valid, means, stds, _ = seen
    options = {"normalization": (means, stds), "valid": valid, "settings": SETTINGS} | options
    return refine_in_loop(target, label, weight, **options)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def same(first, second):
    states = [loop.state_dict() for _, loop in (first, second)]
    return first[0] == second[0] and all(
        torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True)
    )


def test_switched_off_the_losses_are_those_without_the_call(kind):
    def seam(*seen):
        label, weight = call(seen, sam=CountingSegmenter(), enabled=False)
        assert label is seen[2]
        assert weight is seen[3]
        return label, weight

    without, switched_off = train(kind, None), train(kind, seam)
    assert same(without, switched_off)
    assert ("masked" in without[0][0]) == kind.masked


@pytest.mark.parametrize("how", ["sam", "regions"])
def test_the_call_leaves_everything_else_alone(kind, how):
    """Refine, throw the result away: losses and weights to the last bit as without the call."""
    refined = []

    def seam(*seen):
        given = [item.clone() for item in seen[1:4]]
        with_what = (
            {"sam": CountingSegmenter()} if how == "sam" else {"regions": regions_of(seen[-1])}
        )
        label, _ = call(seen, weight="agreement", confidence=seen[4], **with_what)
        refined.append(not torch.equal(label, seen[2]))
        assert all(map(torch.equal, given, seen[1:4]))
        return seen[2], seen[3]

    assert same(train(kind, None), train(kind, seam))
    assert refined == [True] * STEPS


@pytest.mark.parametrize("weight", ["keep", "zero", "rescale", "agreement"])
@pytest.mark.parametrize("outside", ["keep", "ignore"])
def test_what_the_loop_gets_is_what_it_expects(kind, weight, outside):
    sam, labels = CountingSegmenter(), []

    def seam(*seen):
        loop, _, label, before, _, valid, *_ = seen
        refined, after = call(seen, sam=sam, weight=weight, outside=outside)
        assert (refined.dtype, refined.shape) == (torch.int64, label.shape)
        assert (after.dtype, after.shape) == (torch.float32, label.shape)
        left_alone = before == 0
        if valid is not None:
            assert torch.equal(left_alone, valid[:, 0] == 0)
        else:
            top, bottom = loop.kind.margins
            assert left_alone[:, :top].all()
            assert left_alone[:, -bottom:].all()
        assert 0 < left_alone.float().mean() < 0.5
        assert torch.equal(refined[left_alone], label[left_alone])
        assert not after[left_alone].any()
        assert set(refined.unique().tolist()) <= {*label.unique().tolist(), IGNORE}
        labels.append((label, refined))
        return refined, after

    losses, _ = train(kind, seam)
    assert all(math.isfinite(value) for step in losses for value in step.values())
    assert losses[0]["source"] == train(kind, None)[0][0]["source"]
    assert losses[0]["mixed"] != train(kind, None)[0][0]["mixed"]
    assert sam.encoded == 2 * STEPS
    assert not any(torch.equal(before, after) for before, after in labels)


def test_no_sam_while_no_pixel_is_sure_enough(kind):
    sam = CountingSegmenter()
    sure_of_nothing = type(kind)(**(vars(kind) | {"threshold": 1.1}))
    losses = train(sure_of_nothing, lambda *seen: call(seen, sam=sam))
    assert same(losses, train(sure_of_nothing, None))
    assert sam.encoded == 0


def test_an_image_without_a_free_pixel_is_not_shown_to_sam():
    sam = CountingSegmenter()
    given = batch(KINDS["hrda"], 0)
    valid = given["valid_pseudo_mask"]
    valid[1] = 0
    label = torch.from_numpy(np.random.default_rng(0).integers(0, 19, (2, *SIZE)))
    weight = torch.ones(label.shape) * valid[:, 0]
    refined, _ = refine_in_loop(
        given["target_img"], label, weight, sam, normalization=(MEAN, STD), settings=SETTINGS
    )
    assert sam.encoded == 1
    assert torch.equal(refined[1], label[1])


def test_warm_up_and_interval_by_the_loop_s_own_counter(kind):
    sam = CountingSegmenter()

    def seam(*seen):
        return call(seen, sam=sam, iteration=seen[0].local_iter, warm_up=1, interval=2)

    losses, _ = train(kind, seam)
    assert losses[0] == train(kind, None)[0][0]
    assert sam.encoded == 2


def test_nothing_of_sam_is_registered_moved_or_trained():
    kind, sam = KINDS["daformer"], load_sam("tiny")
    before = {name: value.clone() for name, value in sam.model.state_dict().items()}

    def seam(*seen):
        assert seen[0].training
        return call(seen, sam=seen[0].sam)

    _, loop = train(kind, seam, sam=sam)
    _, plain = train(kind, None)
    assert loop.sam is sam
    assert loop.state_dict().keys() == plain.state_dict().keys()
    assert len(list(loop.parameters())) == len(list(plain.parameters()))
    loop.train().double()
    assert not sam.model.training
    for name, value in sam.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in sam.model.parameters())


def test_a_bare_sam_is_refused():
    loop = SelfTraining(KINDS["daformer"], lambda *seen: call(seen, sam=seen[0].sam))
    loop.sam = load_sam("tiny").model
    assert isinstance(loop.sam, nn.Module)
    with pytest.raises(TypeError, match="wrap it once"):
        loop.train_step(batch(loop.kind, 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_the_loop_stays_outside(dtype):
    """SAM sees a scene as it does without autocast, to the last bit."""
    scene = street_scene(0, size=(96, 128))
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    target_img = (torch.from_numpy(scene.image).permute(2, 0, 1)[None] - mean) / std
    label = torch.from_numpy(scene.label).long()[None]
    label[:, ::3, ::3] = STREETS.id_of("road")
    weight, sam = torch.full(label.shape, 0.5), load_sam("tiny")
    options = {"normalization": (mean, std), "weight": "agreement", "settings": SETTINGS}
    options |= {"sam": sam, "label_space": STREETS}
    expected = refine_in_loop(target_img, label, weight, **options)
    with torch.autocast("cpu", dtype):
        (inside,) = encode(target_img * std + mean, sam)
        found = refine_in_loop(target_img, label, weight, **options)
    assert len(expected[1].unique()) > 3, "SAM has had its say"
    assert all(map(torch.equal, expected, found))
    assert found[1].dtype == torch.float32
    (outside,) = encode(target_img * std + mean, sam)
    assert torch.equal(inside.features[0], outside.features[0])


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("of_batch", "of_sam"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")]
)
def test_sam_on_another_device(of_batch, of_sam):
    given = batch(KINDS["hrda"], 3)
    rng = np.random.default_rng(3)
    label = torch.from_numpy(rng.integers(0, 19, (2, *SIZE)))
    label[:, :, :16] = CITYSCAPES.id_of("car")
    weight = torch.full(label.shape, 0.5)
    options = {"normalization": (MEAN, STD), "weight": "agreement", "settings": SETTINGS}
    expected, _ = refine_in_loop(given["target_img"], label, weight, load_sam("tiny"), **options)
    placed = [item.to(of_batch) for item in (given["target_img"], label, weight)]
    valid = given["valid_pseudo_mask"].fill_(1)
    sam = load_sam("tiny", device=of_sam)
    in_loop._warn_once.cache_clear()
    told = pytest.warns(UserWarning, match="sam: on the CPU")
    with told if of_sam == "cpu" else nullcontext(), torch.autocast(of_batch, torch.bfloat16):
        found, after = refine_in_loop(*placed, sam, valid=valid, **options)
    assert found.device == after.device == placed[1].device
    assert (found.cpu() == expected).float().mean() > 0.98
