"""OpenAI's guided-diffusion and its many relatives: a model with a ``GaussianDiffusion``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seco.common.checks import check_choice, check_integer, describe
from seco.common.modules import device_of, without_ddp
from sgg.diffusion.callables import check_alphas_cumprod, check_condition, expand_condition
from sgg.diffusion.protocol import Prediction
from sgg.diffusion.tiling import tile_size_of
from sgg.frozen import frozen


class GuidedDiffusion:
    """A guided-diffusion (or improved-diffusion) pair of model and diffusion.

    Steps are those of ``diffusion``: of a respaced one (``SpacedDiffusion``), a step is an index
    into the kept ones, and ``strength`` a share of these.

    Args:
        model: ``UNetModel``; it is called by ``diffusion.p_mean_variance``, in evaluation mode. Of
            one in ``DistributedDataParallel``, the module within.
        diffusion: ``GaussianDiffusion`` or ``SpacedDiffusion``, predicting the noise or ``x_0``.
        condition: ``{"y": class}`` of a class-conditional model, a (1,) int64 tensor.
        clip_denoised: clamp ``pred_x0`` to [-1, 1], as its own scripts do.
        size_multiple: the sides of images are multiples of it; told by ``model.channel_mult`` if
            ``None``, and 1 without that.

    Raises:
        TypeError: no such pair.
        ValueError: a diffusion that predicts x_{t-1}, or a class-conditional model without a
            class.
    """

    def __init__(
        self,
        model: Any,
        diffusion: Any,
        *,
        condition: Mapping[str, Tensor] | None = None,
        clip_denoised: bool = True,
        size_multiple: int | None = None,
    ) -> None:
        model = without_ddp(model)
        if not callable(model) or not is_gaussian_diffusion(diffusion):
            raise TypeError(
                "diffusion: expected guided-diffusion's model and GaussianDiffusion, "
                f"got {describe(model)} and {describe(diffusion)}"
            )
        kind = _name(diffusion, "model_mean_type")
        if kind not in ("EPSILON", "START_X"):
            raise ValueError(
                "diffusion: expected a model that predicts EPSILON or START_X, "
                f"got {kind}, which is not supported"
            )
        check_choice("clip_denoised", clip_denoised, (False, True))
        self.model = model
        self.diffusion = diffusion
        self.condition = check_condition(condition)
        if getattr(model, "num_classes", None) is not None and "y" not in self.condition:
            raise ValueError(
                f"condition: expected a class, {{'y': tensor([...])}}, for a model of "
                f"{model.num_classes} classes, got none"
            )
        self.clip_denoised = clip_denoised
        self.alphas_cumprod = check_alphas_cumprod(diffusion.alphas_cumprod)
        levels = getattr(model, "channel_mult", None)
        self.size_multiple = 1 if levels is None else 2 ** (len(levels) - 1)
        if size_multiple is not None:
            self.size_multiple = check_integer("size_multiple", size_multiple, low=1)
        self.tile_size = tile_size_of(model, getattr(model, "image_size", None))

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return device_of(self.model)

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """See :meth:`sgg.diffusion.DiffusionModel.predict`."""
        # Its half precision models convert their input themselves, and back.
        x = x_t.float() if isinstance(self.model, nn.Module) else x_t
        steps = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        with frozen(self.model):
            found = self.diffusion.p_mean_variance(
                self.model,
                x,
                steps,
                clip_denoised=self.clip_denoised,
                model_kwargs=expand_condition(self.condition, x),
            )
        pred_x0 = found["pred_xstart"].to(x_t.dtype)
        a = float(self.alphas_cumprod[t])
        epsilon = (x_t - math.sqrt(a) * pred_x0) / math.sqrt(1 - a)
        return Prediction(pred_x0, epsilon, self._fraction(found, t, x_t.dtype))

    def encode(self, images: Tensor) -> Tensor:
        """Return the images: they are the samples."""
        return images

    def decode(self, x_0: Tensor) -> Tensor:
        """Return the samples: they are the images."""
        return x_0

    def _fraction(self, found: Any, t: int, dtype: torch.dtype) -> Tensor | float:
        fixed = {"FIXED_SMALL": 0.0, "FIXED_LARGE": 1.0}
        kind = _name(self.diffusion, "model_var_type")
        if kind in fixed:
            return fixed[kind]
        small = float(self.diffusion.posterior_log_variance_clipped[t])
        large = math.log(float(self.diffusion.betas[t]))
        fraction: Tensor = (found["log_variance"] - small) / (large - small)
        return fraction.to(dtype)


def is_gaussian_diffusion(obj: object) -> bool:
    """Whether an object has guided-diffusion's interface of a diffusion process."""
    return not isinstance(obj, type) and all(
        hasattr(obj, name) for name in ("p_mean_variance", "alphas_cumprod", "betas")
    )


def _name(diffusion: Any, attribute: str) -> str:
    return str(getattr(getattr(diffusion, attribute, None), "name", None))
