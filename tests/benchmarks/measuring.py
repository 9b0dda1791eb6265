"""Seconds and peak memory of a call, on a CPU or a GPU."""

from __future__ import annotations

import ctypes
import gc
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")
_PROC = Path("/proc/self")


def seconds_of(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Run something and time it: by :func:`clock_of`, to the end of what a GPU was given to do."""
    clock = time.process_time if clock_of(device) == "process" else time.perf_counter
    synchronize(device)
    start = clock()
    result = call()
    synchronize(device)
    return clock() - start, result


def clock_of(device: torch.device) -> str:
    """``"process"`` with one thread on a CPU: its time, which other work hardly changes."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return "process" if alone else "wall"


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turns(
    calls: Mapping[str, Callable[[], Any]],
    device: torch.device,
    *,
    repeats: int,
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """Seconds of every call: they take turns, so that a slower moment of the machine meets all.

    Args:
        calls: what is compared.
        device: where they run.
        repeats: turns that count.
        warm_up: turns before, which do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + repeats):
        for name, call in calls.items():
            spent, _ = seconds_of(call, device)
            if turn >= warm_up:
                seconds[name].append(spent)
    return seconds


def peak_megabytes(call: Callable[[], Any], device: torch.device) -> float | None:
    """Peak memory of a call above what was taken before it; ``None`` where it is not told.

    On a GPU of torch's allocator, on Linux of the process (resident). There, what an earlier call
    has left to the allocator is given back before; the first call of a process reads libraries.
    """
    gc.collect()
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not (_PROC / "clear_refs").exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    (_PROC / "clear_refs").write_text("5")  # the peak is now what is taken
    before = _resident("VmRSS")
    call()
    return (_resident("VmHWM") - before) / 1e6


def _resident(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", (_PROC / "status").read_text(), re.MULTILINE)
    return 0 if found is None else 1024 * int(found[1])
