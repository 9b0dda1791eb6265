"""segment_anything's two-way transformer for prompts on an image, or on several: less work.

* The first layer's projections of an image are the same for all prompts on it: computed once.
* A score is ``token · (W pixel)``, which is ``(Wᵀ token) · pixel``: projecting the few tokens
  instead of the many pixels. The same for values, and for the output projection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seco.common.tables import join


class PositionProjections:
    """What all images have in common: their position encoding, projected.

    Args:
        transformer: a ``TwoWayTransformer``.
        encoding: (P, C).
    """

    def __init__(self, transformer: Any, encoding: Tensor) -> None:
        self.encoding = encoding
        # Not the first layer's, which sees it added to the image.
        later = transformer.layers[1:]
        self.keys = [None, *(layer.cross_attn_token_to_image.k_proj(encoding) for layer in later)]
        self.queries = [
            None, *(layer.cross_attn_image_to_token.q_proj(encoding) for layer in later)
        ]  # fmt: skip
        self.final_keys = transformer.final_attn_token_to_image.k_proj(encoding)


class ProjectedImage:
    """What all prompts on an image have in common: the first layer's projections of it.

    Args:
        transformer: a ``TwoWayTransformer``.
        pixels: (P, C) image embedding.
        places: of its pixels.
    """

    def __init__(self, transformer: Any, pixels: Tensor, places: PositionProjections) -> None:
        self.pixels = pixels
        first = transformer.layers[0]
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        self.keys = to_image.k_proj(pixels + places.encoding)
        self.values = to_image.v_proj(pixels)
        self.queries = to_tokens.q_proj(pixels + places.encoding)


ImageCounts = Sequence[tuple[ProjectedImage, int]]
"""Images, and how many of the prompts, image after image, are about each."""


def transform(
    transformer: Any, tokens: Tensor, images: ImageCounts, places: PositionProjections
) -> tuple[Tensor, Tensor]:
    """The two-way transformer: (N, T, C) tokens and (N, P, C) pixels after it."""
    own = tokens
    pixels: Tensor | None = None  # None: the images', not yet different for every prompt
    for layer, keys, queries in zip(transformer.layers, places.keys, places.queries, strict=True):
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(q=tokens, k=tokens, v=tokens)
        else:
            tokens = tokens + layer.self_attn(q=tokens + own, k=tokens + own, v=tokens)
        tokens = layer.norm1(tokens)

        attention = layer.cross_attn_token_to_image
        placed = tokens + own
        if pixels is None:
            found = _look_at_images(attention, placed, images)
        else:
            found = _look_at(attention, placed, pixels, keys)
        tokens = layer.norm2(tokens + found)
        tokens = layer.norm3(tokens + layer.mlp(tokens))

        attention = layer.cross_attn_image_to_token
        placed = tokens + own
        if pixels is None:
            told = _tell_images(attention, images, placed, tokens)
        else:
            told = _tell(attention, pixels, queries, placed, tokens)
        pixels = layer.norm4(told)
    assert pixels is not None, "a transformer has layers"
    attention = transformer.final_attn_token_to_image
    tokens = tokens + _look_at(attention, tokens + own, pixels, places.final_keys)
    return transformer.norm_final_attn(tokens), pixels


def _look_at_images(attention: Any, tokens: Tensor, images: ImageCounts) -> Tensor:
    """Tokens attend to the image that they ask about: (N, T, C)."""
    parts = torch.split(tokens, [count for _, count in images])
    return join(
        _look_at_image(attention, part, image)
        for (image, _), part in zip(images, parts, strict=True)
    )


def _look_at_image(attention: Any, tokens: Tensor, image: ProjectedImage) -> Tensor:
    """Tokens attend to the image itself: (N, T, C)."""
    heads = attention.num_heads
    count, length, _ = tokens.shape
    queries = attention.q_proj(tokens).view(count * length, heads, -1).transpose(0, 1)
    keys = image.keys.view(len(image.pixels), heads, -1).permute(1, 2, 0)
    values = image.values.view(len(image.pixels), heads, -1).transpose(0, 1)
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


def _tell_images(attention: Any, images: ImageCounts, keys: Tensor, values: Tensor) -> Tensor:
    """The images' pixels attend to the tokens of each prompt: see :func:`_tell_image`."""
    counts = [count for _, count in images]
    parts = zip(images, torch.split(keys, counts), torch.split(values, counts), strict=True)
    return join(_tell_image(attention, image, *part) for (image, _), *part in parts)


def _tell_image(attention: Any, image: ProjectedImage, keys: Tensor, values: Tensor) -> Tensor:
    """The image's pixels attend to each prompt's tokens: pixels plus what they are told."""
    told = _told(attention, keys)
    heads, width = told.shape[1], told.shape[3]
    scores = told @ image.queries.view(-1, heads, width).permute(1, 2, 0)
    before = image.pixels.expand(len(keys), -1, -1)
    return _speak(attention, scores, values, before)


def _tell(
    attention: Any, pixels: Tensor, placed_queries: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """Each prompt's own pixels attend to its tokens: pixels plus what they are told, (N, P, C)."""
    told = _told(attention, keys)
    count, heads, length, width = told.shape
    channels = keys.shape[-1]
    query_weight = attention.q_proj.weight.view(heads, width, channels)
    probes = (told @ query_weight).view(count, heads * length, channels)
    of_place = told @ placed_queries.view(-1, heads, width).permute(1, 2, 0)
    scores = torch.baddbmm(of_place.flatten(1, 2), probes, pixels.transpose(1, 2))
    return _speak(attention, scores, values, pixels)


def _told(attention: Any, keys: Tensor) -> Tensor:
    """Keys of the tokens, scaled: (N, h, T, d)."""
    told = _by_head(attention.k_proj(keys), attention.num_heads)
    return told / math.sqrt(told.shape[-1])


def _speak(attention: Any, scores: Tensor, values: Tensor, before: Tensor) -> Tensor:
    """(N, P, C) pixels ``before``, plus the tokens' values by (N, h T P elements) scores."""
    heads = attention.num_heads
    count, length, channels = values.shape
    # Softmax over tokens: not the last dimension, so that it runs along pixels.
    weights = scores.view(count, heads, length, -1).softmax(2).flatten(1, 2)
    out_weight = attention.out_proj.weight.view(channels, heads, -1).permute(1, 2, 0)
    spoken = _by_head(attention.v_proj(values), heads) @ out_weight  # N, h, T, C
    # The weights of a head sum to one, so the bias can ride on the tokens of one of them.
    spoken[:, 0] += attention.out_proj.bias
    return torch.baddbmm(before, weights.transpose(1, 2), spoken.flatten(1, 2))


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, T, h d) to (N, h, T, d)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
