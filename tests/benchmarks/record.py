"""How a benchmark's figures came about: what every results file says of itself."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from provenance import command_line, commit_now

from seco.common.files import write_bytes
from seco.demo.scenes import DEV_SEEDS

_STAT = Path("/proc/stat")


def common_parser(doc: str | None, *, repeats: int | None) -> argparse.ArgumentParser:
    """The options of every benchmark, and what it says of itself with ``--help``.

    Args:
        doc: the script's.
        repeats: measurements of each thing, after one that is not counted; ``None``: the script
            has a number for each device.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--out", type=Path, help="JSON to write; its folder is there")
    return parser


def write_record(
    script: str,
    out: Path | None,
    *,
    device: str | torch.device = "cpu",
    unfinished: bool = False,
    **said: object,
) -> None:
    """Show figures, with the command, the commit, the machine and the versions they come from.

    Args:
        script: the file that was run, without its folder; how it was run is in ``sys.argv``.
        out: file to write the same to as JSON, if any.
        device: where it ran.
        unfinished: whether there is more to come.
        said: settings and results.
    """
    record = {
        "command": command_line(script, sys.argv[1:]),
        "commit": _START.commit,
        "machine": _machine(torch.device(device)),
        "versions": _versions(torch.device(device)),
        "seeds": f"street scenes from {DEV_SEEDS.start} on; 0 of all that is drawn",
        "other work, share of the cores": _START.others(),
        "seconds": round(time.time() - _START.time),
        **({"unfinished": True} if unfinished else {}),
        **said,
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if out is not None:
        write_bytes(out, text.encode())


def summary(values: Sequence[float], *, digits: int = 3) -> dict[str, float]:
    """The middle and the range of what was measured."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def _machine(device: torch.device) -> str:
    threads = torch.get_num_threads()
    if device.type == "cpu":
        own = f"{threads} thread{'s' if threads > 1 else ''}"
        return f"{_processor()}, {own} of {os.cpu_count()} cores"
    memory = torch.cuda.get_device_properties(device).total_memory
    name = torch.cuda.get_device_name(device)
    return f"{name} ({memory / 2**30:.0f} GiB), {_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return ", ".join([*names[:1], platform.machine()])


def _versions(device: torch.device) -> dict[str, str]:
    said = {"python": sys.version.split()[0], "torch": torch.__version__}
    if device.type == "cuda":
        said["cuda"] = str(torch.version.cuda)
    return said


class _Start:
    """When the process began to measure, what of, and how busy the machine had been."""

    def __init__(self) -> None:
        self.commit = commit_now()
        self.time = time.time()
        self._ticks = _ticks()
        self._own = self._seconds()

    def others(self) -> float | None:
        """The share of the cores' time that other processes have had since; ``None``: unknown."""
        busy, every = (now - then for now, then in zip(_ticks(), self._ticks, strict=True))
        if not every:
            return None
        own = (self._seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        return round(max(busy - own, 0) / every, 3)

    @staticmethod
    def _seconds() -> float:
        """Of the process and those it has waited for."""
        return sum(os.times()[:4])


def _ticks() -> tuple[int, int]:
    """Of all cores: those at work, and all; zeros where it is not told."""
    if not _STAT.exists():
        return 0, 0
    user, nice, system, idle, waiting, *rest = map(
        int, _STAT.read_text().splitlines()[0].split()[1:9]
    )
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


_START = _Start()
