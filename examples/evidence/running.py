"""Running cells: in one process, or side by side in several."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from measuring.record import write_record
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from evidence.cells import Cell, State, measure, state_of
from evidence.context import Context
from evidence.seco_suite import run_seco, seco_made_with
from evidence.sgg_suite import run_sgg, sgg_made_with

SUITES = {
    "seco": (seco_made_with, run_seco),
    "sgg": (sgg_made_with, run_sgg),
}


def states(cells: Sequence[Cell], context: Context) -> dict[Cell, State]:
    """Whether each cell is done."""
    return {
        cell: state_of(cell, SUITES[cell.suite][0](cell, context), context.out) for cell in cells
    }


def run(cells: Sequence[Cell], context: Context, *, processes: int, threads: int) -> None:
    """Measure what is not done yet, and write how long that took: run.json beside the cells.

    Args:
        cells: in the order in which they are begun.
        context: of all of them.
        processes: how many work side by side, each on a cell of its own.
        threads: of the CPU, for each of them.

    Raises:
        SystemExit: a process failed; the others are stopped, and what was done is kept.
    """
    started, before = time.time(), _done(cells, context)
    if processes == 1:
        _work(cells, context, threads)
    else:
        _side_by_side(cells, context, processes, threads)
    done = _done(cells, context)
    print(f"{done} of {len(cells)} cells are done")
    if done < len(cells):
        print("The others were with another process: run this again for what it leaves.")
    if done > before:
        write_record(
            context.out / "run.json", "examples/evidence", started=started, hidden=context.folder,
            cells=done - before, processes=processes, threads=threads, cores=os.cpu_count(),
        )  # fmt: skip


def _done(cells: Sequence[Cell], context: Context) -> int:
    return Counter(states(cells, context).values())["done"]


def _side_by_side(cells: Sequence[Cell], context: Context, processes: int, threads: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    lock = spawn.RLock()  # of the terminal
    working: list[BaseProcess] = [
        spawn.Process(target=_work, args=(cells, context, threads, place, lock), daemon=True)
        for place in range(processes)
    ]
    for process in working:
        process.start()
    while working:
        wait([process.sentinel for process in working])
        codes = [process.exitcode for process in working]
        working = [one for one, code in zip(working, codes, strict=True) if code is None]
        if any(codes):
            for process in working:
                process.terminate()
            raise SystemExit("a process failed, see above; run this again for what is left")


def _work(
    cells: Sequence[Cell], context: Context, threads: int, place: int = 0, lock: Any = None
) -> None:
    """What one process does; the bar of the ``place``-th is below those of the others."""
    if lock is not None:
        tqdm.set_lock(lock)
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scikit-learn's
    parent = multiprocessing.parent_process()
    for cell in (bar := tqdm(cells, unit="cell", position=place)):
        if parent is not None and not parent.is_alive():
            return  # it was killed, and nobody waits
        made_with, measured = SUITES[cell.suite]
        bar.set_description(cell.name)
        said = measure(
            cell, made_with(cell, context), context.out, partial(measured, context=context)
        )
        if "before" not in said and "another" not in said:
            tqdm.write(f"{cell.name}: {said}")
