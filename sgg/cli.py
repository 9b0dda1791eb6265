"""The ``sgg`` command: an honest shell until there is a folder job to run."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    subcommand_metavar="",
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


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Translate labelled source images to the target domain with label-guided diffusion (SGG).

    Nothing to run yet: sgg.translate is there for Python, the command for folders comes later.
    The pseudo-label side has its commands already; see seco --help.
    """
    typer.echo(context.get_help())
