"""The command says what there is."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import sgg
from sgg.cli import app


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_says_that_the_command_comes_later(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "sgg.translate is there for Python" in result.stdout


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"sgg {sgg.__version__}\n"


def test_refuses_what_it_does_not_have():
    assert CliRunner().invoke(app, ["translate"]).exit_code == 2
