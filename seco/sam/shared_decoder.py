"""segment_anything's mask decoder for many prompts on an image, or on several: less work.

The module's own forward copies the image embedding for every prompt and projects each copy to
queries, keys and values; on real hardware it is bound by that memory traffic. Here nothing of the
image's size is made that all prompts share or that a handful of tokens can stand in for: see
:mod:`seco.sam.shared_transformer`. Upscaling by 2 × 2 transposed convolutions of stride 2 is a
matrix product per pixel, and only the masks that were asked for are multiplied out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.sam.shared_transformer import PositionProjections, ProjectedImage, transform

# Prompts at a time on a CPU: what they need of an embedding then stays in the cache.
CPU_BATCH = 8


def is_shared_decoder(decoder: nn.Module) -> bool:
    """Whether ``decoder`` computes exactly what :func:`decode_shared` computes.

    Only segment_anything's own classes, with plain layers inside and nothing hooked in: adapters
    (LoRA, quantisation) and look-alikes run their own forward.
    """
    if "segment_anything" not in sys.modules:
        return False  # nobody can have made one
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer
    from segment_anything.modeling.common import LayerNorm2d, MLPBlock
    from segment_anything.modeling.mask_decoder import MLP
    from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock

    if type(decoder) is not MaskDecoder:
        return False
    transformer: Any = decoder.transformer
    upscaling: Any = decoder.output_upscaling
    if type(transformer) is not TwoWayTransformer or not len(transformer.layers):
        return False
    known = {
        *(MaskDecoder, TwoWayTransformer, TwoWayAttentionBlock, Attention, MLPBlock, MLP),
        *(LayerNorm2d, nn.Linear, nn.LayerNorm, nn.Embedding, nn.ConvTranspose2d),
        *(nn.Sequential, nn.ModuleList, nn.ReLU, nn.GELU),
    }
    plain = all(
        type(module) in known
        and not (module._forward_hooks or module._forward_pre_hooks)
        and "forward" not in vars(module)
        for module in decoder.modules()
    )
    return (
        plain
        and [type(part) for part in upscaling]
        == [nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]
        and all(part.approximate == "none" for part in upscaling if isinstance(part, nn.GELU))
    )


def decode_shared(
    decoder: nn.Module,
    images: Tensor,
    position: Tensor,
    prompts: Tensor,
    *,
    counts: Sequence[int] | None = None,
    chosen: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Masks and predicted IoUs, as ``decoder.predict_masks`` with one dense embedding for all.

    Args:
        decoder: one that :func:`is_shared_decoder` accepts.
        images: (I, C, h, w), the image embeddings with the dense prompt embedding added.
        position: (1, C, h, w), the dense position encoding.
        prompts: (N, T, C), the sparse prompt embeddings, image after image.
        counts: how many are about each of the I images; ``None``: all about the only one.
        chosen: which of the decoder's masks; SAM's first is for clear prompts, the others are
            the levels of an ambiguous one.

    Returns:
        (N, M, 4h, 4w) logits and (N, M) predicted IoUs; differentiable.
    """
    parts: Any = decoder
    size = (int(images.shape[-2]), int(images.shape[-1]))
    places = PositionProjections(parts.transformer, position[0].flatten(1).T.contiguous())
    seen = [
        ProjectedImage(parts.transformer, image.flatten(1).T.contiguous(), places)
        for image in images.unbind()
    ]
    ends = list(accumulate([len(prompts)] if counts is None else counts, initial=0))
    batch = CPU_BATCH if images.device.type == "cpu" else len(prompts)
    output = torch.cat([parts.iou_token.weight, parts.mask_tokens.weight])
    number = len(parts.mask_tokens.weight[chosen])
    masks = images.new_empty(len(prompts), number, 4 * size[0], 4 * size[1])
    scores = images.new_empty(len(prompts), number)
    for start in range(0, len(prompts), batch):
        some = slice(start, start + batch)
        tokens = torch.cat([output.expand(len(prompts[some]), -1, -1), prompts[some]], dim=1)
        # How many of these prompts are about which image.
        cuts = [min(max(end - start, 0), len(tokens)) for end in ends]
        asked = [
            (image, high - low)
            for image, (low, high) in zip(seen, pairwise(cuts), strict=True)
            if high > low
        ]
        tokens, own_pixels = transform(parts.transformer, tokens, asked, places)
        wanted = tokens[:, 1 : len(output)]
        _upscale(parts, own_pixels, wanted, chosen, out=masks[some])
        scores[some] = parts.iou_prediction_head(tokens[:, 0])[:, chosen]
    return masks, scores


def _upscale(decoder: Any, pixels: Tensor, tokens: Tensor, chosen: slice, *, out: Tensor) -> None:
    """(N, P, C) pixels to (N, M, 4h, 4w) masks by the chosen mask tokens."""
    first, norm, _, second, _ = decoder.output_upscaling
    fine = _double(first, pixels.flatten(0, 1))
    fine = F.layer_norm(fine, fine.shape[-1:], norm.weight, norm.bias, norm.eps)
    fine = _gelu_(_double(second, _gelu_(fine))).view(len(pixels), -1, second.out_channels)
    heads = list(decoder.output_hypernetworks_mlps)[chosen]
    wanted = torch.stack([h(t) for h, t in zip(heads, tokens[:, chosen].unbind(1), strict=True)], 1)
    masks = wanted @ fine.transpose(1, 2)
    # A pixel's 16 children: its quarters (y, x), and each quarter's quarters (y, x).
    height, width = out.shape[-2] // 4, out.shape[-1] // 4
    masks = masks.view(len(pixels), len(heads), height, width, 2, 2, 2, 2)
    out.view(len(pixels), len(heads), height, 2, 2, width, 2, 2).copy_(
        masks.permute(0, 1, 2, 4, 6, 3, 5, 7)
    )


def _double(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A 2 × 2 transposed convolution of stride 2 on (R, C) pixels: (4 R, C') of their quarters."""
    inner, outer = layer.weight.shape[:2]
    out = x @ layer.weight.permute(0, 2, 3, 1).reshape(inner, 4 * outer)
    if layer.bias is not None:
        out += layer.bias.repeat(4)
    return out.view(-1, outer)


def _gelu_(x: Tensor) -> Tensor:
    """In place if nobody differentiates: another such tensor costs more than the function."""
    out: Tensor = F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)
    return out
