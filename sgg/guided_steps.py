"""What a reverse step is told: the denoiser's prediction and the labels' gradient at ``x_t``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.checks import check_choice, check_number
from seco.common.precision import exact
from sgg.diffusion.protocol import DiffusionModel, Prediction
from sgg.guidance import Segment, find_labelled, gradient_by_windows, gradient_of_labelled
from sgg.options import GuidanceInput
from sgg.sampling import Predict
from sgg.settings import GuidanceSettings
from sgg.windows import region_windows


def label_guidance(
    model: DiffusionModel,
    segment: Segment,
    labels: Tensor,
    *,
    guidance: Literal["sgg", "local", "global"] = "sgg",
    guidance_scale: float = 1.0,
    guidance_input: GuidanceInput = "pred_x0",
    ignore_index: int = 255,
    settings: GuidanceSettings = GuidanceSettings(),
) -> Predict:
    """Make what :func:`sgg.reverse_process` asks at each step: a prediction guided by labels.

    Args:
        model: the diffusion model.
        segment: images (N, 3, H, W) in [-1, 1] to logits, such as an :class:`sgg.Segmenter`.
        labels: (B, H, W) int64 of the size of the model's images, on their device.
        guidance: ``"local"`` or ``"global"`` at every step, or ``"sgg"``, in turn.
        guidance_scale: factor on the gradient.
        guidance_input: see :func:`guided_prediction`.
        ignore_index: pixels of it are not guided.
        settings: the finer choices.

    Example:
        >>> from sgg import CallableDiffusion, reverse_process
        >>> model = CallableDiffusion(lambda x_t, t: torch.zeros_like(x_t), [0.9, 0.5])
        >>> labels = torch.ones(1, 4, 6, dtype=torch.int64)
        >>> predict = label_guidance(model, lambda x: x[:, :2], labels)
        >>> found = reverse_process(torch.zeros(1, 3, 4, 6), [1, 0], [0.9, 0.5], predict)
        >>> found[0, :, 0, 0].sign()  # of the three channels, more of the second
        tensor([-1.,  1.,  0.])
    """
    labelled = (labels != ignore_index)[:, None].float()
    odd_steps = "global" if settings.even_steps == "local" else "local"
    by_parity = (settings.even_steps, odd_steps) if guidance == "sgg" else (guidance, guidance)
    options: dict[str, Any] = {
        "labels": labels,
        "segment": segment,
        "ignore_index": ignore_index,
        "reduction": settings.reduction,
        "class_weights": settings.class_weights,
        "max_copies": settings.max_copies,
    }
    # What the labels alone say is found here: each look at them waits for the GPU.
    gradients: dict[str, Callable[[Tensor], Tensor]] = {}
    if "local" in by_parity:
        windows = region_windows(labels, ignore_index=ignore_index, margin=settings.crop_margin)
        gradients["local"] = partial(gradient_by_windows, windows=windows, **options)
    if "global" in by_parity:
        known = find_labelled(labels, ignore_index=ignore_index)
        gradients["global"] = partial(gradient_of_labelled, known=known, **options)

    def predict(x_t: Tensor, t: int, to_go: int) -> tuple[Prediction, Tensor | None]:
        guided_before_the_last, unguided = divmod(to_go - 1, settings.interval)
        if unguided:
            return model.predict(x_t, t), None
        guided_to_go = guided_before_the_last + 1
        prediction, gradient = guided_prediction(
            model,
            x_t,
            t,
            gradients[by_parity[guided_to_go % 2]],
            guidance_input=guidance_input,
            differentiate_denoiser=settings.differentiate_denoiser,
        )
        # Decoder and denoiser carry gradients to where nothing is labelled. A latent cell is
        # guided as far as it is labelled.
        height, width = gradient.shape[-2:]
        gradient = gradient * F.adaptive_avg_pool2d(labelled, (height, width))
        gradient = limit_gradient(
            gradient, normalization=settings.normalization, clip=settings.clip
        )
        return prediction, guidance_scale * gradient

    return predict


def guided_prediction(
    model: DiffusionModel,
    x_t: Tensor,
    t: int,
    image_gradient: Callable[[Tensor], Tensor],
    *,
    guidance_input: GuidanceInput = "x_t",
    differentiate_denoiser: bool = False,
) -> tuple[Prediction, Tensor]:
    """Predict at step ``t``, and bring the gradient that an image gets back to ``x_t``.

    The gradients of all regions are summed on the image and go through decoder and denoiser
    together. For a pixel-space model with ``"x_t"``, this is the paper's form; with a decoder, a
    region's gradient may so act on latents beside the region.

    Args:
        model: the diffusion model.
        x_t: (B, C, h, w) samples at step ``t``.
        t: the step.
        image_gradient: images (B, 3, H, W) to the gradient of a loss with respect to them.
        guidance_input: the segmenter sees the noisy ``"x_t"`` (paper) or ``"pred_x0"``.
        differentiate_denoiser: with ``"pred_x0"``, whether the gradient goes through the denoiser
            or takes its noise estimate as constant: d pred_x0 / d x_t = 1 / sqrt(alpha_cumprod).

    Returns:
        The prediction, detached, and the gradient with respect to ``x_t``.

    Raises:
        ValueError: an unknown option, or a denoiser to differentiate that is not asked.
    """
    check_choice("guidance_input", guidance_input, ("x_t", "pred_x0"))
    if differentiate_denoiser and guidance_input == "x_t":
        raise ValueError(
            "differentiate_denoiser: expected False with guidance_input 'x_t', where the segmenter "
            "does not see what the denoiser says, got True"
        )
    with torch.set_grad_enabled(differentiate_denoiser):
        leaf = x_t.detach().requires_grad_(differentiate_denoiser)
        predicted = model.predict(leaf, t)
    seen = predicted.pred_x0 if guidance_input == "pred_x0" else x_t
    if not differentiate_denoiser:
        leaf = seen = seen.detach().requires_grad_(True)
    with torch.enable_grad():
        images = model.decode(seen)
    slopes = image_gradient(images.detach())
    # A mean over pixels has gradients that vanish in half precision: decoder and denoiser get them
    # with a largest value of about 1. By powers of two, so that float32 rounds as without it.
    size = _power_of_two_above(slopes.abs().amax((1, 2, 3), keepdim=True))
    # In the caller's autocast, matrix products would be differentiated in half precision even where
    # they were computed in float32.
    with exact(x_t.device):
        (gradient,) = torch.autograd.grad(images, leaf, slopes / size)
    gradient = gradient * size
    if guidance_input == "pred_x0" and not differentiate_denoiser:
        gradient = gradient / math.sqrt(float(model.alphas_cumprod[t]))
    return _detached(predicted), gradient


def limit_gradient(
    gradient: Tensor,
    *,
    normalization: Literal["none", "rms"] = "none",
    clip: float | None = None,
) -> Tensor:
    """Rescale a gradient per image and bound its values; neither is in the paper.

    Args:
        gradient: (B, C, h, w).
        normalization: ``"rms"`` divides each image's gradient by the root mean square of those of
            its values that are not 0, so that guidance is as strong at every step.
        clip: values are then limited to ``[-clip, clip]``.

    Raises:
        TypeError, ValueError: an option of another kind or range.

    Example:
        >>> gradient = torch.tensor([0.0, 3.0, -4.0]).reshape(1, 3, 1, 1)
        >>> limit_gradient(gradient, normalization="rms", clip=1.0).flatten()
        tensor([ 0.0000,  0.8485, -1.0000])
    """
    check_choice("normalization", normalization, ("none", "rms"))
    if normalization == "rms":
        count = (gradient != 0).flatten(1).sum(1).clamp(min=1)
        rms = (gradient.flatten(1).square().sum(1) / count).sqrt()
        gradient = gradient / torch.where(rms > 0, rms, 1)[:, None, None, None]
    if clip is not None:
        limit = check_number("clip", clip, low=0, low_open=True)
        gradient = gradient.clamp(-limit, limit)
    return gradient


def _power_of_two_above(values: Tensor) -> Tensor:
    """The next power of two above positive values; 1 for what has none."""
    power = values / torch.frexp(values).mantissa
    return torch.where((power > 0) & torch.isfinite(power), power, 1)


def _detached(prediction: Prediction) -> Prediction:
    fraction = prediction.variance_fraction
    return replace(
        prediction,
        pred_x0=prediction.pred_x0.detach(),
        epsilon=prediction.epsilon.detach(),
        variance_fraction=fraction.detach() if isinstance(fraction, Tensor) else fraction,
    )
