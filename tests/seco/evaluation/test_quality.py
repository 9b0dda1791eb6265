from __future__ import annotations

import json

import numpy as np

from seco import LabelSpace
from seco.evaluation import LabelQuality, boundary_overlap, confusion, measure_labels

SPACE = LabelSpace(names=("a", "b", "c"))


def strict_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


def test_numbers_are_the_measures():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 255], (20, 30))
    label = np.where(rng.random(truth.shape) < 0.7, truth, rng.choice([0, 1, 255], truth.shape))
    matrix, outline = confusion(label, truth, SPACE), boundary_overlap(label, truth, SPACE)
    numbers = strict_json(measure_labels(label, truth, SPACE).numbers(SPACE))
    assert numbers["mean_iou"] == round(matrix.mean_iou, 6)
    assert numbers["mean_iou_labelled"] == round(matrix.labelled.mean_iou, 6)
    assert numbers["mean_boundary_iou"] == round(outline.mean_iou, 6)
    assert numbers["accuracy"] == round(matrix.accuracy, 6)
    assert numbers["coverage"] == round(matrix.coverage, 6)
    assert numbers["pixels"] == (truth != 255).sum()
    assert numbers["per_class"]["b"]["iou"] == round(matrix.iou[1], 6)
    assert numbers["per_class"]["b"]["boundary_iou"] == round(outline.iou[1], 6)
    assert numbers["per_class"]["b"]["true_pixels"] == (truth == 1).sum()
    assert numbers["per_class"]["c"]["iou"] is None


def test_what_cannot_be_measured_is_null():
    numbers = strict_json(LabelQuality.zero(SPACE).numbers(SPACE))
    assert {numbers[name] for name in ("mean_iou", "accuracy", "coverage")} == {None}
    nothing = np.full((4, 4), 255)
    numbers = measure_labels(nothing, np.zeros((4, 4), int), SPACE).numbers(SPACE)
    assert (numbers["mean_iou"], numbers["coverage"], numbers["accuracy"]) == (0, 0, None)


def test_pooling_is_addition():
    rng = np.random.default_rng(1)
    first, second = (rng.choice([0, 1, 2, 255], (2, 8, 8)) for _ in range(2))
    pooled = measure_labels(*first, SPACE) + measure_labels(*second, SPACE)
    both = confusion(first[0], first[1], SPACE) + confusion(second[0], second[1], SPACE)
    np.testing.assert_array_equal(pooled.confusion.counts, both.counts)
    assert pooled.numbers(SPACE)["pixels"] == both.counts.sum()
