"""What the call in a loop promises on its own; in the loops of others: tests/clients."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patches import SPACE as PATCHES
from patches import Colour, patches
from torch import nn

from seco import (
    ConnectivityCorrector,
    LabelSpace,
    Regions,
    SCCSettings,
    in_loop,
    load_sam,
    refine_in_loop,
    refine_pseudo_labels,
    refine_with_details,
)

SPACE = LabelSpace(names=("road", "sky", "tree", "car"), things=("car",))
SIZE = (12, 16)


def batch(seed: int = 0, count: int = 2):
    """Labels with speckle and ignored pixels, a weight of one number, regions, confidences."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    quarters = 1 + 2 * (rows >= SIZE[0] // 2) + (columns >= SIZE[1] // 2)
    label = np.stack([rng.permutation(4)[quarters - 1] for _ in range(count)])
    label = np.where(rng.random(label.shape) < 0.3, rng.integers(0, 4, label.shape), label)
    label[rng.random(label.shape) < 0.1] = 255
    regions = [Regions.from_label_map(torch.from_numpy(np.where(quarters == 4, 0, quarters)))]
    confidence = torch.from_numpy(rng.random(label.shape, np.float32))
    weight = torch.full(label.shape, 0.7)
    return torch.from_numpy(label), weight, regions * count, confidence


def refine(pseudo_label, pseudo_weight, regions, **options):
    options = {"regions": regions, "label_space": SPACE} | options
    return refine_in_loop(None, pseudo_label, pseudo_weight, **options)


@pytest.mark.parametrize("sure", [False, True])
@pytest.mark.parametrize("outside", ["keep", "ignore"])
def test_it_is_the_plain_call_where_everything_is_free(outside, sure):
    label, weight, regions, confidence = batch()
    options = {"outside": outside, "confidence": confidence if sure else None}
    refined, after = refine(label, weight, regions, **options)
    plain = refine_pseudo_labels(None, label, regions=regions, label_space=SPACE, **options)
    assert torch.equal(refined, plain)
    assert not torch.equal(refined, label)
    assert after is weight


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["keep", "zero", "rescale", "agreement"]),
    st.sampled_from(["keep", "ignore"]),
    st.booleans(),
)
def test_weights_are_as_the_docstring_says(seed, policy, outside, sure):
    label, weight, regions, confidence = batch(seed)
    rng = np.random.default_rng(seed)
    weight *= torch.from_numpy(rng.random(label.shape, np.float32) + 0.1)
    weight[:, :2] = 0
    valid = torch.from_numpy(rng.random(label.shape) < 0.8)
    options = {"outside": outside, "confidence": confidence if sure else None}
    kept = label.clone(), weight.clone()
    refined, after = refine(label, weight, regions, weight=policy, valid=valid, **options)
    assert (label.equal(kept[0]), weight.equal(kept[1])) == (True, True), "changed in place"
    free = valid & (weight > 0)
    found = refine_with_details(
        None, label, regions=regions, label_space=SPACE, valid=free, **options
    )
    assert torch.equal(refined, found.labels)
    expected = weight.double().clone()
    had, has = (
        sum(w for w, own, inside in pixels(weight, now, free) if inside and own != 255)
        for now in (label, refined)
    )
    for place in free.nonzero().tolist():
        b, y, x = place
        now, before = int(refined[b, y, x]), int(label[b, y, x])
        if policy != "keep" and now == 255:
            expected[b, y, x] = 0
        elif policy == "rescale":
            expected[b, y, x] *= had / has
        elif policy == "agreement" and now != before:
            expected[b, y, x] *= float(found.scores[b, y, x])
    torch.testing.assert_close(after.double(), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(after[~free], weight[~free])
    assert torch.equal(refined[~free], label[~free])
    assert after.dtype == weight.dtype


def pixels(*maps):
    return zip(*(one.flatten().tolist() for one in maps), strict=True)


def test_rescaling_keeps_a_loss_that_ignoring_halves():
    label = torch.zeros(1, 2, 8, dtype=torch.int64)
    label[0, 0] = torch.tensor([1, 2] * 4)
    regions = [Regions.from_label_map(torch.tensor([[0] * 8, [1] * 8]))]
    weight, logits = torch.full(label.shape, 0.5), torch.zeros(1, 4, 2, 8)

    def loss(policy):
        # outside the one region, half of the image, labels become ignore
        target, weighed = refine(label, weight, regions, weight=policy, outside="ignore")
        per_pixel = nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")
        return float((per_pixel * weighed).mean())

    full = 0.5 * np.log(4)
    assert loss("keep") == loss("zero") == loss("agreement") == pytest.approx(full / 2)
    assert loss("rescale") == pytest.approx(full)


def test_nothing_left_to_rescale_is_zero():
    label = torch.tensor([[[0, 1, 2, 3]]])
    regions = [Regions.from_label_map(torch.zeros(1, 4, dtype=torch.int64))]
    weight = torch.full(label.shape, 0.5)
    refined, after = refine(label, weight, regions, weight="rescale", outside="ignore")
    assert (refined == 255).all()
    assert torch.equal(after, torch.zeros_like(weight))


@pytest.mark.parametrize(
    "options",
    [
        {"enabled": False},
        {"iteration": 9, "warm_up": 10},
        {"iteration": 11, "interval": 2},
        {"iteration": 12, "warm_up": 10, "interval": 3},
    ],
)
def test_arguments_come_back_where_it_is_not_due(options):
    label, weight, _, _ = batch()
    # No model is looked at: the loop is as without the call.
    refined, after = refine_in_loop(None, label, weight, object(), **options)
    assert refined is label
    assert after is weight


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"weight": "drop"}, ValueError, "weight: expected one of 'keep'"),
        ({"sam": nn.Linear(1, 1)}, TypeError, "sam: expected what seco.load_sam returns"),
        ({"pseudo_weight": torch.ones(1, 2, 3)}, ValueError, "pseudo_weight: expected shape"),
        ({"regions": None}, ValueError, "sam: expected a segmenter where no regions are given"),
        ({"outside": "drop"}, ValueError, "outside: expected one of"),
        ({"keep_fraction": 2}, ValueError, "keep_fraction: expected a number"),
        ({"confidence_threshold": 0.9}, ValueError, "confidence: expected with confidence_thr"),
        ({"label_space": "cityscapes"}, TypeError, "label_space: expected seco.LabelSpace"),
        ({"settings": {}}, TypeError, "settings: expected seco.PSASettings"),
        ({"corrector": object()}, TypeError, "corrector: expected a seco.ConnectivityCorrector"),
    ],
)
def test_mistakes_do_not_wait_for_the_end_of_the_warm_up(wrong, error, message):
    label, weight, regions, _ = batch()
    given = {"target_img": None, "pseudo_label": label, "pseudo_weight": weight,
             "regions": regions} | wrong  # fmt: skip
    with pytest.raises(error, match=message):
        refine_in_loop(**given, iteration=0, warm_up=1000)
    off, _ = refine_in_loop(**given, enabled=False)
    assert off is label


@pytest.mark.parametrize("enabled", ["False", "", 0, None])
def test_what_only_looks_like_a_switch_is_refused(enabled):
    label, weight, regions, _ = batch()
    with pytest.raises(TypeError, match="enabled: expected True or False, got "):
        refine(label, weight, regions, enabled=enabled)
    assert refine(label, weight, regions, enabled=np.bool_(False))[0] is label


@pytest.mark.parametrize(
    "options", [{"enabled": False}, {"iteration": 9, "warm_up": 10}, {"pseudo_weight": 0}]
)
def test_regions_are_not_asked_for_where_none_are_needed(options):
    label, weight, *_ = batch()
    options = {"pseudo_label": label, "pseudo_weight": weight} | options
    if not isinstance(options["pseudo_weight"], torch.Tensor):
        options["pseudo_weight"] = torch.zeros_like(weight)

    def regions():
        raise AssertionError

    refined, _ = refine(regions=regions, **options)
    assert refined is label


def test_regions_may_be_a_function():
    label, weight, regions, _ = batch()
    asked = []

    def when_due():
        asked.append(True)
        return regions

    refined, _ = refine(label, weight, when_due)
    assert torch.equal(refined, refine(label, weight, regions)[0])
    assert not torch.equal(refined, label)
    assert asked == [True]
    with pytest.raises(ValueError, match="regions: expected one per image, 2, got 1"):
        refine(label, weight, lambda: regions[:1])


@pytest.mark.parametrize(
    ("of_sam", "of_batch", "expected"),
    [
        ("cpu", "cuda:1", True),
        ("cpu", "cpu", False),
        ("cuda", "cuda", False),
        ("cuda", "cpu", False),
    ],
)
def test_only_a_sam_on_the_cpu_beside_a_batch_on_a_gpu_is_misplaced(of_sam, of_batch, expected):
    devices = torch.device(of_sam), torch.device(of_batch)
    assert in_loop._is_misplaced(devices[0], beside=devices[1]) is expected


def test_of_a_misplaced_sam_is_told_once(monkeypatch):
    label, weight, regions, _ = batch()
    img = torch.zeros(2, 3, *SIZE)
    in_loop._warn_once.cache_clear()

    def call():
        return refine_in_loop(img, label, weight, load_sam("tiny"), regions=regions)

    call()  # with warnings as errors
    monkeypatch.setattr(in_loop, "_is_misplaced", lambda sam, *, beside: sam == beside)
    with pytest.warns(UserWarning, match="^sam: on the CPU while the batch is on") as told:
        call()
    assert told[0].filename == __file__
    call()  # the filters have changed, and Python has forgotten what it warned of
    in_loop._warn_once.cache_clear()


def test_every_nth_iteration_from_the_warm_up_on():
    label, weight, regions, _ = batch()
    due = [
        refine(label, weight, regions, iteration=i, warm_up=3, interval=2)[0] is not label
        for i in range(8)
    ]
    assert due == [False, False, False, True, False, True, False, True]


def test_weight_of_zero_everywhere_gives_the_arguments_back():
    label, weight, regions, _ = batch()
    weight.zero_()
    refined, after = refine(label, weight, regions)
    assert refined is label
    assert after is weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("policy", ["keep", "zero", "rescale", "agreement"])
def test_weights_keep_their_dtype(dtype, policy):
    label, weight, regions, _ = batch()
    after = refine(label, weight.to(dtype), regions, weight=policy)[1]
    assert after.dtype == dtype
    assert not after.requires_grad


def test_padding_of_a_mask_is_not_valid():
    label, weight, regions, _ = batch()
    mask = torch.ones(2, 1, *SIZE, dtype=torch.uint8)
    mask[..., :3], mask[..., -3:] = 0, 255  # margins; what mmseg pads label maps with
    with_mask = refine(label, weight, regions, valid=mask)[0]
    assert torch.equal(with_mask, refine(label, weight, regions, valid=mask == 1)[0])
    assert torch.equal(with_mask, refine(label, weight, regions, valid=mask.numpy())[0])
    assert torch.equal(with_mask[..., -3:], label[..., -3:])
    assert not torch.equal(with_mask, refine(label, weight, regions)[0])


def test_no_global_randomness_and_no_autocast():
    label, weight, regions, confidence = batch()
    options = {"weight": "agreement", "confidence": confidence}
    expected = refine(label, weight, regions, **options)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with torch.autocast("cpu", torch.float16):
        found = refine(label, weight, regions, **options)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")
def test_corrected_in_the_loop():
    quick = SCCSettings(
        iterations=60, batch_size=32, per_image=16, learning_rate=0.05, tau_cr=0.55,
        noise_adjusted=False,
    )  # fmt: skip
    samples = [patches(seed, wrong=0.2)[:2] for seed in range(12)]
    corrector = ConnectivityCorrector(PATCHES, Colour(), settings=quick).fit(samples)
    img, wrong, truth = patches(40, wrong=0.3)
    number = np.kron(np.arange(1, 25).reshape(4, 6), np.ones((8, 8), int))
    mean, std = torch.full((1, 3, 1, 1), 100.0), torch.full((1, 3, 1, 1), 50.0)
    target_img = (torch.from_numpy(img).permute(2, 0, 1)[None] - mean) / std
    label = torch.from_numpy(wrong.astype(np.int64))[None]
    weight = torch.ones(label.shape)
    weight[:, :8] = 0
    state = torch.get_rng_state()
    refined, after = refine_in_loop(
        target_img, label, weight, normalization=(mean, std), label_space=PATCHES,
        regions=[Regions.from_label_map(torch.from_numpy(number))], corrector=corrector,
        weight="zero",
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(refined[:, :8], label[:, :8])
    known = torch.from_numpy(truth != 255)[None]
    known[:, :8] = False
    right = [
        (now == torch.from_numpy(truth)[None])[known].float().mean() for now in (label, refined)
    ]
    assert right[0] < 0.8
    assert right[1] > 0.95
    assert torch.equal(after[:, 8:] == 0, refined[:, 8:] == 255)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sam": nn.Linear(1, 1)}, TypeError, "sam: expected what seco.load_sam returns"),
        ({"weight": "drop"}, ValueError, "weight: expected one of 'keep'"),
        ({"warm_up": 5}, ValueError, "iteration: expected a number with warm_up"),
        ({"interval": 0}, ValueError, "interval: expected an integer >= 1"),
        ({"iteration": -1}, ValueError, "iteration: expected an integer >= 0"),
        ({"pseudo_label": torch.zeros(1, 2, 2)}, TypeError, "pseudo_label: expected an integer"),
        ({"pseudo_label": torch.zeros(2, 2).byte()}, TypeError, "pseudo_label: expected an int64"),
        ({"pseudo_weight": torch.ones(1, 2, 3)}, ValueError, "pseudo_weight: expected shape"),
        ({"pseudo_weight": torch.ones(1, 2, 2).int()}, TypeError, "pseudo_weight: expected a flo"),
        ({"pseudo_weight": torch.full((1, 2, 2), -1.0)}, ValueError, "pseudo_weight: expected fin"),
        ({"pseudo_weight": torch.full((1, 2, 2), torch.nan)}, ValueError, "pseudo_weight: expecte"),
        ({"pseudo_weight": torch.full((1, 2, 2), torch.inf)}, ValueError, "pseudo_weight: expecte"),
        ({"valid": torch.ones(1, 2, 2)}, TypeError, "valid: expected bool or 0 and 1"),
        ({"valid": torch.ones(1, 2, 3).bool()}, ValueError, "valid: expected shape"),
        ({"regions": None}, ValueError, "sam: expected a segmenter where no regions"),
        ({"regions": lambda: None}, ValueError, "sam: expected a segmenter where no regions"),
        ({"regions": []}, ValueError, "regions: expected one per image, 1, got 0"),
        ({"regions": 3}, TypeError, "regions: expected seco.Regions, got int 3"),
        (
            {"pseudo_label": torch.full((1, 2, 2), -100)},
            ValueError,
            r"^pseudo_label: expected class ids",
        ),
        ({"target_img": torch.ones(1, 3, 2, 9)}, ValueError, "pseudo_label: .* as target_img has"),
        ({"target_img": torch.ones(1, 3, 2, 2), "sam": object()}, TypeError, "^sam: expected"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    given = {
        "target_img": None,
        "pseudo_label": torch.zeros(1, 2, 2, dtype=torch.int64),
        "pseudo_weight": torch.ones(1, 2, 2),
        "regions": [Regions.from_label_map(torch.ones(2, 2, dtype=torch.int64))],
    }
    with pytest.raises(error, match=message):
        refine_in_loop(**(given | change))
