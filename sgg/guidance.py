"""Label guidance: where the segmenter's loss on the source label rises, by region and as a whole.

Source: Peng et al., "Diffusion-based Image Translation with Label Guidance for Domain Adaptive
Semantic Segmentation", ICCV 2023: Local Class-regional Guidance (LCG) and Global Scene-harmonious
Guidance (GSG).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.checks import check_choice, check_integer, check_number, describe
from sgg.diffusion.protocol import DiffusionModel, Prediction

Segment = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) in [-1, 1], possibly noisy and beyond, to logits (N, K, h, w)."""

Reduction = Literal["sum", "mean"]


def local_gradient(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    *,
    ignore_index: int = 255,
    reduction: Reduction = "sum",
    class_weights: Sequence[float] | Tensor | None = None,
    max_copies: int = 8,
) -> Tensor:
    """Gradient of the class-regional losses, every class seen alone in its region (LCG).

    For each class c present in an image, with region m_c, the segmenter sees ``image * m_c`` and
    only the pixels of m_c count. All classes of all images are one batch of copies, in chunks;
    no copy sees another, so each gradient is the one the class would get alone.

    Args:
        images: (B, 3, H, W) floating point in [-1, 1] or noisy; 0 is what regions are blanked to.
        labels: (B, H, W) int64 class ids or ``ignore_index``.
        segment: images to logits, differentiable, each image by itself; any stride, the logits
            are enlarged (bilinear) to the labels' size.
        ignore_index: pixels of it neither count nor are guided.
        reduction: ``"sum"`` of the pixels' cross-entropies, the negative log-likelihood of the
            label (the paper does not say), or ``"mean"`` over each region.
        class_weights: K factors on the classes' losses.
        max_copies: most images in one forward and backward of the segmenter; bounds memory.

    Returns:
        (B, 3, H, W): the sum over c of m_c times the gradient of class c's loss.

    Raises:
        TypeError, ValueError: another shape, dtype or option, or a class the segmenter lacks.

    Example:
        >>> images, labels = torch.zeros(1, 3, 4, 6), torch.full((1, 4, 6), 255)
        >>> labels[:, :2] = 1
        >>> local_gradient(images, labels, lambda x: x[:, :2])[0, :2, :, 0].tolist()
        [[0.5, 0.5, 0.0, 0.0], [-0.5, -0.5, 0.0, 0.0]]
    """
    _check(images, labels, reduction, max_copies)
    gradient = torch.zeros_like(images)
    rows, classes = _regions(labels, ignore_index)
    for start in range(0, len(rows), max_copies):
        index, ids = rows[start : start + max_copies], classes[start : start + max_copies]
        region = labels[index] == ids[:, None, None]
        mask = region[:, None]
        own = _loss_gradient(
            torch.where(mask, images[index], 0),
            torch.where(region, ids[:, None, None], ignore_index),
            segment,
            ignore_index,
            reduction,
            class_weights,
        )
        gradient.index_add_(0, index, torch.where(mask, own, 0))
    return gradient


def global_gradient(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    *,
    ignore_index: int = 255,
    reduction: Reduction = "sum",
    class_weights: Sequence[float] | Tensor | None = None,
    max_copies: int = 8,
) -> Tensor:
    """Gradient of the loss on whole images, so that regions come to fit together (GSG).

    Arguments, errors and shapes are those of :func:`local_gradient`; ``"mean"`` is over the
    labelled pixels of each image. Pixels of ``ignore_index`` get no gradient, though the loss of
    their neighbours depends on them.

    Example:
        >>> images, labels = torch.zeros(1, 3, 4, 6), torch.full((1, 4, 6), 255)
        >>> labels[:, :2] = 1
        >>> global_gradient(images, labels, lambda x: x[:, :2])[0, :2, :, 0].tolist()
        [[0.5, 0.5, 0.0, 0.0], [-0.5, -0.5, 0.0, 0.0]]
    """
    _check(images, labels, reduction, max_copies)
    gradient = torch.zeros_like(images)
    labelled = labels != ignore_index
    rows = labelled.flatten(1).any(1).nonzero()[:, 0]
    for start in range(0, len(rows), max_copies):
        index = rows[start : start + max_copies]
        own = _loss_gradient(
            images[index], labels[index], segment, ignore_index, reduction, class_weights
        )
        gradient[index] = torch.where(labelled[index][:, None], own, 0)
    return gradient


def guided_prediction(
    model: DiffusionModel,
    x_t: Tensor,
    t: int,
    image_gradient: Callable[[Tensor], Tensor],
    *,
    guidance_input: Literal["x_t", "pred_x0"] = "x_t",
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
    (gradient,) = torch.autograd.grad(images, leaf, image_gradient(images.detach()))
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


def _detached(prediction: Prediction) -> Prediction:
    fraction = prediction.variance_fraction
    return replace(
        prediction,
        pred_x0=prediction.pred_x0.detach(),
        epsilon=prediction.epsilon.detach(),
        variance_fraction=fraction.detach() if isinstance(fraction, Tensor) else fraction,
    )


def _regions(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Every class of every image: (R,) indices of images and (R,) class ids."""
    classes = [torch.unique(label[label != ignore_index]) for label in labels]
    counts = torch.tensor([len(ids) for ids in classes], device=labels.device)
    rows = torch.arange(len(labels), device=labels.device).repeat_interleave(counts)
    return rows, torch.cat(classes)


def _loss_gradient(
    images: Tensor,
    targets: Tensor,
    segment: Segment,
    ignore_index: int,
    reduction: Reduction,
    class_weights: Sequence[float] | Tensor | None,
) -> Tensor:
    with torch.enable_grad():
        seen = images.detach().requires_grad_(True)
        logits = segment(seen)
        _check_logits(logits, targets, ignore_index)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = F.interpolate(logits, targets.shape[-2:], mode="bilinear")
        weights = None
        if class_weights is not None:
            weights = torch.as_tensor(class_weights, dtype=logits.dtype, device=logits.device)
            if weights.shape != (logits.shape[1],):
                raise ValueError(
                    f"class_weights: expected {logits.shape[1]} numbers, one per class of the "
                    f"segmenter, got shape {tuple(weights.shape)}"
                )
        losses = F.cross_entropy(
            logits, targets, weight=weights, ignore_index=ignore_index, reduction="none"
        )
        per_image = losses.flatten(1).sum(1)
        if reduction == "mean":
            per_image = per_image / (targets != ignore_index).flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(per_image.sum(), seen)
    return gradient


def _check(images: Tensor, labels: Tensor, reduction: str, max_copies: int) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(f"images: expected a floating point tensor, got {describe(images)}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"labels: expected an int64 tensor, got {describe(labels)}")
    expected = (len(images), *images.shape[-2:])
    if tuple(labels.shape) != expected:
        raise ValueError(f"labels: expected shape {expected}, got {tuple(labels.shape)}")
    check_choice("reduction", reduction, ("sum", "mean"))
    check_integer("max_copies", max_copies, low=1)


def _check_logits(logits: Tensor, targets: Tensor, ignore_index: int) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"segment: expected floating point logits, got {describe(logits)}")
    if logits.ndim != 4 or len(logits) != len(targets):
        raise ValueError(
            f"segment: expected logits of shape ({len(targets)}, K, h, w), "
            f"got {tuple(logits.shape)}"
        )
    if not logits.requires_grad:
        raise ValueError(
            "segment: expected logits that are differentiable with respect to the image, got some "
            "without a gradient; does the segmenter run under no_grad?"
        )
    ids = targets[targets != ignore_index]
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels: expected class ids 0..{logits.shape[1] - 1}, which the segmenter knows, or "
            f"ignore_index {ignore_index}, got {low if low < 0 else high}"
        )
