"""segment_anything's prompt encoder for points and boxes: its numbers, without looking at them.

The module's own forward picks the points of each label by a mask, and how many those are the host
must know: on a GPU it waits six times a pass, and what comes after waits with it.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.sam.inputs import Prompts


def is_stock_prompt_encoder(encoder: nn.Module) -> bool:
    """Whether ``encoder`` computes exactly what :func:`embed_prompts` does.

    Only segment_anything's own classes, with nothing hooked in; others run their own forward.
    """
    if "segment_anything" not in sys.modules:
        return False  # nobody can have made one
    from segment_anything.modeling import PromptEncoder
    from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom

    if type(encoder) is not PromptEncoder:
        return False
    parts: Any = encoder
    used = {parts.pe_layer, parts.not_a_point_embed, parts.no_mask_embed, *parts.point_embeddings}
    return type(parts.pe_layer) is PositionEmbeddingRandom and all(
        type(module) in (PromptEncoder, PositionEmbeddingRandom, nn.Embedding)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and not any(callable(value) for value in vars(module).values())  # methods put on it
        for module in (encoder, *used)
    )


def embed_prompts(encoder: nn.Module, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Sparse and dense embeddings, as ``encoder(points=..., boxes=..., masks=None)``.

    Args:
        encoder: one that :func:`is_stock_prompt_encoder` accepts.
        prompts: N of them, in the model's input frame; labels 0 and 1.

    Returns:
        (N, T, C) and (N, C, h, w), the latter one embedding expanded.
    """
    parts: Any = encoder
    places = parts.pe_layer.forward_with_coords
    sparse = []
    if prompts.points is not None and prompts.point_labels is not None:
        given, kinds = prompts.points + 0.5, prompts.point_labels
        if prompts.boxes is None:  # a last point, which is none
            given, kinds = F.pad(given, (0, 0, 0, 1)), F.pad(kinds, (0, 1), value=2)
        found = places(given, parts.input_image_size)
        if prompts.boxes is None:
            found[:, -1] = 0.0
        layers = (*parts.point_embeddings[:2], parts.not_a_point_embed)
        sparse.append(found + torch.cat([layer.weight for layer in layers])[kinds])
    if prompts.boxes is not None:
        corners = torch.cat([layer.weight for layer in parts.point_embeddings[2:]])
        found = places((prompts.boxes + 0.5).reshape(-1, 2, 2), parts.input_image_size)
        sparse.append(found + corners)
    dense = parts.no_mask_embed.weight.reshape(1, -1, 1, 1)
    tokens = torch.cat(sparse, dim=1)
    return tokens, dense.expand(len(tokens), -1, *parts.image_embedding_size)
