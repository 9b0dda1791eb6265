"""A denoiser as a plain function, and what its output means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seco.common.checks import check_choice, check_integer, check_number, describe
from seco.common.modules import device_of, dtype_of, without_ddp
from sgg.diffusion.protocol import Prediction
from sgg.diffusion.variance import variance_fraction
from sgg.frozen import frozen

PredictionType = Literal["epsilon", "sample", "v_prediction"]
VarianceType = Literal["fixed_small", "fixed_large", "learned", "learned_range"]

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
VARIANCE_TYPES = ("fixed_small", "fixed_large", "learned", "learned_range")


class CallableDiffusion:
    """A pixel-space diffusion model made of a denoiser and its noise schedule.

    Args:
        denoiser: function or module from ``x_t`` (B, 3, H, W) and steps (B,) int64 to (B, 3, H, W)
            or, with a learned variance, (B, 6, H, W). A module runs in evaluation mode, its
            weights frozen; of one in ``DistributedDataParallel``, the module within.
        alphas_cumprod: (T,) falling, in [0, 1): the share of signal variance after t + 1 steps.
        prediction_type: what the denoiser returns, in the terms of diffusers.
        variance_type: of the ancestral steps; ``"learned"`` is the variance itself (diffusers'
            reading), ``"learned_range"`` -1 to 1 between the small and large log-variance.
        clip_range: ``pred_x0`` is clamped to ``[-clip_range, clip_range]``; not at all if
            ``None``. Where it is, gradients through the denoiser are 0.
        size_multiple: image sides that the denoiser takes are multiples of it.
        device: where the denoiser works; of a module, where its weights are, and of a function,
            the CPU if ``None``.

    Raises:
        TypeError, ValueError: an argument of another kind or range.

    Example:
        >>> model = CallableDiffusion(lambda x_t, t: torch.zeros_like(x_t), [0.64, 0.36])
        >>> model.predict(torch.full((1, 3, 2, 2), 0.3), 1).pred_x0.unique()
        tensor([0.5000])
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor], Tensor],
        alphas_cumprod: object,
        *,
        prediction_type: PredictionType = "epsilon",
        variance_type: VarianceType = "fixed_small",
        clip_range: float | None = None,
        size_multiple: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        if not callable(denoiser):
            raise TypeError(f"denoiser: expected a callable, got {describe(denoiser)}")
        check_choice("prediction_type", prediction_type, PREDICTION_TYPES)
        check_choice("variance_type", variance_type, VARIANCE_TYPES)
        if clip_range is not None:
            check_number("clip_range", clip_range, low=0, low_open=True)
        self.denoiser: Callable[[Tensor, Tensor], Tensor] = without_ddp(denoiser)
        self.prediction_type: PredictionType = prediction_type
        self.variance_type: VarianceType = variance_type
        self.clip_range = clip_range
        self.alphas_cumprod = check_alphas_cumprod(alphas_cumprod)
        self.size_multiple = check_integer("size_multiple", size_multiple, low=1)
        self._device = None if device is None else torch.device(device)

    @property
    def device(self) -> torch.device:
        """See :class:`sgg.diffusion.DiffusionModel`."""
        return device_of(self.denoiser) if self._device is None else self._device

    def to(self, device: torch.device | str) -> CallableDiffusion:
        """Work on another device from now on: move a denoiser that is a module; return itself.

        A function gets its tensors there, and must see to what it holds itself.
        """
        place = torch.device(device)
        if isinstance(self.denoiser, nn.Module):
            self.denoiser.to(place)
        if self._device is not None or self.device != place:
            self._device = None if isinstance(self.denoiser, nn.Module) else place
        return self

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """See :meth:`sgg.diffusion.DiffusionModel.predict`."""
        steps = torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device)
        with frozen(self.denoiser):
            output = self.denoiser(x_t.to(dtype_of(self.denoiser, x_t.dtype)), steps)
        return to_prediction(
            output,
            x_t,
            t,
            self.alphas_cumprod,
            prediction_type=self.prediction_type,
            variance_type=self.variance_type,
            clip_range=self.clip_range,
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return the images: they are the samples."""
        return images

    def decode(self, x_0: Tensor) -> Tensor:
        """Return the samples: they are the images."""
        return x_0


def to_prediction(
    output: Tensor,
    x_t: Tensor,
    t: int,
    alphas_cumprod: Tensor,
    *,
    prediction_type: PredictionType,
    variance_type: VarianceType,
    clip_range: float | None,
) -> Prediction:
    """Read a denoiser's output.

    Args:
        output: (B, C, h, w), or (B, 2C, h, w) where it holds a variance. A second half that
            ``variance_type`` does not speak of is left out, as diffusers does.
        x_t: (B, C, h, w), what the denoiser saw.
        t: the step.
        alphas_cumprod: (T,) float64.
        prediction_type: see :class:`CallableDiffusion`.
        variance_type: see :class:`CallableDiffusion`.
        clip_range: see :class:`CallableDiffusion`.

    Returns:
        Tensors of the dtype of ``x_t``, differentiable.

    Raises:
        TypeError, ValueError: the output is no tensor, or has another shape.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"denoiser: expected a tensor, got {describe(output)}")
    count, channels, *size = x_t.shape
    learned = variance_type in ("learned", "learned_range")
    shapes = [(count, 2 * channels, *size)] + ([] if learned else [(count, channels, *size)])
    if tuple(output.shape) not in shapes:
        raise ValueError(
            f"denoiser: expected an output of shape {' or '.join(map(str, shapes))} with "
            f"variance_type {variance_type!r}, got {tuple(output.shape)}"
        )
    output, values = output.to(x_t.dtype)[:, :channels], output.to(x_t.dtype)[:, channels:]
    a = float(alphas_cumprod[t])
    signal, noise = math.sqrt(a), math.sqrt(1 - a)
    if prediction_type == "epsilon":
        pred_x0, epsilon = (x_t - noise * output) / signal if a else x_t * math.inf, output
    elif prediction_type == "sample":
        pred_x0, epsilon = output, (x_t - signal * output) / noise
    else:
        pred_x0, epsilon = signal * x_t - noise * output, signal * output + noise * x_t
    if clip_range is not None:
        pred_x0 = pred_x0.clamp(-clip_range, clip_range)
        epsilon = (x_t - signal * pred_x0) / noise
    fraction: Tensor | float = 1.0 if variance_type == "fixed_large" else 0.0
    if variance_type == "learned_range":
        fraction = (values + 1) / 2
    elif variance_type == "learned":
        fraction = variance_fraction(values, a, float(alphas_cumprod[t - 1]) if t else 1.0)
    return Prediction(pred_x0, epsilon, fraction)


def check_alphas_cumprod(values: object) -> Tensor:
    """Return a noise schedule as (T,) float64 on the CPU.

    Raises:
        TypeError: no sequence of numbers.
        ValueError: not falling, or outside [0, 1).

    Example:
        >>> check_alphas_cumprod([0.5, 0.9])
        Traceback (most recent call last):
            ...
        ValueError: alphas_cumprod: expected falling values in [0, 1), got 0.5 to 0.9
    """
    if not isinstance(values, (Tensor, np.ndarray, list, tuple)):
        raise TypeError(f"alphas_cumprod: expected a sequence of numbers, got {describe(values)}")
    schedule = torch.as_tensor(values, dtype=torch.float64).detach().cpu()
    if schedule.ndim != 1 or not len(schedule):
        raise ValueError(f"alphas_cumprod: expected shape (T,), got {tuple(schedule.shape)}")
    inside = bool((schedule >= 0).all()) and bool((schedule < 1).all())
    if not inside or not bool((schedule.diff() < 0).all()):
        raise ValueError(
            "alphas_cumprod: expected falling values in [0, 1), "
            f"got {schedule[0].item():g} to {schedule[-1].item():g}"
        )
    return schedule


def check_condition(condition: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return a condition as a dict; the first dimension of its tensors is 1.

    Raises:
        TypeError, ValueError: no mapping from names to such tensors.
    """
    if condition is None:
        return {}
    if not isinstance(condition, Mapping):
        raise TypeError(
            f"condition: expected a mapping from names to tensors, got {describe(condition)}"
        )
    for name, value in condition.items():
        if not isinstance(value, Tensor) or not value.ndim or len(value) != 1:
            raise ValueError(
                f"condition: expected tensors with a first dimension of 1, which all images "
                f"share, got {name}={describe(value)}"
            )
    return dict(condition)


def expand_condition(condition: Mapping[str, Tensor], like: Tensor) -> dict[str, Any]:
    """Repeat a condition for every image of a batch, on its device and in its float dtype."""
    repeated = {}
    for name, value in condition.items():
        dtype = like.dtype if value.is_floating_point() else value.dtype
        repeated[name] = value.to(like.device, dtype).expand(len(like), *value.shape[1:])
    return repeated
