"""segment_anything's mask decoder for many prompts on one image: its numbers, less work.

The module's own forward copies the image embedding for every prompt and projects each copy to
queries, keys and values; on real hardware it is bound by that memory traffic. Here nothing of the
image's size is made that all prompts share or that a handful of tokens can stand in for:

* the first layer's projections of the image are the same for all prompts: computed once;
* a score is ``token · (W pixel)``, which is ``(Wᵀ token) · pixel``: projecting the few tokens
  instead of the many pixels. The same for values, and for the output projection;
* upscaling by 2 × 2 transposed convolutions of stride 2 is a matrix product per pixel, and only
  the masks that were asked for are multiplied out.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    image: Tensor,
    position: Tensor,
    prompts: Tensor,
    *,
    chosen: slice = slice(None),
) -> tuple[Tensor, Tensor]:
    """Masks and predicted IoUs, as ``decoder.predict_masks`` with one dense embedding for all.

    Args:
        decoder: one that :func:`is_shared_decoder` accepts.
        image: (1, C, h, w), the image embedding with the dense prompt embedding added.
        position: (1, C, h, w), the dense position encoding.
        prompts: (N, T, C), the sparse prompt embeddings.
        chosen: which of the decoder's masks; SAM's first is for clear prompts, the others are
            the levels of an ambiguous one.

    Returns:
        (N, M, 4h, 4w) logits and (N, M) predicted IoUs; differentiable.
    """
    parts: Any = decoder
    size = (int(image.shape[-2]), int(image.shape[-1]))
    pixels, places = image[0].flatten(1).T.contiguous(), position[0].flatten(1).T.contiguous()
    shared = _Shared(parts.transformer, pixels, places)
    batch = CPU_BATCH if image.device.type == "cpu" else len(prompts)
    output = torch.cat([parts.iou_token.weight, parts.mask_tokens.weight])
    number = len(parts.mask_tokens.weight[chosen])
    masks = image.new_empty(len(prompts), number, 4 * size[0], 4 * size[1])
    scores = image.new_empty(len(prompts), number)
    for start in range(0, len(prompts), batch):
        some = slice(start, start + batch)
        tokens = torch.cat([output.expand(len(prompts[some]), -1, -1), prompts[some]], dim=1)
        tokens, own_pixels = _transform(parts.transformer, tokens, shared)
        wanted = tokens[:, 1 : len(output)]
        _upscale(parts, own_pixels, wanted, chosen, out=masks[some])
        scores[some] = parts.iou_prediction_head(tokens[:, 0])[:, chosen]
    return masks, scores


class _Shared:
    """What all prompts of an image have in common.

    Args:
        transformer: a ``TwoWayTransformer``.
        pixels: (P, C) image embedding. places: (P, C) its position encoding.
    """

    def __init__(self, transformer: Any, pixels: Tensor, places: Tensor) -> None:
        self.pixels = pixels
        first = transformer.layers[0]
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        self.first_keys = to_image.k_proj(pixels + places)
        self.first_values = to_image.v_proj(pixels)
        self.first_queries = to_tokens.q_proj(pixels + places)
        # Of later layers only the position's part is shared.
        self.keys = [layer.cross_attn_token_to_image.k_proj(places) for layer in transformer.layers]
        self.queries = [
            layer.cross_attn_image_to_token.q_proj(places) for layer in transformer.layers
        ]
        self.final_keys = transformer.final_attn_token_to_image.k_proj(places)


def _transform(transformer: Any, tokens: Tensor, shared: _Shared) -> tuple[Tensor, Tensor]:
    """The two-way transformer: (N, T, C) tokens and (N, P, C) pixels after it."""
    own = tokens
    pixels: Tensor | None = None  # None: the image's, not yet different for every prompt
    for index, layer in enumerate(transformer.layers):
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(q=tokens, k=tokens, v=tokens)
        else:
            tokens = tokens + layer.self_attn(q=tokens + own, k=tokens + own, v=tokens)
        tokens = layer.norm1(tokens)

        attention = layer.cross_attn_token_to_image
        if pixels is None:
            found = _look_at_shared(attention, tokens + own, shared)
        else:
            found = _look_at(attention, tokens + own, pixels, shared.keys[index])
        tokens = layer.norm2(tokens + found)
        tokens = layer.norm3(tokens + layer.mlp(tokens))

        attention = layer.cross_attn_image_to_token
        pixels = layer.norm4(
            _tell(attention, pixels, shared, shared.queries[index], tokens + own, tokens)
        )
    assert pixels is not None, "a transformer has layers"
    attention = transformer.final_attn_token_to_image
    tokens = tokens + _look_at(attention, tokens + own, pixels, shared.final_keys)
    return transformer.norm_final_attn(tokens), pixels


def _look_at_shared(attention: Any, tokens: Tensor, shared: _Shared) -> Tensor:
    """Tokens attend to the image itself: (N, T, C)."""
    heads = attention.num_heads
    count, length, _ = tokens.shape
    queries = attention.q_proj(tokens).view(count * length, heads, -1).transpose(0, 1)
    keys = shared.first_keys.view(len(shared.pixels), heads, -1).permute(1, 2, 0)
    values = shared.first_values.view(len(shared.pixels), heads, -1).transpose(0, 1)
    scores = (queries @ keys) / math.sqrt(queries.shape[-1])
    found = scores.softmax(-1) @ values
    out: Tensor = attention.out_proj(found.transpose(0, 1).reshape(count, length, -1))
    return out


def _look_at(attention: Any, tokens: Tensor, pixels: Tensor, placed_keys: Tensor) -> Tensor:
    """Tokens attend to each prompt's own pixels: (N, T, C).

    Args:
        pixels: (N, P, C). placed_keys: (P, I), keys of the position encoding, bias included.
    """
    heads = attention.num_heads
    count, length, channels = tokens.shape
    queries = _by_head(attention.q_proj(tokens), heads)  # N, h, T, d
    width = queries.shape[-1]
    queries = queries / math.sqrt(width)
    key_weight = attention.k_proj.weight.view(heads, width, channels)
    probes = (queries @ key_weight).view(count, heads * length, channels)
    of_place = queries @ placed_keys.view(-1, heads, width).permute(1, 2, 0)
    scores = torch.baddbmm(of_place.flatten(1, 2), probes, pixels.transpose(1, 2))
    seen = scores.softmax(-1) @ pixels  # N, hT, C; weights sum to one, so the bias comes after
    value_weight = attention.v_proj.weight.view(heads, width, channels).transpose(1, 2)
    found = seen.view(count, heads, length, channels) @ value_weight
    found = found.transpose(1, 2).reshape(count, length, -1) + attention.v_proj.bias
    out: Tensor = attention.out_proj(found)
    return out


def _tell(
    attention: Any,
    pixels: Tensor | None,
    shared: _Shared,
    placed_queries: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """Pixels attend to the tokens: pixels plus what they are told, (N, P, C)."""
    heads = attention.num_heads
    count, length, channels = keys.shape
    told = _by_head(attention.k_proj(keys), heads)  # N, h, T, d
    width = told.shape[-1]
    told = told / math.sqrt(width)
    if pixels is None:
        scores = told @ shared.first_queries.view(-1, heads, width).permute(1, 2, 0)
        before = shared.pixels.expand(count, -1, -1)
    else:
        query_weight = attention.q_proj.weight.view(heads, width, channels)
        probes = (told @ query_weight).view(count, heads * length, channels)
        of_place = told @ placed_queries.view(-1, heads, width).permute(1, 2, 0)
        scores = torch.baddbmm(of_place.flatten(1, 2), probes, pixels.transpose(1, 2))
        before = pixels
    # Softmax over tokens: not the last dimension, so that it runs along pixels.
    weights = scores.view(count, heads, length, -1).softmax(2).flatten(1, 2)
    out_weight = attention.out_proj.weight.view(channels, heads, width).permute(1, 2, 0)
    spoken = _by_head(attention.v_proj(values), heads) @ out_weight  # N, h, T, C
    # The weights of a head sum to one, so the bias can ride on the tokens of one of them.
    spoken[:, 0] += attention.out_proj.bias
    return torch.baddbmm(before, weights.transpose(1, 2), spoken.flatten(1, 2))


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


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, T, h d) to (N, h, T, d)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
