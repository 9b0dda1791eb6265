"""What segment_anything's image encoder computes, from its weights, with less work.

* Attention is fused (:mod:`seco.sam.relative_attention`) and takes all windows of all images at
  once; relative positions are looked up in their tables once, when the network is made.
* Windows that reach over the edge are filled after the projection to queries, keys and values, for
  which padding is its bias, and emptied before the projection of the output: neither is computed
  for padding. (The original pads by zeros before; attention sees the same.)
* Patches are a matrix product; the neck works channels last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.sam.relative_attention import AttentionKind, RelativeAttention


class EncoderNetwork(nn.Module):
    """An image encoder with another's weights; for inference.

    Args:
        encoder: one that :func:`seco.sam.stock_encoder.check_stock_encoder` accepts; weights that
            have the right dtype already are shared with it, others are copied.
        dtype: to compute in.
        global_attention: of blocks without windows; see :class:`RelativeAttention`.
        window_attention: of blocks with windows.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dtype: torch.dtype,
        global_attention: AttentionKind,
        window_attention: AttentionKind,
    ) -> None:
        super().__init__()
        parts: Any = encoder
        patch = parts.patch_embed.proj
        self.patch: tuple[int, int] = patch.kernel_size
        self.grid = tuple(parts.img_size // side for side in self.patch)
        self.patch_weight = _shared(patch.weight, dtype)
        self.patch_bias = _shared(patch.bias, dtype)
        self.position = _shared(parts.pos_embed, dtype)
        kinds = {True: window_attention, False: global_attention}
        self.blocks = nn.ModuleList(
            _Block(block, self.grid, dtype, kinds[block.window_size > 0]) for block in parts.blocks
        )
        self.neck = _Neck(parts.neck, dtype)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) normalised images of the network's dtype to (B, E, h, w) embeddings."""
        (height, width), (high, wide) = self.grid, self.patch
        # What no patch covers is left out, as by a convolution.
        patches = images[..., : height * high, : width * wide]
        patches = patches.reshape(*images.shape[:2], height, high, width, wide)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        tokens = F.linear(patches, self.patch_weight.flatten(1), self.patch_bias)
        if self.position is not None:
            tokens += self.position.flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.neck(tokens.view(len(tokens), height, width, -1))
        return embedding


class _Block(nn.Module):
    """One transformer block on (B, h w, C) tokens."""

    def __init__(
        self, block: Any, grid: tuple[int, ...], dtype: torch.dtype, kind: AttentionKind
    ) -> None:
        super().__init__()
        attention = block.attn
        self.heads = attention.num_heads
        self.approximate: str = block.mlp.act.approximate
        self.norm1, self.norm2 = _Norm(block.norm1, dtype), _Norm(block.norm2, dtype)
        self.qkv, self.proj = _Linear(attention.qkv, dtype), _Linear(attention.proj, dtype)
        self.lin1, self.lin2 = _Linear(block.mlp.lin1, dtype), _Linear(block.mlp.lin2, dtype)
        self.windows = _Windows(grid, block.window_size) if block.window_size > 0 else None
        size = grid if self.windows is None else (block.window_size,) * 2
        tables: tuple[Tensor | None, Tensor | None] = None, None
        if attention.use_rel_pos:
            from segment_anything.modeling.image_encoder import get_rel_pos

            given = attention.rel_pos_h, attention.rel_pos_w
            with torch.no_grad():
                tables = tuple(
                    get_rel_pos(side, side, table.detach()).to(dtype)
                    for side, table in zip(size, given, strict=True)
                )
        self.attend = RelativeAttention(*tables, scale=attention.scale, kind=kind)

    def forward(self, tokens: Tensor) -> Tensor:
        found = self._attended(self.qkv(self.norm1(tokens)))
        # In place: a fresh tensor of this size costs a CPU more than what is done to it.
        added: Tensor = self.proj(found).add_(tokens)
        hidden = self.lin1(self.norm2(added))
        hidden = torch.ops.aten.gelu_(hidden, approximate=self.approximate)
        return added.add_(self.lin2(hidden))

    def _attended(self, projected: Tensor) -> Tensor:
        """(B, h w, 3 C) queries, keys and values to (B, h w, C)."""
        windows = self.windows
        if windows is not None:
            projected = windows.split(projected, self.qkv.bias)
        by_head = projected.view(*projected.shape[:2], 3, self.heads, -1)
        queries, keys, values = by_head.permute(2, 0, 3, 1, 4)
        found: Tensor = self.attend(queries, keys, values)
        found = found.transpose(1, 2).flatten(2)
        return found if windows is None else windows.join(found)


class _Windows(nn.Module):
    """Which token of a grid is where in which window."""

    order: Tensor
    padding: Tensor
    places: Tensor

    def __init__(self, grid: tuple[int, ...], side: int) -> None:
        super().__init__()
        numbers = torch.arange(grid[0] * grid[1]).view(1, *grid)
        over = [-length % side for length in grid]
        numbers = F.pad(numbers, (0, over[1], 0, over[0]), value=-1)[0]
        down, across = (length // side for length in numbers.shape)
        order = numbers.view(down, side, across, side).transpose(1, 2).flatten()
        padding = (order < 0).nonzero().flatten()
        self.tokens = side * side
        self.register_buffer("order", order.clamp(min=0), persistent=False)
        self.register_buffer("padding", padding, persistent=False)
        # Padding comes first in the sorted order.
        self.register_buffer("places", order.argsort()[len(padding) :], persistent=False)

    def split(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """(B, h w, C) to (B windows, side², C), beyond the edge ``padding`` or zeros."""
        split = tokens.index_select(1, self.order)
        if len(self.padding):
            split[:, self.padding] = 0.0 if padding is None else padding
        return split.view(-1, self.tokens, tokens.shape[-1])

    def join(self, windows: Tensor) -> Tensor:
        """(B windows, side², C) to (B, h w, C)."""
        in_order = windows.view(-1, len(self.order), windows.shape[-1])
        return in_order.index_select(1, self.places)


class _Neck(nn.Module):
    """(B, h, w, C) tokens to the (B, E, h, w) embedding."""

    def __init__(self, neck: Any, dtype: torch.dtype) -> None:
        super().__init__()
        narrowing, norm1, mixing, norm2 = neck
        self.weight1, self.bias1 = _shared(narrowing.weight, dtype), _shared(narrowing.bias, dtype)
        self.norm1, self.norm2 = _Norm(norm1, dtype), _Norm(norm2, dtype)
        self.weight2, self.bias2 = _shared(mixing.weight, dtype), _shared(mixing.bias, dtype)
        self.padding: Any = mixing.padding

    def forward(self, tokens: Tensor) -> Tensor:
        narrow = self.norm1(F.linear(tokens, self.weight1.flatten(1), self.bias1))
        # A permuted view: channels last, as tensor cores want it.
        mixed = F.conv2d(narrow.permute(0, 3, 1, 2), self.weight2, self.bias2, padding=self.padding)
        embedding: Tensor = self.norm2(mixed.permute(0, 2, 3, 1))
        return embedding.permute(0, 3, 1, 2).contiguous()


class _Linear(nn.Module):
    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = _shared(layer.weight, dtype), _shared(layer.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class _Norm(nn.Module):
    """Over the last dimension; of segment_anything's LayerNorm2d too, whose first it is."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = _shared(layer.weight, dtype), _shared(layer.bias, dtype)
        self.length: int = (
            layer.weight.shape[0] if layer.weight is not None else layer.normalized_shape[0]
        )
        self.eps: float = layer.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.length,), self.weight, self.bias, self.eps)


def _shared(weight: Tensor | None, dtype: torch.dtype) -> Any:
    """The same memory if the dtype is right, a copy otherwise; no gradients."""
    if weight is None:
        return None
    return nn.Parameter(weight.detach().to(dtype), requires_grad=False)
