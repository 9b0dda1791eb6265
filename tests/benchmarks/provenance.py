"""What is run, and of which commit; imports nothing that takes long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
COMMIT = "BENCHMARKS_COMMIT"
"""Variable of the environment that names the commit where there is no repository."""
CHANGED = " with changes"
"""After a commit's name, where files differ from it: no two such records are of the same code."""
_MEASURED = ("seco", "sgg", "tests/benchmarks")


def commit_now() -> str:
    """The short name of the commit that is checked out, and whether files differ from it."""
    if COMMIT in os.environ:
        return os.environ[COMMIT]
    name = _git("rev-parse", "--short=7", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_MEASURED)
    return name + CHANGED if changed else name


def command_line(script: str, words: Sequence[str]) -> str:
    """How a script was called, without ``--out FILE``, a place on one machine."""
    kept = list(words)
    if "--out" in kept:
        place = kept.index("--out")
        del kept[place : place + 2]
    kept = [word for word in kept if not word.startswith("--out=")]
    return " ".join(["python", f"tests/benchmarks/{script}", *kept])


def _git(*words: str) -> str:
    asked = subprocess.run(
        ["git", *words], capture_output=True, text=True, check=False, cwd=HERE.parents[1]
    )
    return asked.stdout.strip()
