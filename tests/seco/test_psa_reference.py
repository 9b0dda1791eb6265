"""PSA equals an implementation by plain loops, one prompt and one pixel at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from psa_oracle import ExactSegmenter, FallibleSegmenter, reference_psa

import seco.aggregation.claims
from seco import PAPER, LabelSpace, PSASettings, Regions, refine_with_details

SPACE = LabelSpace(names=("road", "sky", "tree", "car", "pole"), things=("car", "pole"))

# Values of every setting that changes what is found from given regions. Quarters: sums are exact,
# and ties and values on a threshold are frequent.
CHOICES = {
    "method": ["psa", "prompts", "psa", "alignment"],
    "connectivity": [4, 8],
    "min_component_area": [1, 2, 6],
    "box_enlargement": [1.0, 1.5, 4.0],
    "point": ["centre", "distance", "entropy"],
    "points_per_prompt": [1, 2],
    "prompts_per_batch": [1, 2, 64],
    "images_per_batch": [1, 4],
    "thing_iou_thresh": [-1.0, 0.0, 0.25, 0.5],
    "thing_agreement": [0.0, 0.25, 0.5],
    "thing_coverage": [0.0, 0.5, 1.0],
    "rejected_things": ["component", "drop", "keep"],
    "stuff_share": [0.0, 0.25, 0.5],
    "align_things": [False, True],
    "thing_weight": [0.0, 0.5, 1.0, 2.5, 1e6],
    "prior_weight": [0.0, 0.5, 1.25],
    "unknown_confidence": [0.0, 0.5, 1.0],
}


def test_every_setting_is_drawn():
    names = {field.name for field in dataclasses.fields(PSASettings)}
    assert set(CHOICES) == names - {"proposals"}  # the regions are given here


@st.composite
def psa_settings(draw):
    values = {name: draw(st.sampled_from(choices)) for name, choices in CHOICES.items()}
    if values["point"] != "entropy":
        values["points_per_prompt"] = 1
    if draw(st.integers(0, 4)) == 4:  # the maps here are too small for 10 pixels
        base = draw(st.sampled_from([PAPER, PSASettings()]))
        return dataclasses.replace(base, min_component_area=values["min_component_area"])
    return PSASettings(**values)


@st.composite
def cases(draw):
    """A mosaic, regions, a noisy label with ignored pixels, and every option at random."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # On small maps regions tie often, on large ones there are several prompts.
    size = height, width = rng.integers(1, draw(st.sampled_from([13, 5, 13])), 2)
    seeds = rng.integers(0, size, (rng.integers(1, 7), 2))
    ys, xs = np.mgrid[:height, :width]
    segments = ((ys[..., None] - seeds[:, 0]) ** 2 + (xs[..., None] - seeds[:, 1]) ** 2).argmin(2)
    truth = rng.integers(0, SPACE.num_classes, len(seeds))[segments]
    noise = draw(st.sampled_from([0.2, 0.6, 0.0]))
    label = np.where(rng.random(size) < noise, rng.integers(0, SPACE.num_classes + 1, size), truth)
    label[label == SPACE.num_classes] = SPACE.ignore_index
    label[rng.random(size) < draw(st.sampled_from([0.0, 0.7]))] = SPACE.ignore_index

    regions = np.array([segments == value for value in np.unique(segments)])
    if draw(st.booleans()):  # some are missing, others overlap, often with equal shares
        unlabelled = label == SPACE.ignore_index
        regions |= unlabelled & (rng.random(regions.shape) < 0.5)
        count = rng.integers(0, 7)
        more = rng.random((count, *size)) < rng.random((count, 1, 1))
        regions = np.concatenate([regions[rng.random(len(regions)) < 0.7], more])

    chosen = draw(psa_settings())
    confidence = rng.integers(0, 5, size) / 4 if draw(st.booleans()) else None
    thresholds = [None] if confidence is None else [None, None, 0.0, 0.5, 1.0]
    options = {
        "confidence": confidence,
        "keep_fraction": draw(st.sampled_from([1.0, 0.5, 1 / 3, 0.1])),
        "confidence_threshold": draw(st.sampled_from(thresholds)),
        "valid": rng.random(size) < 0.7 if draw(st.booleans()) else None,
        "outside": draw(st.sampled_from(["ignore", "keep"])),
    }
    can_prompt = chosen.method == "prompts" or draw(st.integers(0, 5)) < 5
    bounds = {
        "PIXELS_PER_PASS": draw(st.sampled_from([20, 1 << 21])),
        "MOST_CLAIMS": draw(st.sampled_from([1, 1 << 22])),
    }
    return segments, regions, label, chosen, options, can_prompt, bounds


def image_of(segments: np.ndarray) -> np.ndarray:
    return np.repeat(segments[..., None], 3, axis=2).astype(np.uint8)


@settings(max_examples=400)
@given(cases())
def test_equals_plain_loops(case):
    segments, regions, label, chosen, options, can_prompt, bounds = case
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bounds.items():
            patch.setattr(seco.aggregation.claims, name, value)
        found = refine_with_details(
            image_of(segments) if can_prompt else None,
            label,
            FallibleSegmenter() if can_prompt else None,
            label_space=SPACE,
            regions=Regions.from_masks(torch.from_numpy(regions)),
            settings=chosen,
            **options,
        )
    expected = reference_psa(
        segments, regions, label, SPACE, chosen, can_prompt=can_prompt, **options
    )
    np.testing.assert_array_equal(found.labels[0].numpy(), expected.labels)
    np.testing.assert_allclose(found.scores[0].numpy(), expected.scores, rtol=0, atol=1e-6)
    told_by = check_connectivities(found.connectivities[0], expected)
    if options["valid"] is None:
        assert sorted(told_by) == list(range(1, len(found.connectivities[0]) + 1))
    assert set(np.unique(expected.labels)) <= set(np.unique(label)) | {SPACE.ignore_index}


@settings(max_examples=60)
@given(cases())
def test_where_the_rest_keeps_its_label_rejected_things_need_not(case):
    segments, regions, label, chosen, options, _, _ = case
    found = [
        refine_with_details(
            image_of(segments),
            label,
            FallibleSegmenter(),
            label_space=SPACE,
            regions=Regions.from_masks(torch.from_numpy(regions)),
            settings=dataclasses.replace(chosen, rejected_things=rejected),
            **(options | {"outside": "keep"}),
        )
        for rejected in ("keep", "drop")
    ]
    assert torch.equal(found[0].labels, found[1].labels)
    assert torch.equal(found[0].scores, found[1].scores)
    assert torch.equal(found[0].connectivities[0].ids, found[1].connectivities[0].ids)


def check_connectivities(found, expected):
    """Each is one region or one mask, and holds the pixels of that one alone; returns which."""
    told_by = {}
    for pixel in np.ndindex(found.ids.shape):
        number, sources = int(found.ids[pixel]), expected.sources.get(pixel, set())
        assert (number > 0) == bool(sources)
        if number:
            told_by[number] = told_by.get(number, sources) & sources
    for number, sources in told_by.items():
        assert sources, f"{number} joins several regions or masks"
        kind, share = expected.strengths[min(sources)]
        assert int(found.classes[number - 1]) == kind
        assert float(found.scores[number - 1]) == pytest.approx(share)
    single = [min(sources) for sources in told_by.values() if len(sources) == 1]
    assert len(set(single)) == len(single)
    return told_by


def test_two_weak_regions_outvote_a_strong_one_by_their_mean():
    """Shares 1.0 for sky; 0.6 and 0.6 for road: means 1/3 and 0.4."""
    masks = torch.zeros(3, 1, 13, dtype=torch.bool)
    masks[0, 0, :3] = True  # pixel 0 and two more, all sky but pixel 0, which is ignored
    masks[1, 0, [0, 3, 4, 5, 6, 7]] = True
    masks[2, 0, [0, 8, 9, 10, 11, 12]] = True
    label = np.array([[255, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]])
    found = refine_with_details(None, label, regions=Regions.from_masks(masks), label_space=SPACE)
    assert int(found.labels[0, 0, 0]) == 0
    assert float(found.scores[0, 0, 0]) == pytest.approx(0.4)


def test_own_label_wins_a_tie_with_the_region_over_it():
    """0.75 for road from the region, 0.75 for sky from the first pixel itself."""
    label = np.array([[1, 0, 0, 0]])
    found = refine_with_details(
        None,
        label,
        regions=Regions.from_masks(torch.ones(1, 1, 4, dtype=torch.bool)),
        label_space=SPACE,
        settings=PSASettings(prior_weight=0.75, unknown_confidence=1.0),
    )
    assert found.labels[0].tolist() == label.tolist()


@pytest.mark.parametrize("method", ["psa", "alignment", "prompts"])
def test_decoder_sees_every_component_once_in_chunks(method):
    label = np.full((20, 20), 255)
    for index in range(10):
        label[2 * index, 3:15] = 3
    sam = ExactSegmenter()
    refine_with_details(
        image_of(np.arange(400).reshape(20, 20) // 20),
        label,
        sam,
        label_space=SPACE,
        settings=PSASettings(method=method, prompts_per_batch=4),
        regions=Regions.from_label_map(torch.ones(20, 20, dtype=torch.int64)),
    )
    # With the regions given, alignment has nothing to ask.
    assert sam.encoded == (method != "alignment")
    assert sam.prompts == ([] if method == "alignment" else [4, 4, 2])
