"""``torch.compile`` for networks that see many sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SIZES = 64
"""So many a function is compiled for. Beyond 8 torch itself would run the rest uncompiled."""


def compiled(function: Callable[..., Any], mode: str | None = None) -> Callable[..., Any]:
    """``torch.compile`` of a function or module, once for each of up to 64 sizes of its arguments.

    Also a dtype, or whether gradients are on, counts as a size, and functions of the same code
    (networks of one class) count together. Beyond, torch logs it and runs what is new as it is.
    torch's ``recompile_limit`` is raised while the function runs, and is then what it was.

    Args:
        function: what to compile.
        mode: of ``torch.compile``.

    Example:
        >>> compiled(torch.sin)  # doctest: +ELLIPSIS
        <function compiled.<locals>.run at ...>
    """
    from torch._dynamo import config  # takes a second, and torch.compile does it as well

    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    fast = torch.compile(function, dynamic=False, mode=mode)

    def run(*args: Any, **options: Any) -> Any:
        # Traced with what is around it, it is not this call that compiles.
        if torch.compiler.is_compiling() or getattr(config, limit) >= SIZES:
            return fast(*args, **options)
        with config.patch({limit: SIZES}):
            return fast(*args, **options)

    return run
