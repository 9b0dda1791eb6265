"""The command says what there is."""

from __future__ import annotations

from typer.testing import CliRunner

import sgg
from sgg.cli import app


def test_says_what_there_is():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.stdout


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"sgg {sgg.__version__}\n"


def test_refuses_what_it_does_not_have():
    assert CliRunner().invoke(app, ["translate"]).exit_code == 2
