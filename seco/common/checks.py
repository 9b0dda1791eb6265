"""Validators of public arguments: each error names the argument, the expectation and the value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array

if TYPE_CHECKING:
    from seco.common.labels import LabelSpace


def check_number(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return ``value`` as a float if it is a finite real number in the interval.

    Args:
        name: the argument's name, for the message.
        value: what the caller passed; ``bool`` is refused.
        low: lower end of the interval.
        high: upper end of the interval.
        low_open: whether ``low`` itself is refused.
        high_open: whether ``high`` itself is refused.

    Raises:
        TypeError: not a real number.
        ValueError: NaN, infinite or outside the interval.

    Example:
        >>> check_number("tau", 1.5, low=0, high=1)
        Traceback (most recent call last):
            ...
        ValueError: tau: expected a number in [0, 1], got 1.5
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {describe(value)}")
    number = float(value)
    above = number > low if low_open else number >= low
    below = number < high if high_open else number <= high
    if not (math.isfinite(number) and above and below):
        left, right = (
            "(" if low_open or low == -math.inf else "[",
            (")" if high_open or high == math.inf else "]"),
        )
        raise ValueError(f"{name}: expected a number in {left}{low}, {high}{right}, got {value}")
    return number


def check_integer(name: str, value: object, *, low: int | None = None) -> int:
    """Return ``value`` as an int if it is an integer, at least ``low``.

    Raises:
        TypeError: not an integer (``bool`` is refused).
        ValueError: below ``low``.

    Example:
        >>> check_integer("count", 0, low=1)
        Traceback (most recent call last):
            ...
        ValueError: count: expected an integer >= 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {describe(value)}")
    if low is not None and value < low:
        raise ValueError(f"{name}: expected an integer >= {low}, got {value}")
    return int(value)


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    Example:
        >>> check_choice("connectivity", 6, (4, 8))
        Traceback (most recent call last):
            ...
        ValueError: connectivity: expected one of 4, 8, got 6
    """
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        options = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}: expected one of {options}, got {value!r}")


def check_label_map(name: str, label: object, *, batched: bool = True) -> None:
    """Raise unless ``label`` is an integer array or tensor of label map shape, no side empty.

    Args:
        name: the argument's name, for the message.
        label: what the caller passed.
        batched: whether (B, H, W) is right besides (H, W).

    Raises:
        TypeError: neither numpy array nor dense tensor, or not of an integer (or bool) dtype.
        ValueError: another number of dimensions, or a side of length 0.

    Example:
        >>> check_label_map("pl", np.zeros((2, 2)))
        Traceback (most recent call last):
            ...
        TypeError: pl: expected an integer dtype, got float64
    """
    if isinstance(label, Tensor):
        check_dense(name, label)
        integral = not (label.dtype.is_floating_point or label.dtype.is_complex)
    elif isinstance(label, np.ndarray):
        integral = label.dtype.kind in "iub"
    else:
        raise TypeError(f"{name}: expected a numpy array or a torch tensor, got {describe(label)}")
    if not integral:
        raise TypeError(f"{name}: expected an integer dtype, got {dtype_name(label)}")
    if label.ndim not in ((2, 3) if batched else (2,)) or 0 in label.shape:
        shapes = "(H, W) or (B, H, W)" if batched else "(H, W)"
        raise ValueError(
            f"{name}: expected shape {shapes} with no side of length 0, got {tuple(label.shape)}"
        )


def check_dense(name: str, tensor: Tensor) -> None:
    """Raise ``TypeError`` unless a tensor holds a number for each of its elements.

    Example:
        >>> check_dense("pl", torch.zeros(2, 2).to_sparse())
        Traceback (most recent call last):
            ...
        TypeError: pl: expected a dense tensor with values, got a sparse_coo one on cpu
    """
    if tensor.layout != torch.strided or tensor.is_meta:
        layout = str(tensor.layout).removeprefix("torch.")
        raise TypeError(
            f"{name}: expected a dense tensor with values, got a {layout} one on {tensor.device}"
        )


def check_labels(name: str, label: Array | Tensor, space: LabelSpace) -> None:
    """Raise unless every pixel of a label map is a class of ``space`` or its ignore index.

    Args:
        name: the argument's name, for the message.
        label: (H, W) or (B, H, W), integer array or tensor.
        space: the classes and the ignore index.

    Raises:
        TypeError: not an array or tensor, or not of an integer dtype.
        ValueError: another shape, a dtype that cannot hold the ignore index or the last class, or
            an id that is neither a class nor the ignore index.

    Example:
        >>> from seco.common.labels import LabelSpace
        >>> space = LabelSpace(names=("road", "sky"))
        >>> check_labels("pl", np.array([[0, 1], [255, 7]]), space)
        Traceback (most recent call last):
            ...
        ValueError: pl: expected class ids 0..1 or ignore_index 255, got 7
    """
    check_label_map(name, label)
    check_holds_ignore(name, label, space.ignore_index)
    count, ignore = space.num_classes, space.ignore_index
    if np.iinfo(dtype_name(label)).max < count - 1:  # what it is refined to must fit, too
        raise ValueError(
            f"{name}: expected a dtype that can hold class {count - 1}, got {dtype_name(label)}"
        )
    if isinstance(label, Tensor) and dtype_name(label) in ("uint16", "uint32", "uint64"):
        label = label.long()  # torch has neither minimum nor comparison for these
    # of a tensor both ends at once: each look at one makes the host wait for its device
    ends = torch.stack(torch.aminmax(label)).tolist() if isinstance(label, Tensor) else None
    low, high = (label.min(), label.max()) if ends is None else ends
    if low >= 0 and high < count:
        return
    if isinstance(label, Tensor):
        label = label.long()  # torch compares in the tensor's dtype, where count may not fit
    wrong = ((label < 0) | (label >= count)) & (label != ignore)
    if wrong.any():
        values = sorted(set(label[wrong].tolist()))
        listed = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        raise ValueError(
            f"{name}: expected class ids 0..{count - 1} or ignore_index {ignore}, got {listed}"
        )


def check_holds_ignore(name: str, label: Array | Tensor, ignore_index: int) -> None:
    """Raise ``ValueError`` if the dtype of ``label`` cannot hold ``ignore_index``.

    Example:
        >>> check_holds_ignore("pl", np.zeros((2, 2), np.uint8), -1)
        Traceback (most recent call last):
            ...
        ValueError: pl: expected a dtype that can hold ignore_index -1, got uint8
    """
    name_of_dtype = dtype_name(label)
    holds = name_of_dtype != "bool"
    if holds:
        limits = np.iinfo(name_of_dtype)
        holds = limits.min <= ignore_index <= limits.max
    if not holds:
        raise ValueError(
            f"{name}: expected a dtype that can hold ignore_index {ignore_index}, "
            f"got {name_of_dtype}"
        )


def dtype_name(array: Array | Tensor) -> str:
    """Return the dtype's name without its library: ``uint8``, ``float32``, ..."""
    return str(array.dtype).removeprefix("torch.")


def describe(value: object) -> str:
    """Return type and, where it is short, value of an argument, for an error message."""
    kind = type(value).__name__
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{kind} of shape {tuple(value.shape)} and dtype {dtype_name(value)}"
    text = repr(value)
    return f"{kind} {text}" if len(text) <= 40 else kind
