"""A command with subcommands, ``--version`` and ``--traceback``."""

from __future__ import annotations

from importlib import import_module

import typer

from seco.common.tracebacks import shown_tracebacks


def command_app(package: str, purpose: str) -> typer.Typer:
    """The command of a package, called as it is, without its subcommands.

    Args:
        package: that has a ``__version__``; imported only to tell it.
        purpose: the command's help.
    """
    app = typer.Typer(
        help=purpose,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{package} {import_module(package).__version__}")
            raise typer.Exit

    version = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Show the version and exit."
    )

    tracebacks = typer.Option(
        False, "--traceback", help="Show of every error where in the code it came from."
    )

    @app.callback()
    def root(context: typer.Context, version: bool = version, traceback: bool = tracebacks) -> None:
        if traceback:
            context.with_resource(shown_tracebacks())

    return app
