"""How a result came about: what every results file says of itself."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from seco.common.files import write_bytes


def provenance() -> dict[str, str]:
    """The commit and the machine that a result comes from."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    return {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def write_record(
    path: Path, script: str, *, started: float, hidden: Path | None = None, **said: Any
) -> None:
    """Write results as JSON, with the command, the commit and the machine they come from.

    Args:
        path: to write to.
        script: the file that was run.
        started: ``time.time()`` then.
        hidden: a folder to call DIR in the command.
        said: settings and results.
    """
    words = ["DIR" if hidden is not None and Path(w) == hidden else w for w in sys.argv[1:]]
    record = {
        "command": shlex.join(["python", script, *words]),
        **provenance(),
        "seconds": round(time.time() - started),
    }
    write_bytes(path, json.dumps(record | said, indent=1).encode())
