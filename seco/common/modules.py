"""Where a module lives, in which precision, and which weights it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_HASHED: ContextVar[WeakKeyDictionary[nn.Module, str] | None] = ContextVar("hashed", default=None)


def device_of(module: object) -> torch.device:
    """Device of a module's parameters; the CPU if it has none or is no module."""
    parameter = next(module.parameters(), None) if isinstance(module, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def dtype_of(module: object, default: torch.dtype = torch.float32) -> torch.dtype:
    """Floating dtype of a module's parameters; ``default`` if it has none or is no module."""
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((p.dtype for p in parameters if p.is_floating_point()), default)


def without_ddp(model: Any) -> Any:
    """The module in a ``DistributedDataParallel``, compiled or not; anything else as it is.

    Its own forward exchanges buffers with the other processes, and waits for them: it is for a
    training step that all of them take, not for calls of which each process makes its own number.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> without_ddp(layer) is layer
        True
    """
    wrapped = getattr(model, "_orig_mod", model)
    return wrapped.module if isinstance(wrapped, DistributedDataParallel) else model


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of names and values of all weights and buffers, in hexadecimal digits.

    Example:
        >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> _ = other.load_state_dict(one.state_dict())
        >>> fingerprint(one) == fingerprint(other)
        True
    """
    known = _HASHED.get()
    if known is not None and module in known:
        return known[module]
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    if known is not None:
        known[module] = digest.hexdigest()
    return digest.hexdigest()


@contextmanager
def weights_stay() -> Iterator[None]:
    """While it is open, the weights of a module are hashed once: nobody changes them meanwhile.

    Gigabytes of a large model, that is, for a command that writes several manifests.

    Example:
        >>> module = nn.Linear(2, 2)
        >>> with weights_stay():
        ...     first, _ = fingerprint(module), nn.init.zeros_(module.weight)
        ...     first == fingerprint(module)
        True
        >>> first == fingerprint(module)
        False
    """
    token = _HASHED.set(WeakKeyDictionary())
    try:
        yield
    finally:
        _HASHED.reset(token)
