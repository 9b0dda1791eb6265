"""PSA equals an implementation by plain loops, one prompt and one pixel at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from psa_oracle import ExactSegmenter, reference_psa

from seco import PAPER, LabelSpace, PSASettings, Regions, refine_with_details
from seco.selection import select_confident

SPACE = LabelSpace(names=("road", "sky", "tree", "car", "pole"), things=("car", "pole"))


@st.composite
def cases(draw):
    """A mosaic, a noisy label of it with ignored pixels, and every option at random."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seeds = rng.integers(0, (height, width), (draw(st.integers(1, 6)), 2))
    ys, xs = np.mgrid[:height, :width]
    segments = ((ys[..., None] - seeds[:, 0]) ** 2 + (xs[..., None] - seeds[:, 1]) ** 2).argmin(2)
    truth = rng.integers(0, SPACE.num_classes, len(seeds))[segments]
    noise = draw(st.sampled_from([0.0, 0.2, 0.6]))
    label = np.where(
        rng.random((height, width)) < noise,
        rng.integers(0, SPACE.num_classes + 1, (height, width)),
        truth,
    )
    label[label == SPACE.num_classes] = SPACE.ignore_index
    # Quarters: sums are exact, ties are frequent.
    confidence = rng.integers(0, 5, (height, width)) / 4 if draw(st.booleans()) else None
    chosen = dataclasses.replace(
        draw(st.sampled_from([PAPER, PSASettings()])),
        method=draw(st.sampled_from(["psa", "alignment", "prompts"])),
        connectivity=draw(st.sampled_from([4, 8])),
        min_component_area=draw(st.sampled_from([1, 3])),
        box_enlargement=draw(st.sampled_from([1.0, 1.5, 4.0])),
        align_things=draw(st.booleans()),
        rejected_things=draw(st.sampled_from(["component", "drop"])),
        thing_weight=draw(st.sampled_from([0.5, 1.0, 2.5])),
        prior_weight=draw(st.sampled_from([0.0, 0.5, 1.25])),
        prompts_per_batch=draw(st.sampled_from([1, 2, 64])),
    )
    return segments, label, confidence, chosen, draw(st.sampled_from(["ignore", "keep"]))


def image_of(segments: np.ndarray) -> np.ndarray:
    return np.repeat(segments[..., None], 3, axis=2).astype(np.uint8)


@settings(deadline=None, max_examples=300)
@given(cases())
def test_equals_plain_loops(case):
    segments, label, confidence, chosen, outside = case
    found = refine_with_details(
        image_of(segments),
        label,
        ExactSegmenter(),
        label_space=SPACE,
        confidence=confidence,
        outside=outside,
        regions=Regions.from_label_map(torch.from_numpy(segments), background=-1),
        settings=chosen,
    )
    selected = label
    if confidence is not None:
        selected = select_confident(torch.from_numpy(label), torch.from_numpy(confidence)).numpy()
    expected = reference_psa(segments, selected, label, confidence, SPACE, chosen, outside)
    np.testing.assert_array_equal(found.labels[0].numpy(), expected)
    assert set(np.unique(expected)) <= set(np.unique(label)) | {SPACE.ignore_index}
    check_details(found, label)


def check_details(found, label):
    scores, connectivities = found.scores[0], found.connectivities[0]
    assert scores.min() >= 0
    assert scores.max() <= 1
    ids = connectivities.ids.long()
    owned = ids > 0
    assert torch.equal(connectivities.classes[ids[owned] - 1], found.labels[0][owned])
    assert sorted(ids[owned].unique().tolist()) == list(range(1, len(connectivities) + 1))


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
    assert sam.encoded == 1
    assert sam.prompts == ([] if method == "alignment" else [4, 4, 2])
