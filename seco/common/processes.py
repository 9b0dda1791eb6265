"""The processes of one run, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
Part = TypeVar("Part")

# A process that has done its share waits for the slowest one: hours, where half an hour is usual.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """This process among those that share a job; alone by default.

    Args:
        rank: its number, from 0.
        count: how many there are.

    Example:
        >>> Processes(rank=1, count=3).share(["a", "b", "c", "d", "e"])
        ['b', 'e']
        >>> Processes().gather("this")
        ['this']
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Meet the processes that ``torchrun`` started with this one; alone without it.

        The default process group of ``torch.distributed`` is made unless there is one.

        Raises:
            RuntimeError: the others did not come.
        """
        import torch.distributed as dist

        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group(timeout=_PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks for all."""
        return self.rank == 0

    def share(self, items: list[Part]) -> list[Part]:
        """This process's items: every ``count``-th, so that long rows of slow ones are spread."""
        return items[self.rank :: self.count]

    def gather(self, value: T) -> list[T]:
        """Every process's value in every process, by rank; waits for all of them.

        Raises:
            RuntimeError: another process ended before.
        """
        import torch.distributed as dist

        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values


ALONE = Processes()
"""One process that shares with nobody."""


def local_device(device: str) -> str:
    """``cuda`` as this process's own GPU (``LOCAL_RANK``); any other device as it is.

    Example:
        >>> local_device("cpu")
        'cpu'
    """
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if device == "cuda" and rank is not None else device
