"""What a call makes of a device: operators that are launched, looks that the host waits for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# On CUDA the host waits for their result: a number, or how many there are.
LOOKS = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "nms", "equal"),
}
FETCHES = {"tolist", "cpu", "numpy"}  # of a tensor on the CPU no operator is called


class Launches:
    """Counts while :meth:`counting`.

    Attributes:
        operators: by name.
        waits: looks and fetches by name.
        lines: of the library's own Python that ran.
    """

    def __init__(self) -> None:
        self.operators: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.lines = 0
        self._paused = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count; not to be nested."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            with _Dispatched(self), _Called(self):
                yield
        finally:
            sys.settrace(before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing: what a model does inside."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def operator(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count a call of an operator."""
        if self._paused:
            return
        self.operators[name] += 1
        looks = name in LOOKS
        if name == "repeat_interleave":
            looks = kwargs.get("output_size") is None
        if name in ("index", "index_put", "index_put_"):
            looks = any(one is not None and one.dtype == torch.bool for one in args[1])
        self.waits[name] += looks

    def fetch(self, name: str) -> None:
        """Count a call of a tensor's method."""
        self.waits[name] += name in FETCHES and not self._paused

    def _trace(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        if "seco" not in frame.f_globals.get("__name__", "").split("."):
            return None
        self.lines += event == "line" and not self._paused
        return self._trace


class _Dispatched(TorchDispatchMode):
    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._launches.operator(func._schema.name.split("::")[1], args, kwargs or {})
        return func(*args, **(kwargs or {}))


class _Called(TorchFunctionMode):
    def __init__(self, launches: Launches) -> None:
        super().__init__()
        self._launches = launches

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._launches.fetch(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))
