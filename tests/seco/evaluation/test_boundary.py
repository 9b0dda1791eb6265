from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seco import LabelSpace
from seco.evaluation import BoundaryOverlap, boundary_overlap

SPACE = LabelSpace(names=("a", "b", "c"), ignore_index=255)
IGNORE = 255


def counts_by_loops(label, truth, width, num_classes=3):
    """Pixel by pixel, class by class, straight from the definition."""
    height, breadth = truth.shape
    both, either = [0] * num_classes, [0] * num_classes

    def near(classes, row, column):
        for y in range(row - width, row + width + 1):
            for x in range(column - width, column + width + 1):
                if not (0 <= y < height and 0 <= x < breadth):
                    return True
                if truth[y, x] < num_classes and classes[y, x] != classes[row, column]:
                    return True
        return False

    for row in range(height):
        for column in range(breadth):
            if truth[row, column] >= num_classes:
                continue
            for k in range(num_classes):
                in_truth = truth[row, column] == k and near(truth, row, column)
                in_label = label[row, column] == k and near(label, row, column)
                both[k] += in_truth and in_label
                either[k] += in_truth or in_label
    return both, either


def blobs(rng, size, values):
    """Random patches some pixels wide, so that there is something away from outlines."""
    coarse = rng.choice(values, (-(-size[0] // 4), -(-size[1] // 4)))
    return np.kron(coarse, np.ones((4, 4), int))[: size[0], : size[1]].astype(np.uint8)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.integers(1, 3))
def test_equals_loops(seed, height, breadth, width):
    rng = np.random.default_rng(seed)
    label = blobs(rng, (height, breadth), [0, 1, 2, IGNORE])
    # In patches, not speckled: there shall be something away from outlines.
    same = blobs(rng, label.shape, [True, True, False]).astype(bool)
    truth = np.where(same, label, blobs(rng, label.shape, [0, 1, 2, IGNORE]))
    ratio = min(width / np.hypot(height, breadth), 1)
    expected = counts_by_loops(label, truth, max(1, round(ratio * np.hypot(height, breadth))))
    found = boundary_overlap(label, truth, SPACE, dilation_ratio=ratio)
    assert (found.intersection.tolist(), found.union.tolist()) == expected


def test_equals_erosion_class_by_class_where_all_is_known():
    # What the paper's authors do to each mask: erode it d times, outside being empty.
    rng = np.random.default_rng(5)
    truth = blobs(rng, (60, 80), [0, 1, 2])
    label = np.roll(truth, 2, axis=0)
    width = round(0.02 * 100)

    def band(mask):
        return mask & ~cv2.erode(
            mask.astype(np.uint8), np.ones((3, 3)), iterations=width,
            borderType=cv2.BORDER_CONSTANT, borderValue=0,
        ).astype(bool)  # fmt: skip

    found = boundary_overlap(label, truth, SPACE)
    for k in range(3):
        ours, theirs = band(label == k), band(truth == k)
        assert found.iou[k] == (ours & theirs).sum() / (ours | theirs).sum()


def test_is_harder_on_ragged_outlines_than_iou():
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 32:] = 1
    ragged = truth.copy()
    ragged[::2, 31] = 1
    found = boundary_overlap(ragged, truth, SPACE)
    overlap = (ragged[truth == 1] == 1).mean()
    assert found.iou[1] < 0.95 * overlap
    assert boundary_overlap(truth, truth, SPACE).mean_iou == 1


@pytest.mark.parametrize("other", [0, 2, IGNORE])
def test_what_is_unknown_makes_no_outline(other):
    truth = np.ones((40, 40), np.uint8)
    label = truth.copy()
    truth[15:25, 15:25] = IGNORE
    label[17:23, 17:23] = other
    perfect = boundary_overlap(label, truth, SPACE, dilation_ratio=0.05)
    plain = boundary_overlap(np.ones_like(label), np.ones_like(label), SPACE, dilation_ratio=0.05)
    assert perfect.mean_iou == 1
    assert perfect.union.tolist() == plain.union.tolist()


def test_pooling_is_addition():
    rng = np.random.default_rng(0)
    images = [(blobs(rng, (9, 9), [0, 1, IGNORE]), blobs(rng, (9, 9), [0, 1])) for _ in range(3)]
    parts = [boundary_overlap(label, truth, SPACE) for label, truth in images]
    pooled = sum(parts, BoundaryOverlap.zero(SPACE))
    np.testing.assert_array_equal(pooled.union, sum(part.union for part in parts))
    np.testing.assert_array_equal(pooled.intersection, sum(part.intersection for part in parts))


def test_nothing_known_or_nothing_labelled():
    nothing = np.full((5, 5), IGNORE, np.uint8)
    assert np.isnan(boundary_overlap(nothing, nothing, SPACE).mean_iou)
    assert boundary_overlap(nothing, np.zeros((5, 5), int), SPACE).mean_iou == 0
    assert np.isnan(boundary_overlap(np.zeros((5, 5), int), nothing, SPACE).mean_iou)


def test_tensors_are_taken():
    label = torch.tensor([[0, 1], [1, 1]])
    assert boundary_overlap(label, label, SPACE).mean_iou == 1


@pytest.mark.parametrize(
    ("label", "truth", "ratio", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), 0.02, "truth: expected shape"),
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), 0.02, "label: expected shape"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 0, "dilation_ratio: expected a number"),
    ],
)
def test_wrong_arguments(label, truth, ratio, message):
    with pytest.raises(ValueError, match=message):
        boundary_overlap(label, truth, SPACE, dilation_ratio=ratio)
