from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seco.common.checks import (
    check_choice,
    check_holds_ignore,
    check_integer,
    check_label_map,
    check_labels,
    check_number,
)
from seco.common.labels import LabelSpace

SPACE = LabelSpace(names=("road", "sky", "car"))
KINDS = (np.asarray, torch.as_tensor)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint16"])
def test_labels_of_every_kind_pass(kind, shape, dtype):
    label = np.zeros(shape, dtype)
    check_labels("pl", kind(label), SPACE)
    label.flat[-1] = 2
    check_labels("pl", kind(label), SPACE)
    label.flat[-1] = 255
    check_labels("pl", kind(label), SPACE)
    label.flat[-1] = 3
    with pytest.raises(
        ValueError, match=r"pl: expected class ids 0\.\.2 or ignore_index 255, got 3"
    ):
        check_labels("pl", kind(label), SPACE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ignore_index", [-1, 250, 255, 3, 1000])
def test_ids_next_to_the_ignore_index_are_refused(kind, ignore_index):
    space = LabelSpace(names=SPACE.names, ignore_index=ignore_index)
    check_labels("pl", kind(np.array([[0, ignore_index, 2]])), space)
    for wrong in {-2, -1, 3, 249, 254, 255, 256} - {ignore_index}:
        with pytest.raises(ValueError, match=rf"got {wrong}$"):
            check_labels("pl", kind(np.array([[0, ignore_index, wrong]])), space)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_labels_say_what_was_expected(kind):
    with pytest.raises(TypeError, match="pl: expected an integer dtype, got float32"):
        check_labels("pl", kind(np.zeros((2, 2), np.float32)), SPACE)
    for shape in [(4,), (1, 1, 2, 2), (0, 3), (3, 0)]:
        with pytest.raises(ValueError, match=r"pl: expected shape \(H, W\) or \(B, H, W\)"):
            check_labels("pl", kind(np.zeros(shape, np.int64)), SPACE)
    with pytest.raises(ValueError, match="dtype that can hold ignore_index 255, got bool"):
        check_labels("pl", kind(np.zeros((2, 2), bool)), SPACE)
    with pytest.raises(ValueError, match="dtype that can hold ignore_index 255, got int8"):
        check_labels("pl", kind(np.zeros((2, 2), np.int8)), SPACE)
    with pytest.raises(ValueError, match="dtype that can hold ignore_index -1, got uint8"):
        check_holds_ignore("pl", kind(np.zeros((2, 2), np.uint8)), -1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dtype_too_small_for_the_classes_is_refused(kind):
    """As int8, 150 is -106: compared in it, nothing of this would be noticed."""
    space = LabelSpace(names=tuple(map(str, range(150))), ignore_index=-1)
    label = np.array([[0, 127, -1]])
    with pytest.raises(ValueError, match=r"^pl: .* dtype that can hold class 149, got int8"):
        check_labels("pl", kind(label.astype(np.int8)), space)
    check_labels("pl", kind(label.astype(np.int16)), space)
    # the last class fits, the number of classes does not
    space = LabelSpace(names=space.names[:128], ignore_index=-1)
    check_labels("pl", kind(label.astype(np.int8)), space)
    with pytest.raises(ValueError, match=r"got -2$"):
        check_labels("pl", kind(label.astype(np.int8) - np.int8(label == -1)), space)


def test_many_wrong_ids_are_not_all_listed():
    with pytest.raises(ValueError, match=r"got 3, 4, 5, 6, 7, \.\.\.$"):
        check_labels("pl", np.arange(20).reshape(4, 5), SPACE)


@pytest.mark.parametrize("other", [[[0, 1]], None, "label", 3])
def test_neither_array_nor_tensor(other):
    with pytest.raises(TypeError, match="pl: expected a numpy array or a torch tensor, got"):
        check_label_map("pl", other)


def test_tensors_without_values():
    for label in (torch.ones(2, 2).long().to_sparse(), torch.zeros(2, 2, device="meta").long()):
        with pytest.raises(TypeError, match="pl: expected a dense tensor with values, got a s"):
            check_labels("pl", label, SPACE)


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.25), np.int64(1)])
def test_numbers_in_the_interval_pass(value):
    assert check_number("tau", value, low=0, high=1) == float(value)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_numbers_outside_are_refused(value):
    with pytest.raises(ValueError, match=r"tau: expected a number in \[0, 1\], got"):
        check_number("tau", value, low=0, high=1)


def test_open_ends_and_types():
    with pytest.raises(ValueError, match=r"in \(0, 1\], got 0"):
        check_number("tau", 0, low=0, high=1, low_open=True)
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1"):
        check_number("tau", 1, low=0, high=1, high_open=True)
    with pytest.raises(ValueError, match=r"in \[0, inf\), got inf"):
        check_number("tau", math.inf, low=0)
    for value in (True, "0.5", None, np.zeros(1)):
        with pytest.raises(TypeError, match="tau: expected a number, got"):
            check_number("tau", value)
    for value in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match="count: expected an integer, got"):
            check_integer("count", value)
    assert check_integer("count", np.uint8(3), low=3) == 3
    with pytest.raises(ValueError, match="count: expected an integer >= 4, got 3"):
        check_integer("count", 3, low=4)


def test_choices():
    check_choice("outside", "keep", ("ignore", "keep"))
    with pytest.raises(ValueError, match="outside: expected one of 'ignore', 'keep', got 'drop'"):
        check_choice("outside", "drop", ("ignore", "keep"))
    with pytest.raises(ValueError, match="connectivity"):
        check_choice("connectivity", True, (1, 2))
    with pytest.raises(ValueError, match="method"):
        check_choice("method", ["centre"], ("centre",))
