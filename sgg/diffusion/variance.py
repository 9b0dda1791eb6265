"""The variance of a reverse step, and the fraction that says it whatever the step's length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Of a variance, so that its logarithm exists; a step into x_0 has none.
_SMALLEST = 1e-20


def step_variance(
    fraction: Tensor | float, alpha_cumprod: float, alpha_cumprod_prev: float
) -> Tensor | float:
    """Variance of a reverse step of any length.

    Args:
        fraction: see :class:`sgg.diffusion.Prediction`.
        alpha_cumprod: at the present step.
        alpha_cumprod_prev: at the step to go to; into ``x_0`` (1), the small variance is 0, up to
            1e-20 where it is interpolated with the large one.

    Example:
        >>> step_variance(0.0, 0.5, 0.75), step_variance(1.0, 0.5, 0.75)
        (0.16666666666666669, 0.33333333333333337)
    """
    small, large = _ends(alpha_cumprod, alpha_cumprod_prev)
    if not isinstance(fraction, Tensor) and fraction in (0.0, 1.0):
        return large if fraction else small
    low, high = (math.log(max(value, _SMALLEST)) for value in (small, large))
    exponent = low + fraction * (high - low)
    return torch.exp(exponent) if isinstance(exponent, Tensor) else math.exp(exponent)


def variance_fraction(variance: Tensor, alpha_cumprod: float, alpha_cumprod_prev: float) -> Tensor:
    """The fraction of which a variance is the :func:`step_variance`; at least of 1e-20.

    Args:
        variance: of any shape.
        alpha_cumprod: at the present step.
        alpha_cumprod_prev: at the step to go to.

    Example:
        >>> variance = step_variance(torch.tensor([0.25]), 0.5, 0.75)
        >>> variance_fraction(variance, 0.5, 0.75)
        tensor([0.2500])
    """
    ends = _ends(alpha_cumprod, alpha_cumprod_prev)
    low, high = (math.log(max(value, _SMALLEST)) for value in ends)
    return (variance.clamp(min=_SMALLEST).log() - low) / (high - low)


def _ends(alpha_cumprod: float, alpha_cumprod_prev: float) -> tuple[float, float]:
    """The small and the large variance."""
    large = 1 - alpha_cumprod / alpha_cumprod_prev
    return (1 - alpha_cumprod_prev) / (1 - alpha_cumprod) * large, large
