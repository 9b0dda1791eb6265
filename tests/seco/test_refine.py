"""The public call: what it promises whatever the segmenter, with one that is exact."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from psa_oracle import ExactSegmenter

import seco.aggregation.aggregating
from seco import (
    ADE20K,
    CITYSCAPES,
    PAPER,
    LabelSpace,
    ProposalSettings,
    PSASettings,
    Regions,
    propose_regions,
    refine_pseudo_labels,
    refine_with_details,
)

SPACE = LabelSpace(names=("road", "sky", "tree", "car", "pole"), things=("car", "pole"))
# One point per four pixels finds every segment of the small scenes here.
DENSE = ProposalSettings(points_per_side=12)
FAST = PSASettings(proposals=DENSE)


def scene(seed: int, size: tuple[int, int] = (24, 32), classes: int = 5, noise: float = 0.2):
    """A mosaic (its segments in the image's red channel), a speckled label, confidences."""
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, size, (7, 2))
    ys, xs = np.mgrid[: size[0], : size[1]]
    segments = ((ys[..., None] - seeds[:, 0]) ** 2 + (xs[..., None] - seeds[:, 1]) ** 2).argmin(2)
    label = rng.integers(0, classes, len(seeds))[segments]
    label = np.where(rng.random(size) < noise, rng.integers(0, classes, size), label)
    label[rng.random(size) < 0.05] = 255
    confidence = rng.random(size).astype(np.float32)
    return np.repeat(segments[..., None], 3, 2).astype(np.uint8), label, confidence


def batch(seeds, **options):
    images, labels, confidences = zip(*(scene(s, **options) for s in seeds), strict=True)
    return (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack(labels)),
        torch.from_numpy(np.stack(confidences)),
    )


def refine(img, pl, sam=None, **options):
    options = {"label_space": SPACE, "settings": FAST} | options
    return refine_pseudo_labels(img, pl, ExactSegmenter() if sam is None else sam, **options)


def test_speckle_becomes_regions():
    img, pl, _ = scene(0, noise=0.3)
    refined = refine(img, pl)
    for segment in np.unique(img[..., 0]):
        inside = refined[img[..., 0] == segment]
        assert len(np.unique(inside)) == 1
    assert (refined != pl).mean() > 0.2


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_arrays_keep_kind_shape_and_dtype(dtype):
    img, pl, confidence = scene(1)
    before = pl.astype(dtype)
    kept = before.copy()
    refined = refine(img, before, confidence=confidence)
    assert isinstance(refined, np.ndarray)
    assert (refined.dtype, refined.shape) == (dtype, pl.shape)
    np.testing.assert_array_equal(before, kept, "the input was written to")
    np.testing.assert_array_equal(refined, refine(img, pl, confidence=confidence))


def test_tensors_keep_kind_shape_and_dtype():
    img, pl, _ = batch([1])
    for image, label in ((img, pl), (img[0], pl[0]), (img.float() / 255, pl), (img, pl.byte())):
        refined = refine(image, label)
        assert (refined.dtype, refined.shape) == (label.dtype, label.shape)
        assert torch.equal(refined.long().reshape(pl.shape), refine(img, pl))


def test_normalised_floats_are_the_same_image():
    img, pl, _ = batch([2, 3])
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    normalised = (img - mean[:, None, None]) / std[:, None, None]

    class Rounding(ExactSegmenter):
        def encode(self, images):
            return super().encode(images.round())

    refined = refine(normalised, pl, Rounding(), normalization=(mean.tolist(), std.tolist()))
    assert torch.equal(refined, refine(img, pl))


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from(["psa", "alignment", "prompts"]),
    st.sampled_from([None, 1, 2, 5]),
)
def test_batch_equals_single_calls(seed, with_confidence, method, at_once):
    img, pl, confidence = batch([seed, seed + 1, seed + 2], size=(9, 14))
    options = {"settings": PSASettings(method=method, proposals=DENSE)}
    with pytest.MonkeyPatch.context() as patch:
        if at_once is not None:  # as on a GPU
            patch.setattr(seco.aggregation.aggregating, "images_at_once", lambda *_: at_once)
        together = refine_with_details(
            img,
            pl,
            ExactSegmenter(),
            label_space=SPACE,
            confidence=confidence if with_confidence else None,
            **options,
        )
    for index in range(3):
        alone = refine_with_details(
            img[index],
            pl[index],
            ExactSegmenter(),
            label_space=SPACE,
            confidence=confidence[index] if with_confidence else None,
            **options,
        )
        assert torch.equal(alone.labels[0], together.labels[index])
        assert torch.equal(alone.scores[0], together.scores[index])


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(1,), (2,), (1, 2)]),
    st.sampled_from([PAPER, PSASettings()]),
    st.sampled_from(["ignore", "keep"]),
)
def test_flips_commute(seed, axes, options, outside):
    img, pl, confidence = batch([seed], size=(11, 13))
    regions = Regions.from_label_map(img[0, 0].long(), background=-1)
    flipped = Regions.from_label_map(
        img[0, 0].long().flip([axis - 1 for axis in axes]), background=-1
    )
    straight = refine(
        img, pl, confidence=confidence, settings=options, outside=outside, regions=regions
    )
    mirrored = refine(
        img.flip([axis + 1 for axis in axes]),
        pl.flip(axes),
        confidence=confidence.flip(axes),
        settings=options,
        outside=outside,
        regions=flipped,
    )
    assert torch.equal(mirrored.flip(axes), straight)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.permutations(range(5)), st.sampled_from([PAPER, PSASettings()]))
def test_renumbering_classes_commutes(seed, order, options):
    img, pl, confidence = batch([seed], size=(11, 13))
    names = [""] * 5
    for old, new in enumerate(order):
        names[new] = SPACE.names[old]
    renumber = torch.full((256,), 255)
    renumber[:5] = torch.tensor(order)
    regions = Regions.from_label_map(img[0, 0].long(), background=-1)
    shared = {"confidence": confidence, "settings": options, "regions": regions}
    straight = refine(img, pl, **shared)
    renamed = refine(
        img,
        renumber[pl],
        label_space=LabelSpace(names=tuple(names), things=SPACE.things),
        **shared,
    )
    assert torch.equal(renamed, renumber[straight])


def test_small_things_survive_on_large_stuff():
    img = np.zeros((40, 40, 3), np.uint8)
    img[10:30, 20:22] = 1  # a pole before the sky
    pl = np.full((40, 40), 1)
    pl[12:28, 20:22] = 4
    whole = Regions.from_label_map(torch.ones(40, 40, dtype=torch.int64))
    for regions in (None, whole):
        refined = refine(img, pl, regions=regions)
        np.testing.assert_array_equal(refined, np.where(img[..., 0] == 1, 4, 1))


def test_paper_puts_every_thing_over_stuff():
    """Also one whose mask holds mostly pixels that are labelled as stuff."""
    img = np.zeros((40, 40, 3), np.uint8)
    img[0:40, 16:26] = 1
    pl = np.full((40, 40), 1)
    pl[4:36, 20] = 4
    paper = dataclasses.replace(PAPER, proposals=DENSE)
    refined = refine(img, pl, settings=paper)
    np.testing.assert_array_equal(refined, np.where(img[..., 0] == 1, 4, 1))


@pytest.mark.parametrize("method", ["psa", "alignment", "prompts"])
def test_sam_is_not_asked_where_its_answer_has_no_use(method):
    images, labels, _ = batch((0, 1, 2))
    labels[0] = 255
    labels[2][labels[2] > 2] = 0  # stuff alone
    regions = [Regions.from_label_map(torch.from_numpy(scene(s)[0][..., 0])) for s in (0, 1, 2)]
    for known, expected in (
        (None, 2),
        (regions, {"psa": 1, "alignment": 0, "prompts": 2}[method]),
    ):
        sam = ExactSegmenter()
        options = dataclasses.replace(FAST, method=method)
        refined = refine(images, labels, sam, regions=known, settings=options)
        assert sam.encoded == expected
        assert (refined[0] == 255).all()


def test_outside_every_mask():
    pl = np.array([[0, 0, 3, 1]])
    regions = Regions.from_label_map(torch.tensor([[1, 1, 0, 0]]))
    options = {"label_space": SPACE, "regions": regions}
    assert refine_pseudo_labels(None, pl, **options).tolist() == [[0, 0, 255, 255]]
    assert refine_pseudo_labels(None, pl, outside="keep", **options).tolist() == pl.tolist()


def test_invalid_pixels_neither_vote_nor_change():
    img, pl, confidence = scene(5)
    valid = np.ones(pl.shape, bool)
    valid[:, 16:] = False
    refined = refine(img, pl, valid=valid, confidence=confidence)
    np.testing.assert_array_equal(refined[:, 16:], pl[:, 16:])
    nonsense = np.where(valid, pl, (pl + 1) % 5)
    again = refine(img, nonsense, valid=valid, confidence=confidence)
    np.testing.assert_array_equal(again[:, :16], refined[:, :16])
    details = refine_with_details(
        img, pl, ExactSegmenter(), label_space=SPACE, valid=valid, settings=FAST
    )
    assert (details.scores[0, :, 16:] == 1).all()
    assert not details.connectivities[0].ids[:, 16:].any()


def test_connectivities_are_those_of_the_valid_pixels():
    masks = torch.tensor([[[1, 0, 0, 1]], [[1, 1, 1, 0]]], dtype=torch.bool)
    pl = np.zeros((1, 4), np.int64)
    found = refine_with_details(
        None,
        pl,
        regions=Regions.from_masks(masks),
        label_space=SPACE,
        valid=np.array([[True, True, True, False]]),
    )
    (connectivities,) = found.connectivities
    assert connectivities.ids.unique().tolist() == list(range(len(connectivities) + 1))
    assert len(connectivities.scores) == len(connectivities) == 1


@pytest.mark.parametrize("sam", [True, False])
def test_global_random_state_is_untouched(sam):
    img, pl, confidence = batch([6, 7])
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    regions = None if sam else propose_regions(img, ExactSegmenter(), settings=DENSE)
    first = refine(img, pl, confidence=confidence, regions=regions)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.equal(first, refine(img, pl, confidence=confidence, regions=regions))


def test_labels_can_enter_a_loss():
    img, pl, _ = batch([8])
    refined = refine(img, pl)
    logits = torch.zeros(1, 5, *pl.shape[1:], requires_grad=True)
    F.cross_entropy(logits, refined, ignore_index=255).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_callers_autocast_changes_nothing():
    img, pl, confidence = batch([9], size=(64, 64))
    plain = refine(img, pl, confidence=confidence)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(refine(img, pl, confidence=confidence), plain)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (5, 3)])
@pytest.mark.parametrize("method", ["psa", "alignment", "prompts"])
@pytest.mark.parametrize("content", ["ignore", "one", "noise"])
def test_odd_sizes_and_empty_labels(size, method, content):
    img = np.zeros((*size, 3), np.uint8)
    pl = np.full(size, 255)
    if content == "one":
        pl[-1, -1] = 3
    elif content == "noise":
        pl = np.random.default_rng(0).integers(0, 5, size)
    refined = refine(img, pl, settings=PSASettings(method=method, min_component_area=1))
    assert refined.shape == size
    assert set(np.unique(refined)) <= set(np.unique(pl)) | {255}
    if content == "ignore":
        assert (refined == 255).all()


@pytest.mark.parametrize("ignore", [255, 250, -1])
@pytest.mark.parametrize("space", [CITYSCAPES, ADE20K], ids=["19", "150"])
def test_class_counts_and_ignore_ids(ignore, space):
    space = LabelSpace(names=space.names, things=space.things, ignore_index=ignore)
    img, pl, _ = scene(10, classes=space.num_classes)
    pl = np.where(pl == 255, ignore, pl)
    refined = refine(img, pl, label_space=space)
    assert set(np.unique(refined)) <= set(np.unique(pl)) | {ignore}


def test_no_region_at_all():
    pl = np.array([[0, 1], [2, 3]])
    none = Regions.from_masks(torch.zeros(0, 2, 2, dtype=torch.bool))
    out = refine_pseudo_labels(None, pl, regions=none, label_space=SPACE)
    assert (out == 255).all()
    details = refine_with_details(None, pl, regions=none, label_space=SPACE)
    assert len(details.connectivities[0]) == 0
    assert (details.scores == 0).all()


GOOD_IMG, GOOD_PL, GOOD_CONFIDENCE = scene(11)
BAD = {
    "float image in 0-255": ({"img": torch.rand(3, 24, 32) * 255}, "img: expected floats in 0-1"),
    "float array": ({"img": GOOD_IMG / 255.0}, "img: expected a uint8 array"),
    "NaN image": ({"img": torch.full((3, 24, 32), torch.nan)}, "img: expected finite"),
    "five channels": ({"img": torch.zeros(24, 32, 5)}, "img: expected a tensor of shape"),
    "grey image": ({"img": GOOD_IMG[..., 0]}, r"img: expected an array of shape \(H, W, 3\)"),
    "image is a list": ({"img": [[1]]}, "img"),
    "no image": ({"img": None}, "img: expected an image where sam is given"),
    "float label": ({"pl": GOOD_PL.astype(float)}, "pl: expected an integer dtype, got float64"),
    "label of another size": ({"pl": GOOD_PL[:-1]}, r"pl: expected shape \(24, 32\)"),
    "class outside": ({"pl": np.full((24, 32), 5)}, r"pl: expected class ids 0\.\.4 or .*got 5"),
    "no labels": ({"pl": GOOD_PL[:0]}, "pl: expected shape"),
    "confidence in percent": (
        {"confidence": GOOD_CONFIDENCE * 100},
        "confidence: expected values in 0-1",
    ),
    "NaN confidence": ({"confidence": GOOD_CONFIDENCE * np.nan}, "confidence: expected finite"),
    "confidence of another size": (
        {"confidence": GOOD_CONFIDENCE[1:]},
        r"confidence: expected shape \(24, 32\)",
    ),
    "keep_fraction": (
        {"keep_fraction": 0, "confidence": GOOD_CONFIDENCE},
        r"^keep_fraction: expected .* got 0",
    ),
    "keep_fraction without confidence": ({"keep_fraction": 7}, r"^keep_fraction: .* got 7"),
    "confidence_threshold": (
        {"confidence_threshold": 1.5, "confidence": GOOD_CONFIDENCE},
        r"^confidence_threshold: expected .* got 1\.5",
    ),
    "confidence_threshold alone": (
        {"confidence_threshold": 0.5},
        "^confidence: expected with confidence_threshold, got None",
    ),
    "label space by name": (
        {"label_space": "cityscapes"},
        "^label_space: expected seco.LabelSpace, got str 'cityscapes'",
    ),
    "settings of proposals": ({"settings": DENSE}, "^settings: expected seco.PSASettings, got"),
    "valid": ({"valid": GOOD_CONFIDENCE}, "valid: expected bool"),
    "outside": ({"outside": "drop"}, "outside: expected one of 'ignore', 'keep', got 'drop'"),
    "regions of another size": (
        {"regions": Regions.from_label_map(torch.ones(2, 2, dtype=torch.int64))},
        r"regions: expected the size \(24, 32\) of pl, got \(2, 2\)",
    ),
    "two regions for one image": (
        {"regions": [Regions.from_label_map(torch.ones(24, 32, dtype=torch.int64))] * 2},
        "regions: expected one per image, 1, got 2",
    ),
    "regions are masks": ({"regions": [np.ones((24, 32))]}, "regions: expected seco.Regions"),
    "sam is a path": ({"sam": "vit_h"}, "sam"),
    "no sam": ({"sam": None}, "sam: expected a segmenter where no regions are given"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_bad_input_names_argument_expectation_and_value(case):
    change, message = BAD[case]
    arguments = {"img": GOOD_IMG, "pl": GOOD_PL, "sam": ExactSegmenter()} | change
    if isinstance(arguments["img"], torch.Tensor) and "pl" not in change:
        arguments["pl"] = torch.from_numpy(GOOD_PL)
    img, pl, sam = (arguments.pop(name) for name in ("img", "pl", "sam"))
    with pytest.raises((TypeError, ValueError), match=message):
        refine_pseudo_labels(img, pl, sam, **({"label_space": SPACE} | arguments))


def test_prompts_need_somebody_to_prompt():
    regions = Regions.from_label_map(torch.ones(24, 32, dtype=torch.int64))
    with pytest.raises(ValueError, match="sam: expected a segmenter with method 'prompts'"):
        refine_pseudo_labels(
            None,
            GOOD_PL,
            regions=regions,
            label_space=SPACE,
            settings=PSASettings(method="prompts"),
        )


@settings(max_examples=150)
@given(st.data())
def test_any_arrays_give_labels_or_a_clear_error(data):
    shape = st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)
    dtypes = st.sampled_from(["uint8", "int64", "float32", "float64", "bool", "complex64"])

    def array(name):
        chosen = np.dtype(data.draw(dtypes, label=f"{name} dtype"))
        values = np.random.default_rng(0).integers(0, 300, data.draw(shape, label=f"{name} shape"))
        out = (values - 20 if chosen.kind == "i" else values).astype(chosen)
        return torch.from_numpy(out) if data.draw(st.booleans(), label=f"{name} tensor") else out

    img, pl = array("img"), array("pl")
    confidence = array("confidence") if data.draw(st.booleans(), label="confidence") else None
    try:
        refined = refine(img, pl, confidence=confidence)
    except (TypeError, ValueError) as error:
        assert str(error).split(":")[0] in {"img", "pl", "confidence"}
        assert ", got " in str(error)
    else:
        assert refined.shape == pl.shape
        assert refined.dtype == pl.dtype


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "all"),
        ("connectivity", 6),
        ("point", "corner"),
        ("box_enlargement", 0),
        ("stuff_share", 1.0),
        ("thing_agreement", float("nan")),
        ("prior_weight", -1),
        ("min_component_area", 0),
        ("points_per_prompt", 2),
        ("proposals", {"points_per_side": 8}),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected .*got"):
        PSASettings(**{name: value})
