"""The command says what there is."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import sgg
from sgg.cli import app


def test_says_what_there_is():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("translate", "progressive", "evaluate", "demo"))


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"sgg {sgg.__version__}\n"


def test_overwrite_says_what_it_makes_anew():
    said = {
        command: " ".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())
        for command in ("translate", "progressive")
    }
    assert "does not go on after a stop" in said["translate"]
    assert "does not go on after a stop" not in said["progressive"]
    assert (
        "what would be the same now stays. Such a run goes on after a stop" in said["progressive"]
    )


def test_refuses_what_it_does_not_have():
    assert CliRunner().invoke(app, ["imagine"]).exit_code == 2


@pytest.mark.parametrize("command", ["translate", "progressive", "evaluate"])
def test_asks_for_what_is_missing(command):
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "Missing argument" in result.output
