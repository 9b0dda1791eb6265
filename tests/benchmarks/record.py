"""How a benchmark's figures came about: what every results file says of itself."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from seco.common.files import write_bytes


def write_record(script: str, out: Path | None, *, device: str = "cpu", **said: object) -> None:
    """Show figures, with the command, the commit, the machine and the versions they come from.

    Args:
        script: the file that was run, without its folder; how it was run is in ``sys.argv``.
        out: file to write the same to as JSON, if any.
        device: where it ran.
        said: settings and results.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    threads = torch.get_num_threads()
    record = {
        "command": " ".join(["python", f"tests/benchmarks/{script}", *_options(sys.argv[1:])]),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
        if device == "cpu"
        else torch.cuda.get_device_name(device),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
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


def _options(words: list[str]) -> list[str]:
    """The options without ``--out FILE``, a place on one machine."""
    if "--out" in words:
        place = words.index("--out")
        return words[:place] + words[place + 2 :]
    return [word for word in words if not word.startswith("--out=")]
