from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seco.selection import select_confident


def slow_selection(label, confidence, fraction, threshold, valid, ignore_index):
    """One image, one class, one pixel at a time."""
    chosen = np.full_like(label, ignore_index)
    for index in np.ndindex(label.shape[0]):
        usable = (label[index] != ignore_index) & valid[index]
        for name in np.unique(label[index][usable]):
            values = confidence[index][usable & (label[index] == name)]
            if threshold is None:
                kept = max(1, math.ceil(round(fraction * len(values), 6)))
                lowest = sorted(values, reverse=True)[kept - 1]
            else:
                lowest = threshold
            for pixel in np.ndindex(label.shape[1:]):
                position = (*index, *pixel)
                if (
                    usable[pixel]
                    and label[position] == name
                    and confidence[position] >= np.float32(lowest)
                ):
                    chosen[position] = name
    return chosen


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    ignore_index = draw(st.sampled_from([-1, 250, 255, 4]))
    classes = draw(st.sampled_from([1, 3, 150]))
    label = rng.integers(0, classes, shape)
    label[rng.random(shape) < draw(st.sampled_from([0, 0.3, 1]))] = ignore_index
    levels = draw(st.sampled_from([1, 2, 7, 10**6]))  # few levels: many ties
    confidence = (rng.integers(0, levels + 1, shape) / levels).astype(np.float32)
    valid = rng.random(shape) < draw(st.sampled_from([0.5, 1]))
    fraction = draw(st.sampled_from([0.01, 0.1, 1 / 3, 0.5, 0.9, 1]))
    threshold = draw(st.sampled_from([None, None, 0, 0.5, 1]))
    return label, confidence, fraction, threshold, valid, ignore_index


@given(cases())
@settings(max_examples=150)
def test_against_a_loop(case):
    label, confidence, fraction, threshold, valid, ignore_index = case
    options = {"fraction": fraction, "threshold": threshold, "ignore_index": ignore_index}
    before = label.copy(), confidence.copy()
    chosen = select_confident(
        torch.from_numpy(label),
        torch.from_numpy(confidence),
        valid=torch.from_numpy(valid),
        **options,
    )
    assert np.array_equal(
        chosen, slow_selection(label, confidence, fraction, threshold, valid, ignore_index)
    )
    assert np.array_equal(label, before[0])
    assert np.array_equal(confidence, before[1])
    single = select_confident(
        torch.from_numpy(label[0]),
        torch.from_numpy(confidence[0]),
        valid=torch.from_numpy(valid[0]),
        **options,
    )
    assert torch.equal(single, chosen[0]), "a batch must equal single calls"
    flipped = select_confident(
        torch.from_numpy(label).flip(-1),
        torch.from_numpy(confidence).flip(-1),
        valid=torch.from_numpy(valid).flip(-1),
        **options,
    )
    assert torch.equal(flipped.flip(-1), chosen)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_dtype_and_shape_stay(dtype):
    label = torch.zeros(3, 4, dtype=dtype)
    chosen = select_confident(label, torch.linspace(0, 1, 12).reshape(3, 4))
    assert chosen.dtype == dtype
    assert (chosen == 0).flatten().tolist() == [False] * 6 + [True] * 6


def test_exact_counts():
    confidence = torch.linspace(0, 1, 100).reshape(5, 20)
    for count, fraction, expected in (
        (30, 0.1, 3),
        (30, 0.11, 4),
        (31, 0.5, 16),
        (100, 0.07, 7),  # the product is 7.000000000000001
        (1, 0.01, 1),
        (9, 1e-9, 1),
    ):
        label = torch.full((100,), 255)
        label[:count] = 0
        chosen = select_confident(label.reshape(5, 20), confidence, fraction=fraction)
        assert (chosen == 0).sum() == expected


def test_counts_stay_exact_on_a_large_map():
    """0.3 * 100000 is 30000.002 in float32."""
    confidence = torch.linspace(0, 1, 100_000).reshape(250, 400)
    chosen = select_confident(torch.zeros(250, 400, dtype=torch.int64), confidence, fraction=0.3)
    assert (chosen == 0).sum() == 30_000


def test_negative_zero_is_zero():
    label = torch.zeros(1, 4, dtype=torch.int64)
    confidence = torch.tensor([[-0.0, 0.0, -0.0, 0.0]])
    assert (select_confident(label, confidence) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_confidence_of_any_precision(dtype):
    label = torch.zeros(1, 4, dtype=torch.int64)
    confidence = torch.tensor([[0.125, 0.5, 0.25, 0.75]], dtype=dtype, requires_grad=True)
    assert select_confident(label, confidence).tolist() == [[255, 0, 255, 0]]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": np.zeros((2, 2), int)}, TypeError, "label: expected a torch tensor"),
        ({"label": torch.zeros(2, 2)}, TypeError, "label: expected an integer dtype"),
        ({"label": torch.zeros(4, dtype=torch.int64)}, ValueError, "label: expected shape"),
        ({"label": torch.full((2, 2), -3)}, ValueError, "label: expected class ids >= 0, got -3"),
        ({"ignore_index": 300, "label": torch.zeros(2, 2, dtype=torch.uint8)}, ValueError, "hold"),
        ({"confidence": torch.zeros(2, 3)}, ValueError, "confidence: expected shape"),
        ({"confidence": torch.full((2, 2), 2.0)}, ValueError, "confidence: expected values in 0-1"),
        ({"confidence": torch.full((2, 2), math.nan)}, ValueError, "confidence: expected finite"),
        ({"confidence": torch.ones(2, 2, dtype=torch.int64)}, TypeError, "confidence: expected"),
        ({"fraction": 0}, ValueError, "fraction: expected"),
        ({"fraction": 1.1}, ValueError, "fraction: expected"),
        ({"fraction": None}, TypeError, "fraction: expected a number"),
        ({"threshold": 2}, ValueError, "threshold: expected"),
        ({"threshold": "high"}, TypeError, "threshold: expected a number"),
        ({"valid": torch.ones(3, 3)}, ValueError, "valid: expected shape"),
        ({"valid": torch.full((2, 2), 255)}, ValueError, "valid: expected only 0 and 1"),
    ],
)
def test_wrong_arguments(change, error, message):
    arguments = {
        "label": torch.zeros(2, 2, dtype=torch.int64),
        "confidence": torch.zeros(2, 2),
        **change,
    }
    with pytest.raises(error, match=message):
        select_confident(arguments.pop("label"), arguments.pop("confidence"), **arguments)
