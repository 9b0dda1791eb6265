"""How long models compute: on a GPU by its own clock, for the host does not wait for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

_METER: ContextVar[DeviceTime | None] = ContextVar("meter", default=None)


class DeviceTime:
    """The time that models compute while :meth:`measuring` is open, in its thread.

    Example:
        >>> meter = DeviceTime()
        >>> with meter.measuring(), computing(torch.device("cpu")):
        ...     _ = torch.ones(1000).sum()
        >>> meter.seconds() > 0
        True
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._nested = False
        self._running: deque[tuple[Any, Any]] = deque()  # CUDA's events have no types

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Count what computes in here."""
        token = _METER.set(self)
        try:
            yield
        finally:
            _METER.reset(token)

    def seconds(self) -> float:
        """What was counted so far; waits for the device."""
        for _, last in self._running:  # they may be of several devices
            last.synchronize()
        self._settle()
        return self._seconds

    @contextmanager
    def _counting(self, device: torch.device) -> Iterator[None]:
        if self._nested:
            yield
            return
        self._nested = True
        try:
            if device.type == "cuda":
                cuda: Any = torch.cuda
                first, last = (cuda.Event(enable_timing=True) for _ in range(2))
                first.record(torch.cuda.current_stream(device))
                yield
                last.record(torch.cuda.current_stream(device))
                self._running.append((first, last))
                self._settle()
            else:
                began = time.perf_counter()
                yield
                self._seconds += time.perf_counter() - began
        finally:
            self._nested = False

    def _settle(self) -> None:
        """Add up what is over."""
        while self._running and self._running[0][1].query():
            first, last = self._running.popleft()
            self._seconds += first.elapsed_time(last) / 1000


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """A model computes in here: for the meter that is open, if one is."""
    meter = _METER.get()
    if meter is None:
        yield
        return
    with meter._counting(device):
        yield
