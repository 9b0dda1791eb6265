"""Attention with decomposed relative positions, in three ways that compute the same numbers.

SAM's encoder adds to the logit of a query at (y, x) and a key at (y', x') the products of the query
with one vector for y - y' and one for x - x'. Written out, that is a (tokens x tokens) matrix per
head, which segment_anything makes and passes through memory several times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.common.compiling import compiled

AttentionKind = Literal["bias", "channels", "flex"]
ATTENTION_KINDS: tuple[AttentionKind, ...] = ("bias", "channels", "flex")

# Of a bias that is made at a time: one image of ViT-H has 512 MiB of it in bfloat16.
BIAS_BYTES = 2**30
# Per thread on a CPU, so that logits stay in the cache between the product and the softmax.
CACHED_BYTES = 2**22
# With at most so many, in single precision, a CPU's fused kernel is faster for all that.
FEW_TOKENS = 128
# Of the last dimension, in elements: what fused kernels take without copying it first.
ALIGNMENT = 8


class RelativeAttention(nn.Module):
    """Softmax attention over a grid of H x W tokens.

    Args:
        rows: (H, H, d), the vector for a query in row y and a key in row y', or ``None`` for
            attention without positions.
        columns: (W, W, d), the same for columns.
        scale: of the product of queries and keys; positions are not scaled.
        kind: ``"bias"``: fused attention with the sum of both as an additive bias, a part of the
            heads or images at a time; on a CPU unfused, by parts that its cache holds.
            ``"channels"``: the query's products with all rows and columns are further channels of
            it, and a key's are its own row's and column's indicator, so that plain fused attention
            gives the sum; nothing of (tokens x tokens) exists. ``"flex"``: FlexAttention, which
            looks both products up within its kernel; compiled by itself, it is so once per shape,
            for up to 64 in a process.

    Example:
        >>> queries, keys, values = torch.randn(3, 1, 2, 6, 4)
        >>> tables = torch.randn(2, 2, 4), torch.randn(3, 3, 4)
        >>> one, other = (
        ...     RelativeAttention(*tables, scale=0.5, kind=kind)(queries, keys, values)
        ...     for kind in ("bias", "channels")
        ... )
        >>> torch.allclose(one, other, atol=1e-5)
        True
    """

    rows: Tensor | None
    columns: Tensor | None
    indicators: Tensor | None

    def __init__(
        self, rows: Tensor | None, columns: Tensor | None, *, scale: float, kind: AttentionKind
    ) -> None:
        super().__init__()
        self.scale, self.kind = scale, kind
        indicators = None
        if kind == "channels" and rows is not None and columns is not None:
            # Fused kernels scale everything.
            rows, columns, indicators = rows / scale, columns / scale, _indicators(rows, columns)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.register_buffer("indicators", indicators)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, heads, H W, d) each, of any strides with the last 1, to (B, heads, H W, d)."""
        rows, columns, scale = self.rows, self.columns, self.scale
        if rows is None or columns is None:
            return F.scaled_dot_product_attention(queries, keys, values, scale=scale)
        places = queries.view(*queries.shape[:2], len(rows), len(columns), -1)
        of_rows = torch.einsum("bnyxd,ykd->bnyxk", places, rows).flatten(2, 3)
        of_columns = torch.einsum("bnyxd,xkd->bnyxk", places, columns).flatten(2, 3)
        if self.indicators is not None:
            return _by_channels(queries, keys, values, of_rows, of_columns, self.indicators, scale)
        if self.kind == "flex":
            return _by_lookup(queries, keys, values, of_rows, of_columns, scale)
        small = queries.shape[2] <= FEW_TOKENS and queries.element_size() >= 4
        if queries.device.type == "cpu" and not small and not torch.compiler.is_compiling():
            return _in_cache(queries, keys, values, of_rows, of_columns, scale)
        return _by_bias(queries, keys, values, of_rows, of_columns, scale)


def _by_bias(
    queries: Tensor, keys: Tensor, values: Tensor, of_rows: Tensor, of_columns: Tensor, scale: float
) -> Tensor:
    images, heads, tokens, _ = queries.shape
    fitting = max(1, BIAS_BYTES // (tokens * tokens * queries.element_size()))
    # All heads of some images, or of one image some heads.
    some_images, some_heads = max(1, fitting // heads), min(fitting, heads)
    parts = [
        [
            F.scaled_dot_product_attention(
                queries[part], keys[part], values[part],
                attn_mask=_sums(of_rows[part], of_columns[part]), scale=scale,
            )
            for head in range(0, heads, some_heads)
            for part in [(slice(image, image + some_images), slice(head, head + some_heads))]
        ]
        for image in range(0, images, some_images)
    ]  # fmt: skip
    rows = [row[0] if len(row) == 1 else torch.cat(row, dim=1) for row in parts]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _in_cache(
    queries: Tensor, keys: Tensor, values: Tensor, of_rows: Tensor, of_columns: Tensor, scale: float
) -> Tensor:
    """As :func:`_by_bias`, unfused and some heads' or queries' logits at a time."""
    images, heads, tokens, _ = queries.shape
    queries, keys, values = (x.flatten(0, 1) for x in (queries, keys, values))
    of_rows, of_columns = of_rows.flatten(0, 1), of_columns.flatten(0, 1)
    keys = keys.transpose(1, 2)
    fitting = max(1, torch.get_num_threads() * CACHED_BYTES // (tokens * values.element_size()))
    some_heads, some_queries = max(1, fitting // tokens), min(fitting, tokens)
    found = torch.empty_like(values)
    for head in range(0, len(values), some_heads):
        for query in range(0, tokens, some_queries):
            own = slice(head, head + some_heads)
            part = own, slice(query, query + some_queries)
            logits = (of_rows[part][..., None] + of_columns[part][..., None, :]).flatten(-2)
            logits.baddbmm_(queries[part], keys[own], alpha=scale)
            found[part] = logits.softmax(-1) @ values[own]
    return found.view(images, heads, tokens, -1)


def _sums(of_rows: Tensor, of_columns: Tensor) -> Tensor:
    """(b, n, T, H) and (b, n, T, W) to the (b, n, T, H W) bias, laid out as kernels want it."""
    size = of_rows.shape[-1], of_columns.shape[-1]
    tokens = size[0] * size[1]
    over = -tokens % ALIGNMENT
    if not over or torch.compiler.is_compiling():  # a compiler lays it out by itself
        return (of_rows[..., None] + of_columns[..., None, :]).flatten(-2)
    bias = of_rows.new_empty(*of_rows.shape[:-1], tokens + over)[..., :tokens]
    torch.add(of_rows[..., None], of_columns[..., None, :], out=bias.view(*of_rows.shape, -1))
    return bias


def _by_channels(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    of_rows: Tensor,
    of_columns: Tensor,
    indicators: Tensor,
    scale: float,
) -> Tensor:
    length, more = values.shape[-1], indicators.shape[-1]
    over = more - of_rows.shape[-1] - of_columns.shape[-1]
    longer = torch.cat([queries, of_rows, F.pad(of_columns, (0, over))], dim=-1)
    indicating = torch.cat([keys, indicators.expand(*keys.shape[:2], -1, -1)], dim=-1)
    # Fused kernels want keys and values of one length.
    found = F.scaled_dot_product_attention(
        longer, indicating, F.pad(values, (0, more)), scale=scale
    )
    return found[..., :length]


def _indicators(rows: Tensor, columns: Tensor) -> Tensor:
    """(H W, channels): which row and which column a token is in, as ones, and zeros to align."""
    height, width, length = len(rows), len(columns), rows.shape[-1]
    of_rows = torch.eye(height).repeat_interleave(width, dim=0)
    of_columns = torch.eye(width).repeat(height, 1)
    over = torch.zeros(height * width, -(length + height + width) % ALIGNMENT)
    return torch.cat([of_rows, of_columns, over], dim=1).to(rows)


def _by_lookup(
    queries: Tensor, keys: Tensor, values: Tensor, of_rows: Tensor, of_columns: Tensor, scale: float
) -> Tensor:
    width = of_columns.shape[-1]

    def add_positions(score: Tensor, b: Tensor, n: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + of_rows[b, n, query, key // width] + of_columns[b, n, query, key % width]

    flex: Callable[..., Tensor] = _flex_attention()
    return flex(queries, keys, values, score_mod=add_positions, scale=scale)


def _flex_attention() -> Callable[..., Any]:
    """FlexAttention, compiled with what is around it or by itself: else it makes the matrix."""
    if not torch.compiler.is_compiling():
        return _compiled_flex_attention()
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


@cache
def _compiled_flex_attention() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return compiled(flex_attention)
