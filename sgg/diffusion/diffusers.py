"""diffusers: a pipeline, or a network with the scheduler it was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from seco.common.checks import check_choice, check_integer, describe
from seco.common.modules import device_of, dtype_of, without_ddp
from sgg.diffusion.callables import (
    PREDICTION_TYPES,
    VARIANCE_TYPES,
    PredictionType,
    VarianceType,
    check_alphas_cumprod,
    check_condition,
    expand_condition,
    to_prediction,
)
from sgg.diffusion.latent import LatentDiffusion
from sgg.diffusion.protocol import DiffusionModel, Prediction
from sgg.diffusion.tiling import tile_size_of
from sgg.frozen import frozen

# Parts of the names of schedulers whose models are of another kind, though some of them keep an
# ``alphas_cumprod``.
_OTHER_KINDS = {
    "EDM": "EDM",
    "Flow": "flow matching",
    "LCM": "consistency distillation",
    "TCD": "consistency distillation",
    "Consistency": "consistency distillation",
    "SdeVe": "variance exploding",
}


class DiffusersDiffusion:
    """A diffusers network with the noise schedule of a scheduler, in its own space.

    Of the scheduler only the settings that training fixed are read (``alphas_cumprod``,
    ``prediction_type``, ``variance_type``, clipping of ``pred_x0``); it takes no steps, so its
    kind of sampler and its state do not matter.

    Args:
        unet: ``UNet2DModel``, ``UNet2DConditionModel`` or a module with their call; of one in
            ``DistributedDataParallel``, the module within. An output of twice the channels holds a
            variance; it is used if the scheduler's ``variance_type`` is ``"learned"`` or
            ``"learned_range"``.
        scheduler: DDPM, DDIM, PNDM, Euler, DPM-Solver, ... for such a network.
        condition: what else the network takes, by name (``encoder_hidden_states``,
            ``class_labels``); tensors with a first dimension of 1, the same for all images.
        size_multiple: the sides of samples are multiples of it; told by the network's
            ``config.block_out_channels`` if ``None``, and 1 without that.

    Raises:
        TypeError: no network or no scheduler.
        ValueError: a kind of model that is not supported, by name; or a missing condition.
    """

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        *,
        condition: Mapping[str, Tensor] | None = None,
        size_multiple: int | None = None,
    ) -> None:
        unet = without_ddp(unet)
        if not callable(unet) or isinstance(unet, type):
            raise TypeError(f"diffusion: expected a network, got {describe(unet)}")
        settings = _settings(scheduler)
        self.unet = unet
        self.prediction_type, self.variance_type, self.clip_range = settings
        self.condition = check_condition(condition)
        _check_conditions(unet, self.condition)
        self.alphas_cumprod = check_alphas_cumprod(scheduler.alphas_cumprod)
        self.size_multiple = (
            _downsampling(unet)
            if size_multiple is None
            else check_integer("size_multiple", size_multiple, low=1)
        )
        size = getattr(getattr(unet, "config", None), "sample_size", None)
        self.tile_size = tile_size_of(unet, size)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return device_of(self.unet)

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """See :meth:`sgg.diffusion.DiffusionModel.predict`."""
        x = x_t.to(dtype_of(self.unet, x_t.dtype))
        steps = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        with frozen(self.unet):
            output = self.unet(x, steps, **expand_condition(self.condition, x))
        return to_prediction(
            getattr(output, "sample", output),
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


def from_diffusers(
    diffusion: Any, *, condition: Mapping[str, Tensor] | None = None
) -> DiffusionModel:
    """Wrap a diffusers pipeline or its parts; no library is imported for that.

    Args:
        diffusion: a pipeline with ``.unet`` and ``.scheduler``, in latent space if it has a
            ``.vae`` or ``.vqvae``; or ``(unet, scheduler)`` or ``(unet, scheduler, vae)``.
        condition: what a conditioned network takes beside sample and step, by name, for example
            ``{"encoder_hidden_states": pipe.encode_prompt(prompt, device, 1, False)[0]}``.

    Raises:
        TypeError: no pipeline or such parts.
        ValueError: a kind of model that is not supported, by name; or a missing condition.
    """
    if isinstance(diffusion, (tuple, list)) and len(diffusion) in (2, 3):
        unet, scheduler, vae = (*diffusion, None)[:3]
    else:
        unet, scheduler = (getattr(diffusion, name, None) for name in ("unet", "scheduler"))
        vae = getattr(diffusion, "vae", None) or getattr(diffusion, "vqvae", None)
        if scheduler is not None:
            _settings(scheduler)  # says more of a flow matching pipeline than its lack of a unet
        if unet is None or scheduler is None:
            raise TypeError(
                "diffusion: expected a diffusers pipeline with unet and scheduler, "
                f"got {describe(diffusion)}"
            )
    model = DiffusersDiffusion(unet, scheduler, condition=condition)
    expected = 3 if vae is None else getattr(vae.config, "latent_channels", None)
    channels = getattr(getattr(model.unet, "config", None), "in_channels", expected)
    if expected is not None and channels != expected:
        raise ValueError(
            f"diffusion: expected a unet of {expected} input channels, "
            f"{'RGB' if vae is None else 'those of the vae'}, got {channels}"
        )
    return model if vae is None else LatentDiffusion(model, vae)


def _settings(scheduler: Any) -> tuple[PredictionType, VarianceType, float | None]:
    """Prediction type, variance type and range of clipping, where the kind is supported."""
    name = type(scheduler).__name__
    kind = next((kind for part, kind in _OTHER_KINDS.items() if part in name), None)
    config = getattr(scheduler, "config", None)

    def setting(key: str, default: Any = None) -> Any:
        found = config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)
        return default if found is None else found

    if setting("use_flow_sigmas", False) or setting("prediction_type") == "flow_prediction":
        kind = "flow matching"
    if setting("timestep_type") == "continuous":
        kind = "EDM"
    if kind is not None:
        raise ValueError(
            f"diffusion: expected a variance-preserving model with discrete steps (DDPM, DDIM, "
            f"...), got {name}, {kind}, which is not supported"
        )
    if config is None or not hasattr(scheduler, "alphas_cumprod"):
        raise TypeError(
            f"diffusion: expected a diffusers scheduler with alphas_cumprod, got {name}"
        )
    prediction_type = setting("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"diffusion: expected a prediction_type out of {', '.join(PREDICTION_TYPES)}, "
            f"got {prediction_type!r} of {name}"
        )
    if setting("thresholding", False):
        raise ValueError(
            f"diffusion: expected no dynamic thresholding, which is not supported, got {name} "
            "with thresholding=True"
        )
    # The ending "_log" says how diffusers computes a variance, not which one.
    variance_type = str(setting("variance_type", "fixed_small")).removesuffix("_log")
    check_choice("diffusion: the scheduler's variance_type", variance_type, VARIANCE_TYPES)
    clip = float(setting("clip_sample_range", 1.0)) if setting("clip_sample", False) else None
    return cast(PredictionType, prediction_type), cast(VarianceType, variance_type), clip


def _check_conditions(unet: Any, condition: Mapping[str, Tensor]) -> None:
    config: Any = getattr(unet, "config", None)
    if getattr(config, "addition_embed_type", None) is not None:
        raise ValueError(
            f"diffusion: expected a network without additional embeddings, got "
            f"{type(unet).__name__} with addition_embed_type {config.addition_embed_type!r} "
            "(SDXL), which is not supported"
        )
    needed = []
    forward = inspect.signature(getattr(unet, "forward", unet)).parameters
    encoder = forward.get("encoder_hidden_states")
    if encoder is not None and encoder.default is inspect.Parameter.empty:
        needed.append("encoder_hidden_states")
    if any(getattr(config, n, None) is not None for n in ("num_class_embeds", "class_embed_type")):
        needed.append("class_labels")
    missing = [name for name in needed if name not in condition]
    if missing:
        raise ValueError(
            f"diffusion: expected {' and '.join(missing)} for {type(unet).__name__}, which is "
            "conditioned, got none; wrap it: "
            f"sgg.from_diffusers(pipeline, condition={{{missing[0]!r}: tensor}}); for a command, "
            "in a function that returns it: --diffusion package.module:function"
        )


def _downsampling(unet: Any) -> int:
    blocks = getattr(getattr(unet, "config", None), "block_out_channels", None)
    return 1 if blocks is None else int(2 ** (len(blocks) - 1))
