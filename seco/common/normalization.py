"""Mean and std of RGB: what the user gave, read and brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import describe

Statistic = Sequence[float] | Tensor | Array
Normalization = tuple[Statistic, Statistic]


def mean_and_std(name: str, normalization: object) -> tuple[object, object]:
    """The two parts of a normalization, whatever they are.

    Raises:
        TypeError: not two of them.
    """
    if not isinstance(normalization, (tuple, list)) or len(normalization) != 2:
        raise TypeError(f"{name}: expected (mean, std), got {describe(normalization)}")
    mean, std = normalization
    return mean, std


def read_statistic(name: str, what: str, value: object) -> Tensor:
    """Numbers as a tensor on the CPU, where looking at them stops no device.

    Double precision: 255 times such a number rounds once.

    Raises:
        TypeError: no numbers.
    """
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu()  # before: not every device has double precision
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name}: expected {what} of three numbers, got {describe(value)}"
        ) from error


def rgb_statistics(name: str, mean: object, std: object, *, high: int, instead: str) -> Tensor:
    """Three numbers each, on the scale of a model's pixels; their own size says the given one.

    Args:
        name: the argument's name, for messages.
        mean: of RGB in 0-1 or in 0-255.
        std: on the same scale.
        high: 1 or 255, of the pixels that they are wanted for.
        instead: see :func:`has_unit_scale`.

    Returns:
        (2, 3) float64 on the CPU, mean and std of RGB in 0-``high``.

    Raises:
        TypeError, ValueError: as :func:`read_statistic` and :func:`has_unit_scale`, or not three.

    Example:
        >>> given = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        >>> rgb_statistics("mean, std", *given, high=255, instead="give std 255")
        tensor([[127.5000, 127.5000, 127.5000],
                [ 63.7500,  63.7500,  63.7500]], dtype=torch.float64)
    """
    read = []
    for what, value in (("mean", mean), ("std", std)):
        numbers = read_statistic(name, what, value)
        if numbers.shape != (3,):
            shape = tuple(numbers.shape)
            raise ValueError(f"{name}: expected {what} of three numbers, got shape {shape}")
        read.append(numbers)
    both = torch.stack(read)
    scale = 1 if has_unit_scale(name, *read, instead=instead) else 255
    return both if scale == high else both * high / scale


def has_unit_scale(name: str, mean: Tensor, std: Tensor, *, instead: str) -> bool:
    """Whether a normalization is of RGB in 0-1; if not, it is of RGB in 0-255.

    Args:
        name: the argument's name, for messages.
        mean: of the three channels, in any shape; none exceeds 1 if RGB is in 0-1.
        std: the same; all exceed 1 if RGB is in 0-255.
        instead: what to give for mean 0 with std 1, which could be of either, for messages.

    Raises:
        ValueError: no mean and std that can be, each of another scale, or mean 0 with std 1.

    Example:
        >>> half, fifth = torch.full((3,), 0.5), torch.full((3,), 0.2)
        >>> has_unit_scale("normalization", half, fifth, instead="pass None")
        True
        >>> has_unit_scale("normalization", 255 * half, 255 * fifth, instead="pass None")
        False
    """
    usable = (mean >= 0).all() and (std > 0).all() and torch.isfinite(mean + std).all()
    if not bool(usable):
        raise ValueError(
            f"{name}: expected finite mean >= 0 and std > 0, got {_listed(mean)}, {_listed(std)}"
        )
    unit = bool((mean <= 1).all()) and bool((std <= 1).all())
    # 0.229 with 123.675, or 0.485 with 58.395: each alone says another scale.
    mixed = bool((std < 1).any()) or bool(((mean > 0) & (mean <= 1)).all())
    if not unit and mixed:
        raise ValueError(
            f"{name}: expected mean and std on one scale, 0-1 or 0-255, "
            f"got {_listed(mean)}, {_listed(std)}"
        )
    if unit and bool((mean == 0).all()) and bool((std == 1).all()):
        raise ValueError(
            f"{name}: expected mean and std that tell 0-1 from 0-255, got mean 0, std 1; {instead}"
        )
    return unit


def _listed(statistic: Tensor) -> str:
    return str([round(value, 4) for value in statistic.flatten()[:3].tolist()])
