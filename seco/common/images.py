"""The outer edge: arrays and tensors of every accepted kind in, one kind inside, the same out."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_dense, check_label_map, describe, dtype_name
from seco.common.normalization import (
    Normalization,
    has_unit_scale,
    mean_and_std,
    read_statistic,
)

Map = TypeVar("Map", Array, Tensor)

# How far, on the 0-255 scale, a denormalised image may leave 0-255: resizing with a bicubic
# kernel overshoots by a tenth; a wrong mean or std misses by much more.
_OVERSHOOT = 51.0
# How far a value in 0-1 may leave it: rounding in a resize or a softmax.
ROUNDING = 1e-4


def to_batch(
    img: Array | Tensor,
    *,
    normalization: Normalization | None = None,
    name: str = "img",
    normalizable: bool = True,
) -> Tensor:
    """Bring an RGB image or batch of images into the one form used inside.

    Args:
        img: one of: an (H, W, 3) uint8 array; a (3, H, W) or (B, 3, H, W) tensor, uint8 in
            0-255, or floating point in 0-1, or floating point and normalised.
        normalization: mean and std per channel of a normalised tensor, ``(x - mean) / std``, each
            3 numbers or a tensor of shape (3, 1, 1), (1, 3, 1, 1) or (B, 3, 1, 1). Their own
            size says the scale of x: 0-255 if they exceed 1 (mean 123.675, ..., std 58.395, ...),
            0-1 if they do not (mean 0.485, ..., std 0.229, ...). Mean 0 with std 1 says nothing
            and is refused.
        name: the argument's name, for messages.
        normalizable: whether the caller's caller can give a ``normalization``, for messages.

    Returns:
        (B, 3, H, W) on the device of ``img``, in 0-255: uint8 where ``img`` is, else float32. It
        may share the memory of ``img``: read only.

    Raises:
        TypeError: another kind of object or dtype.
        ValueError: another shape, NaN or infinity, values outside the stated range, or an
            unusable normalization.

    Example:
        >>> to_batch(np.zeros((4, 6, 3), np.uint8)).shape
        torch.Size([1, 3, 4, 6])
        >>> to_batch(torch.full((3, 4, 6), 0.5)).max()
        tensor(127.5000)
        >>> mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        >>> to_batch(torch.zeros(2, 3, 4, 6), normalization=(mean, std))[0, :, 0, 0]
        tensor([123.6750, 116.2800, 103.5300])
    """
    if isinstance(img, np.ndarray):
        if img.dtype != np.uint8:
            raise TypeError(f"{name}: expected a uint8 array or a tensor, got {describe(img)}")
        if img.ndim != 3 or img.shape[2] != 3 or 0 in img.shape:
            raise ValueError(f"{name}: expected an array of shape (H, W, 3), got {img.shape}")
        batch = _from_numpy(img).permute(2, 0, 1)[None]
    elif isinstance(img, Tensor):
        check_dense(name, img)
        if img.dtype != torch.uint8 and not img.dtype.is_floating_point:
            raise TypeError(
                f"{name}: expected a uint8 or floating point tensor, got {describe(img)}"
            )
        if img.ndim not in (3, 4) or img.shape[-3] != 3 or 0 in img.shape:
            raise ValueError(
                f"{name}: expected a tensor of shape (3, H, W) or (B, 3, H, W), "
                f"got {tuple(img.shape)}"
            )
        batch = img.detach().reshape(-1, *img.shape[-3:])
    else:
        raise TypeError(f"{name}: expected a numpy array or a torch tensor, got {describe(img)}")

    if batch.dtype == torch.uint8:
        if normalization is not None:
            raise ValueError("normalization: expected None with a uint8 image, got mean and std")
        return batch
    batch = batch.float()
    if normalization is None:
        low, high = _finite_range(batch, name)
        if low < -ROUNDING or high > 1 + ROUNDING:
            of_normalised = (
                "give normalization=(mean, std) with normalised ones"
                if normalizable
                else "undo the normalisation of normalised ones"
            )
            raise ValueError(
                f"{name}: expected floats in 0-1, got {low:.4g} to {high:.4g}; divide 0-255 images "
                f"by 255 or pass them as uint8, and {of_normalised}"
            )
        batch = batch * 255
        return batch if low >= 0 and high <= 1 else batch.clamp_(0, 255)
    scale, shift = _affine(normalization, batch)
    batch = torch.addcmul(shift, batch, scale)
    low, high = _finite_range(batch, name)
    if low < -_OVERSHOOT or high > 255 + _OVERSHOOT:
        raise ValueError(
            f"{name}: expected 0-255 once the normalization is undone, "
            f"got {low:.4g} to {high:.4g}; is normalization=(mean, std) the one that was applied?"
        )
    return batch.clamp_(0, 255)


def labels_to_batch(pl: Array | Tensor, *, name: str = "pl") -> Tensor:
    """Bring a label map or batch of label maps into the one form used inside.

    Args:
        pl: (H, W) or (B, H, W), any integer dtype or bool, array or tensor.
        name: the argument's name, for messages.

    Returns:
        (B, H, W) int64 on the device of ``pl``. It may share the memory of ``pl``: read only.

    Raises:
        TypeError: neither array nor tensor, or not of an integer dtype.
        ValueError: another shape, or an empty side.

    Example:
        >>> labels_to_batch(np.array([[0, 255]], np.uint8))
        tensor([[[  0, 255]]])
    """
    check_label_map(name, pl)
    if isinstance(pl, np.ndarray):
        pl = _from_numpy(pl.astype(np.int64, copy=False))
    return pl.long().reshape(-1, *pl.shape[-2:])


def restore(labels: Tensor, like: Map) -> Map:
    """Give labels back as the caller passed them; the inverse of :func:`labels_to_batch`.

    Args:
        labels: (B, H, W) int64.
        like: what the caller passed; not read, only its kind, shape, dtype and device.

    Returns:
        The labels with the kind, shape, dtype and device of ``like``, in memory of their own.

    Raises:
        ValueError: the numbers of pixels differ.

    Example:
        >>> restore(torch.tensor([[[0, 255]]]), like=np.zeros((1, 2), np.uint8))
        array([[  0, 255]], dtype=uint8)
    """
    if labels.numel() != (like.size if isinstance(like, np.ndarray) else like.numel()):
        raise ValueError(
            f"labels: expected as many pixels as {tuple(like.shape)}, got {tuple(labels.shape)}"
        )
    if isinstance(like, np.ndarray):
        array: Array = labels.cpu().numpy().reshape(like.shape)
        return array.astype(like.dtype)
    return labels.reshape(like.shape).to(like, copy=True)


def mask_to_batch(name: str, mask: Array | Tensor, like: Tensor) -> Tensor:
    """Bring a mask given beside labels into (B, H, W) bool on the labels' device.

    Args:
        name: the argument's name, for messages.
        mask: (H, W), (B, H, W) or (B, 1, H, W), bool or an integer dtype with only 0 and 1.
        like: the labels, (B, H, W).

    Raises:
        TypeError: another kind of object or dtype.
        ValueError: a size that differs from the labels', or values other than 0 and 1.

    Example:
        >>> mask_to_batch("valid", np.array([[0, 1]], np.uint8), torch.zeros(1, 1, 2))
        tensor([[[False,  True]]])
    """
    batch = _beside(name, mask, like)
    if batch.dtype.is_floating_point or batch.dtype.is_complex:
        raise TypeError(f"{name}: expected bool or 0 and 1 as integers, got {dtype_name(batch)}")
    if batch.dtype != torch.bool and ((batch < 0) | (batch > 1)).any():
        raise ValueError(
            f"{name}: expected only 0 and 1, got {batch.min().item()} to {batch.max().item()}"
        )
    return batch.bool()


def confidence_to_batch(name: str, confidence: Array | Tensor, like: Tensor) -> Tensor:
    """Bring confidences given beside labels into (B, H, W) float32 on the labels' device.

    Args:
        name: the argument's name, for messages.
        confidence: (H, W), (B, H, W) or (B, 1, H, W), floating point in 0-1.
        like: the labels, (B, H, W).

    Raises:
        TypeError: another kind of object or dtype.
        ValueError: a size that differs from the labels', NaN, or values outside 0-1.

    Example:
        >>> confidence_to_batch("confidence", np.array([[0.5, 2.0]]), torch.zeros(1, 1, 2))
        Traceback (most recent call last):
            ...
        ValueError: confidence: expected values in 0-1, got 0.5 to 2
    """
    batch = _beside(name, confidence, like)
    if not batch.dtype.is_floating_point:
        raise TypeError(f"{name}: expected floating point in 0-1, got {dtype_name(batch)}")
    batch = batch.detach().float()
    low, high = _finite_range(batch, name)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"{name}: expected values in 0-1, got {low:.4g} to {high:.4g}")
    return batch if low >= 0 and high <= 1 else batch.clamp(0, 1)


def check_pair(
    img: Array | Tensor, pl: Array | Tensor, *, names: tuple[str, str] = ("img", "pl")
) -> None:
    """Raise unless a label map fits an image: same kind, same size, both single or both batched.

    Raises:
        TypeError: one is an array and the other a tensor, or the image is neither.
        ValueError: the sizes or the batch sizes differ.

    Example:
        >>> check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4), np.uint8))
        Traceback (most recent call last):
            ...
        ValueError: pl: expected shape (4, 6) as img has, got (6, 4)
    """
    if not isinstance(img, (np.ndarray, Tensor)):
        raise TypeError(
            f"{names[0]}: expected a numpy array or a torch tensor, got {describe(img)}"
        )
    if isinstance(img, np.ndarray) != isinstance(pl, np.ndarray):
        raise TypeError(
            f"{names[1]}: expected the same kind of array as {names[0]}, "
            f"got {type(pl).__name__} beside {type(img).__name__}"
        )
    expected = img.shape[:2] if isinstance(img, np.ndarray) else (*img.shape[:-3], *img.shape[-2:])
    if tuple(pl.shape) != tuple(expected):
        raise ValueError(
            f"{names[1]}: expected shape {tuple(expected)} as {names[0]} has, got {tuple(pl.shape)}"
        )


def _beside(name: str, array: Array | Tensor, like: Tensor) -> Tensor:
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name}: expected numbers, got {dtype_name(array)}")
        tensor = _from_numpy(array)
    elif isinstance(array, Tensor):
        check_dense(name, array)
        tensor = array
    else:
        raise TypeError(f"{name}: expected a numpy array or a torch tensor, got {describe(array)}")
    count, height, width = like.shape
    shapes = [(count, height, width), (count, 1, height, width)]
    if count == 1:
        shapes.append((height, width))
    if tuple(tensor.shape) not in shapes:
        raise ValueError(
            f"{name}: expected shape {(height, width) if count == 1 else shapes[0]} "
            f"as the labels have, got {tuple(tensor.shape)}"
        )
    return tensor.reshape(count, height, width).to(like.device)


def _from_numpy(array: Array) -> Tensor:
    """Share the memory where torch can: it takes no negative strides, no read-only arrays."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == np.longdouble:  # more digits than torch knows
        array = array.astype(np.float64)
    return torch.from_numpy(array)


def _finite_range(batch: Tensor, name: str) -> tuple[float, float]:
    low, high = torch.stack(torch.aminmax(batch)).tolist()
    if not (np.isfinite(low) and np.isfinite(high)):  # a NaN anywhere makes both ends NaN
        raise ValueError(f"{name}: expected finite values, got {low} to {high}")
    return low, high


def _affine(normalization: Normalization, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and offset, each (b, 3, 1, 1), that bring a normalised batch to 0-255."""
    given = mean_and_std("normalization", normalization)
    mean, std = (
        _statistic(name, value, batch) for name, value in zip(("mean", "std"), given, strict=True)
    )
    unit = has_unit_scale("normalization", mean, std, instead="pass None for an image in 0-1")
    scale, shift = (std * 255, mean * 255) if unit else (std, mean)
    return scale.to(batch.device), shift.to(batch.device)


def _statistic(name: str, value: object, batch: Tensor) -> Tensor:
    tensor = read_statistic("normalization", name, value).float()
    if tensor.shape in ((3,), (3, 1, 1)):
        tensor = tensor.reshape(1, 3, 1, 1)
    if tensor.ndim != 4 or tensor.shape[1:] != (3, 1, 1) or len(tensor) not in (1, len(batch)):
        raise ValueError(
            f"normalization: expected {name} of shape (3,), (3, 1, 1) or ({len(batch)}, 3, 1, 1), "
            f"got {tuple(tensor.shape)}"
        )
    return tensor
