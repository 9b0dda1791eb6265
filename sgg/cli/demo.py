"""``sgg demo``: see what it does, offline."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from seco.common.cli.running import stop


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("sgg-demo"),
    images: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 16,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="The first scene. The bundled models were trained on 0-3999; 100000-100299 are "
            "kept for reports.",
        ),
    ] = 100_000,
) -> None:
    """See what it does, offline: generated game scenes, translated to the camera look.

    A bundled diffusion model that has seen only unlabelled camera scenes translates scenes with
    the clean look of a game, unguided and guided by their labels; a segmenter that knows the
    camera look says what became of the labels. Writes a figure and tables.
    """
    from tqdm import tqdm

    from sgg.demo.demo import run_demo, write_demo

    started = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
        result = run_demo(
            range(seed, seed + images), progress=partial(tqdm, unit="arm", disable=None)
        )
    except (OSError, ModuleNotFoundError) as error:
        stop(str(error))
    typer.echo(result.table())
    for path in write_demo(result, out):
        typer.echo(f"Wrote {path}")
    typer.echo(f"{result.summary()} ({time.perf_counter() - started:.0f} s)")
