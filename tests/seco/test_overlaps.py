"""The vote of regions that overlap, as SAM's do, against plain loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seco import LabelSpace, PSASettings, Regions, refine_with_details

SPACE = LabelSpace(names=("road", "sky", "car"), things=("car",))


def slow_vote(masks, label, confidence, options):
    """The refined label and its score, one pixel at a time."""
    known = range(SPACE.num_classes)
    named = []
    for mask in masks:
        votes = [int(v) for v in label[mask] if v in known]
        shares = [votes.count(c) / len(votes) for c in known] if votes else [0.0]
        best = max(shares)
        if best > options.stuff_share and shares.count(best) == 1:
            named.append((mask, shares.index(best), best))
    refined = np.full_like(label, SPACE.ignore_index)
    scores = np.zeros(label.shape)
    for pixel in np.ndindex(label.shape):
        over = [(kind, share) for mask, kind, share in named if mask[pixel]]
        if not over:
            continue
        evidence = [sum(s for k, s in over if k == c) / len(over) for c in known]
        spoken = 1.0
        own = int(label[pixel])
        if own in known:
            evidence[own] += options.prior_weight * float(confidence[pixel])
            spoken += options.prior_weight
        leading = [c for c in known if evidence[c] >= max(evidence) - 1e-9]
        winner = leading[0] if len(leading) == 1 else own if own in leading else None
        if winner is not None:
            refined[pixel], scores[pixel] = winner, evidence[winner] / spoken
    return refined, scores


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.2, 0.5]),
)
def test_equals_plain_loops(seed, count, prior_weight, stuff_share):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 9, 2))
    masks = rng.random((count, *size)) < rng.random((count, 1, 1))
    label = rng.integers(0, 4, size)
    label[label == 3] = SPACE.ignore_index
    confidence = (rng.integers(0, 5, size) / 4).astype(np.float32)
    options = PSASettings(prior_weight=prior_weight, stuff_share=stuff_share)
    found = refine_with_details(
        None,
        label,
        regions=Regions.from_masks(torch.from_numpy(masks)),
        label_space=SPACE,
        confidence=confidence,
        keep_fraction=1.0,
        settings=options,
    )
    expected, scores = slow_vote(masks, label, confidence, options)
    np.testing.assert_array_equal(found.labels[0].numpy(), expected)
    np.testing.assert_allclose(found.scores[0].numpy(), scores, atol=1e-6)


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
