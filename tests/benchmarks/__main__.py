"""All benchmarks, one after another, each in a process of its own; and the page of their figures.

    python tests/benchmarks --scale cpu --out docs/results
    python tests/benchmarks --device cuda --scale gpu --minutes 9 --out results
    python tests/benchmarks --write-docs

Every benchmark writes ``bench_NAME.json`` (on a GPU ``bench_NAME_cuda.json``) as soon as it is
done. Started again, the command goes on with what is not done yet at this commit with these
options. What fails does not stop the rest. The exit code is 0 if all is done, 1 if something
failed, and 3 if only time was lacking: then what is left is named.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from page import write_docs
from provenance import COMMIT, HERE, commit_now
from suite import SCALES, SUITE, Run, planned

DOCS = HERE.parents[1] / "docs"
FAILED, LEFT = 1, 3


def run(what: Run, seconds: float | None) -> str:
    """Run one benchmark.

    Returns:
        ``"done"``, ``"failed"``, or ``"left"`` if it was not done in so many seconds.
    """
    words = [sys.executable, str(HERE / what.script), *what.words, "--out", str(what.path)]
    # Its own session, so that what it has started ends with it.
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "left"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "failed" if status else "done"


def run_all(todo: Sequence[Run], args: argparse.Namespace) -> int:
    """Run what is not done, as long as there is time; the exit code."""
    args.out.mkdir(parents=True, exist_ok=True)
    began, commit, states, ran = time.monotonic(), commit_now(), {}, False
    for what in todo:
        if what.done(commit) and not args.again:
            states[what.name] = "done before"
            continue
        left = None
        if args.minutes is not None:
            left = 60 * args.minutes - (time.monotonic() - began)
            # What is longer than a whole call is tried when the call has done nothing else.
            if left <= 0 or (ran and left < 60 * what.minutes):
                states[what.name] = "left"
                continue
        ran = True
        print(f"{what.name}: {what.command}", file=sys.stderr, flush=True)
        states[what.name] = run(what, left)
    for state in ("done before", "done", "failed", "left"):
        names = [name for name, found in states.items() if found == state]
        if names:
            print(f"{state}: {' '.join(names)}")
    found = set(states.values())
    return FAILED if "failed" in found else LEFT if "left" in found else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--only", nargs="+", choices=SUITE, default=[], metavar="NAME")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--minutes", type=float, help="what does not fit into them is left")
    parser.add_argument("--again", action="store_true", help="what is done, too")
    parser.add_argument("--commit", help="its name, where there is no repository to ask")
    parser.add_argument("--list", action="store_true", help="show the commands, run none")
    parser.add_argument(
        "--write-docs", type=Path, nargs="?", const=DOCS / "benchmarks.md", metavar="FILE",
        help="write the page of docs/results, and do nothing else",
    )  # fmt: skip
    args = parser.parse_args()
    if args.write_docs is not None:
        write_docs(args.write_docs, DOCS / "results")
        return 0
    if args.commit is not None:
        os.environ[COMMIT] = args.commit
    if args.out is None and not args.list:
        parser.error("--out: expected a folder")
    try:
        todo = planned(args.scale, args.device, args.out or Path(), args.only)
    except ValueError as error:
        parser.error(str(error))
    if args.list:
        print("\n".join(f"{what.name}: {what.command}" for what in todo))
        return 0
    return run_all(todo, args)


if __name__ == "__main__":
    sys.exit(main())
