"""The command ``sgg`` itself."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Translate labelled source images to the target domain, guided by their labels (SGG).",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
