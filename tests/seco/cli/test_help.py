"""Help, versions, and the commands as they are installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from seco_command import QUICK, contents

import seco
from seco import ProposalSettings, PSASettings, SCCSettings
from seco.cli import COMMANDS
from seco.common.settings_text import change_settings


@pytest.mark.parametrize("command", ["regions", "refine", "fit", "run"])
def test_the_example_in_the_help_is_taken(command):
    """What --help says of --set and --sam is so."""
    said = " ".join(run(command, "--help").stdout.split())
    name, value = re.search(r"such as --set (\w+)=([\d.]+)", said).groups()
    usual = {"regions": ProposalSettings(), "fit": SCCSettings()}.get(command, PSASettings())
    assert change_settings(usual, [f"{name}={value}"]) != usual
    assert ("none needs --regions" in said) == (command == "refine")
    assert ("|none" in said) == (command == "refine")


def test_version_and_help():
    assert run("--version").stdout == f"seco {seco.__version__}\n"
    assert "refine" in run("--help").stdout
    assert "--overwrite" in run("refine", "--help").stdout
    assert run("refine").exit_code == 2


def test_where_errors_came_from_is_shown_on_request(work):
    folders = ("refine", work / "images", work / "labels")
    (work / "images/a/two.png").write_bytes(b"")
    wrong = (*folders, work / "out", "--device", "cpu", "--set", "no_such=1")
    bad = (*folders, work / "out", *QUICK)
    for command, code, function in ((wrong, 2, "in change_settings"), (bad, 1, "in read_image")):
        shown = run("--traceback", *command)
        assert shown.exit_code == code
        assert shown.stderr.count("Traceback (most recent call last)") >= 1
        assert function in shown.stderr
        shown = run(*command)
        assert shown.exit_code == code
        assert "Traceback" not in shown.stderr


def test_the_examples_of_the_help_are_right():
    for command, _, examples in COMMANDS:
        shown = " ".join(run(command.__name__, "--help").stdout.split())
        for example in examples.split("\n\n"):
            assert example in shown
            # "--help" ends what has been understood
            assert run(*example.split()[1:], "--help").exit_code == 0


@pytest.mark.parametrize("name", ["seco", "sgg"])
def test_entry_points_are_installed(name):
    command = Path(sys.executable).with_name(name)
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{name} {seco.__version__}\n"
    assert shown.stderr == ""


def test_the_real_command_refines_a_folder_and_fails_with_1(work):
    (work / "images/a/two.png").write_bytes(b"")
    shown = subprocess.run(
        [Path(sys.executable).with_name("seco"), "refine", "images", "labels", "out", *QUICK],
        cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 1, shown.stderr
    assert "failed: a/two: images/a/two.png: expected a readable image" in shown.stderr
    assert "2 refined, 0 skipped, 1 failed; results in out" in shown.stdout
    assert sorted(contents(work / "out")) == ["a/one.png", "b/three.png"]
