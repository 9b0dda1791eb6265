"""``seco demo``: see what it does, offline."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from seco.common.cli.running import stop


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("seco-demo"),
    images: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 8,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="The first scene. The bundled models were trained on 0-3999; 100000-100299 are "
            "kept for reports.",
        ),
    ] = 100_000,
) -> None:
    """See what it does, offline: generated street scenes, labelled, refined and measured.

    A bundled segmenter that knows only clean, game-like streets labels scenes with texture,
    weather and a lens; the bundled tiny SAM refines its labels. Writes a figure and tables.
    """
    from tqdm import tqdm

    from seco.demo.demo import run_demo, write_demo

    started = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(str(error))
    progress = partial(tqdm, unit="scene", disable=None)
    result = run_demo(range(seed, seed + images), progress=progress)
    typer.echo(result.table())
    for path in write_demo(result, out):
        typer.echo(f"Wrote {path}")
    typer.echo(f"{result.summary()} ({time.perf_counter() - started:.0f} s)")
