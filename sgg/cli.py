"""The ``sgg`` command."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Translate labelled source images to the target domain, guided by their labels (SGG).",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; the entry point ``sgg``."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        from sgg import __version__

        typer.echo(f"sgg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
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
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(result.table())
    for path in write_demo(result, out):
        typer.echo(f"Wrote {path}")
    typer.echo(f"{result.summary()} ({time.perf_counter() - started:.0f} s)")
