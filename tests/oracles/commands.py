"""The ``seco`` command, called as a user calls it."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from seco.cli import app


def run(*arguments: object) -> Result:
    """What a command printed and its exit code; an error that it does not tell is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
