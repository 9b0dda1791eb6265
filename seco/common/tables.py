"""Tables whose rows are looked up by their numbers, or put together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def take_rows(table: Tensor, ids: Tensor) -> Tensor:
    """``table[ids]``: what a table says about every pixel of a map of numbers.

    Args:
        table: (N,).
        ids: int32 or int64 of any shape, 0..N-1.

    Example:
        >>> take_rows(torch.tensor([7, 8]), torch.tensor([[0, 1], [1, 1]])).tolist()
        [[7, 8], [8, 8]]
    """
    # on a CPU five times as fast as indexing
    return table.index_select(0, ids.flatten()).reshape(ids.shape)


def join(parts: Iterable[Tensor]) -> Tensor:
    """Rows of at least one table, one after the other; a single one is given back as it is.

    Example:
        >>> join([torch.tensor([1]), torch.tensor([2, 3])]).tolist()
        [1, 2, 3]
    """
    listed = list(parts)
    return listed[0] if len(listed) == 1 else torch.cat(listed)
