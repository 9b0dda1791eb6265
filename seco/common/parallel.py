"""Training in several processes: errors that reach all of them, and sums of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seco.common.processes import ALONE, Processes

T = TypeVar("T")


def processes_of_group() -> Processes:
    """Those of the process group that the caller has initialised; alone where there is none."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return ALONE


def in_each(processes: Processes, make: Callable[[], T]) -> list[T]:
    """What ``make`` gives in every process, in all of them, by rank.

    Raises:
        RuntimeError: it raised in another process; what it raises here is raised as it is.

    Example:
        >>> in_each(ALONE, lambda: "this")
        ['this']
    """
    value, error = _try(make)
    return _all(processes.gather((value, repr(error))), error)


def in_first(processes: Processes, make: Callable[[], T]) -> T:
    """What ``make`` gives in the first process, in all of them; errors as of :func:`in_each`."""
    value, error = _try(make) if processes.first else ([], None)
    said = [(value, repr(error))]
    if processes.count > 1:
        dist.broadcast_object_list(said, src=0)
    return _all(said, error)[0]


def add_up(processes: Processes, tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its sum over the processes, the same bits in all of them."""
    if processes.count == 1:
        return
    # In the order of their first tensors, which is the same everywhere; a set's is not.
    for kind in dict.fromkeys((tensor.dtype, tensor.device) for tensor in tensors):
        own = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]
        total = torch.cat([tensor.flatten() for tensor in own])
        dist.all_reduce(total)
        parts = torch.split(total, [tensor.numel() for tensor in own])
        for tensor, part in zip(own, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def add_gradients(parameters: list[nn.Parameter], loss: float, processes: Processes) -> float:
    """Sum the gradients of all processes into each, and the loss.

    What has a gradient nowhere gets none: the optimizer leaves it alone.
    """
    if processes.count == 1:
        return loss
    flags = [loss, *(float(p.grad is not None) for p in parameters)]
    said = torch.tensor(flags, device=parameters[0].device)
    add_up(processes, [said])
    total, *having = said.tolist()
    moved = [p for p, count in zip(parameters, having, strict=True) if count > 0]
    for parameter in moved:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    add_up(processes, [parameter.grad for parameter in moved if parameter.grad is not None])
    return float(total)


def check_same(identity: dict[str, Any], processes: Processes) -> None:
    """Raise ``ValueError`` unless what tells one training from another is the same in all."""
    for rank, other in enumerate(processes.gather(identity)):
        differing = [name for name, value in identity.items() if other[name] != value]
        if differing:
            raise ValueError(
                f"{differing[0]}: expected the same in all processes, got another in process {rank}"
            )


def _try(make: Callable[[], T]) -> tuple[list[T], Exception | None]:
    """The value, or the error: the others must be told, or they would wait for ever."""
    try:
        return [make()], None
    except Exception as error:
        return [], error


def _all(said: list[tuple[list[T], str]], error: Exception | None) -> list[T]:
    if error is not None:
        raise error
    for rank, (value, text) in enumerate(said):
        if not value:
            raise RuntimeError(f"process {rank}: {text}")
    return [value for values, _ in said for value in values]
