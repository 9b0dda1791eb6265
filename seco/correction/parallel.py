"""The processes that fit together: what fitting asks of torch.distributed, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that fit together; alone by default.

    Args:
        rank: its number, from 0.
        size: how many there are.

    Example:
        >>> Team().gather("this")
        ['this']
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Team:
        """Of the process group that the caller has initialised; alone where there is none."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def gather(self, value: T) -> list[T]:
        """Every process's value in every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def each(self, make: Callable[[], T]) -> list[T]:
        """What ``make`` gives in every process, by rank.

        Raises:
            RuntimeError: it raised in another process; what it raises here is raised as it is.
        """
        value, error = self._try(make)
        return self._all(self.gather((value, repr(error))), error)

    def first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process, in all of them; errors as of :meth:`each`."""
        value, error = self._try(make) if self.rank == 0 else ([], None)
        said = [(value, repr(error))]
        if self.size > 1:
            dist.broadcast_object_list(said, src=0)
        return self._all(said, error)[0]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, the same bits in all of them."""
        if self.size == 1:
            return
        # In the order of their first tensors, which is the same everywhere; a set's is not.
        for kind in dict.fromkeys((tensor.dtype, tensor.device) for tensor in tensors):
            own = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]
            total = torch.cat([tensor.flatten() for tensor in own])
            dist.all_reduce(total)
            parts = torch.split(total, [tensor.numel() for tensor in own])
            for tensor, part in zip(own, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def _try(self, make: Callable[[], T]) -> tuple[list[T], Exception | None]:
        """The value, or the error: the others must be told, or they would wait for ever."""
        try:
            return [make()], None
        except Exception as error:
            return [], error

    def _all(self, said: list[tuple[list[T], str]], error: Exception | None) -> list[T]:
        if error is not None:
            raise error
        for rank, (value, text) in enumerate(said):
            if not value:
                raise RuntimeError(f"process {rank} of {self.size}: {text}")
        return [value for values, _ in said for value in values]
