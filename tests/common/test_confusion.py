from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score

from seco import LabelSpace
from seco.common.confusion import Confusion, confusion

SPACE = LabelSpace(names=("a", "b", "c", "d"), ignore_index=-1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_equals_scikit_learn(seed, pixels):
    rng = np.random.default_rng(seed)
    truth, label = rng.integers(-1, 4, (2, 1, pixels))
    truth[0, 0] = rng.integers(0, 4)
    known = truth >= 0
    found = confusion(label, truth, SPACE)
    expected = confusion_matrix(truth[known], np.where(label < 0, 4, label)[known], labels=range(5))
    np.testing.assert_array_equal(found.counts, expected[:4])
    present = np.isfinite(found.iou)
    iou = jaccard_score(truth[known], label[known], labels=range(4), average=None, zero_division=0)
    np.testing.assert_allclose(found.iou[present], iou[present])
    assert found.mean_iou == pytest.approx(iou[present].mean())


def test_pooling_is_addition():
    truth = np.array([[0, 1, 2, 3, -1]])
    label = np.array([[0, 1, 1, -1, 3]])
    pooled = confusion(label[:, :2], truth[:, :2], SPACE) + confusion(
        label[:, 2:], truth[:, 2:], SPACE
    )
    np.testing.assert_array_equal(pooled.counts, confusion(label, truth, SPACE).counts)
    assert pooled.coverage == 0.75
    assert pooled.accuracy == pytest.approx(2 / 3)


def test_nothing_to_compare():
    found = Confusion(np.zeros((4, 5), np.int64))
    assert np.isnan([found.mean_iou, found.coverage, found.accuracy]).all()
    left_out = confusion(np.full((2, 3), -1), np.zeros((2, 3), int), SPACE)
    assert left_out.coverage == 0
    assert np.isnan([left_out.accuracy, left_out.labelled.coverage]).all()


def test_sizes_differ():
    with pytest.raises(ValueError, match=r"truth: expected shape \(1, 2\).*got \(2, 1\)"):
        confusion(np.zeros((1, 2), int), np.zeros((2, 1), int), SPACE)


def test_over_labelled_pixels_only():
    rng = np.random.default_rng(0)
    label, truth = rng.integers(-1, 4, (2, 3, 50))
    label[0] = -1
    both = (label >= 0) & (truth >= 0)
    found = confusion(label, truth, SPACE)
    iou = jaccard_score(truth[both], label[both], labels=range(4), average=None)
    np.testing.assert_allclose(found.labelled.iou, iou)
    assert found.labelled.mean_iou == pytest.approx(iou.mean())
    assert found.labelled.accuracy == found.accuracy
    assert found.labelled.coverage == 1
    assert found.labelled.mean_iou > found.mean_iou


def test_zero_is_neutral():
    found = confusion(np.array([[0, 1]]), np.array([[0, 0]]), SPACE)
    np.testing.assert_array_equal((Confusion.zero(SPACE) + found).counts, found.counts)


def test_tensors_are_taken():
    label, truth = torch.tensor([[0, 1, -1]]), torch.tensor([[0, 0, 1]])
    assert confusion(label, truth, SPACE).counts[:2].tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]]
