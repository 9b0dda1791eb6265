"""Run the comparisons that both papers rest on, and write what came out.

    python examples/evidence --suite all --data streets --seeds 3 --scale cpu --out evidence
    python examples/evidence --out evidence --scale cpu --publish   # into docs/results/evidence
    python examples/evidence --write-docs                      # docs/evidence.md, docs/evidence/

``streets`` needs nothing; ``camvid`` takes a folder with images/, labels/ and pseudo/, each with
train/ and val/, and its translations a diffusion model of dusk images; ``camvid-imagenet`` is the
suite of labels with a network that knows photographs (measuring/imagenet.py says what to install),
and wants edges/ beside images/: how strong an edge every pixel is, 0-255. Every cell is a file of
its own: a killed run goes on, and several may work on one folder. ``--list`` shows all cells and
which are done, ``--dry-run`` what would be run, ``--only`` takes those whose name has a word in it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from evidence.cells import Cell
from evidence.context import Context, scale_of
from evidence.docs import write_docs
from evidence.planned import DATA, planned
from evidence.publish import publish
from evidence.running import SUITES, run, states
from evidence.scales import SCALES

MOST_PROCESSES = 8
"""Unless more are asked for: each holds models and images of its own."""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python examples/evidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=("seco", "sgg", "all"), default="all")
    parser.add_argument("--data", choices=DATA, default="streets")
    parser.add_argument("--folder", type=Path, help="of CamVid")
    parser.add_argument("--diffusion", type=Path, help="diffusers folder, for sgg on CamVid")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("out/evidence"), help="results")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS",
                        help="cells whose name (see --list) or section (on the page) has "
                        "one of these")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="show the cells and leave")
    parser.add_argument("--dry-run", action="store_true", help="show what would be run")
    parser.add_argument("--sam", default="tiny", help="tiny, vit_b, vit_l or vit_h")
    parser.add_argument("--checkpoint", help="of that SAM")
    parser.add_argument("--device", help="cuda or cpu; what is there, if not given")
    parser.add_argument("--processes", type=int,
                        help="side by side; one a core, at most 8, or one with a GPU")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, for each process")
    parser.add_argument("--publish", action="store_true",
                        help="gather finished groups into docs/results/evidence")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true",
                        help="write docs/evidence.md and what it leads to")  # fmt: skip
    args = parser.parse_args(words)

    if args.write_docs:
        for path in write_docs():
            print(path)
        return
    device = "cuda" if torch.cuda.is_available() and args.scale == "gpu" else "cpu"
    context = Context(
        args.data,
        args.folder,
        scale_of(args.data, args.scale),
        args.out / args.scale,
        torch.device(args.device or device),
        args.sam,
        args.checkpoint,
        args.diffusion,
    )
    cells = planned(args.suite, args.data, args.scale, range(args.seeds))
    if not cells:
        parser.error(f"--suite {args.suite}: not with --data {args.data}")
    if args.publish:
        for line in publish(context, cells, {name: own[0] for name, own in SUITES.items()}):
            print(line)
        return
    if args.only:
        cells = [cell for cell in cells if _has_one(cell, args.only)]
        if not cells:
            parser.error(f"--only {' '.join(args.only)}: no cell's name or section has that")
    if args.list or args.dry_run:
        _show(cells, context, only_missing=args.dry_run)
        return
    usual = min(os.cpu_count() or 1, MOST_PROCESSES) if context.device.type == "cpu" else 1
    run(cells, context, processes=args.processes or usual, threads=args.threads)


def _has_one(cell: Cell, words: Sequence[str]) -> bool:
    return any(word in cell.name or word in cell.section for word in words)


def _show(cells: Sequence[Cell], context: Context, *, only_missing: bool) -> None:
    found = states(cells, context)
    for cell, state in found.items():
        if not only_missing or state != "done":
            print(f"{state:15} {cell.name}")
    print(f"{sum(state == 'done' for state in found.values())} of {len(cells)} cells are done")
