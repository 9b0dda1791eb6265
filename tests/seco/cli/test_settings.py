"""Settings reach the method, can all be set, and are explained."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from commands import run
from seco_command import refine

import seco
from seco import PAPER, ProposalSettings, PSASettings, SCCSettings
from seco.common.settings_text import change_settings, list_settings
from seco.sam.tiny import PROPOSALS


@pytest.fixture
def calls(monkeypatch):
    """The keyword arguments of every call of the function that the command wraps."""
    seen = []
    original = seco.refine_with_details

    def spy(*args, **kwargs):
        seen.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr("seco.folder.refine.refine_with_details", spy)
    return seen


def test_paper_and_method_and_set_reach_the_method(work, calls):
    result = refine(
        work, "--paper", "--method", "alignment", "--set", "method=alignment",
        "--set", "box_enlargement=2", "--outside", "keep",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = replace(
        PAPER,
        method="alignment",
        box_enlargement=2.0,
        images_per_batch=1,  # of a job, whatever the default
        proposals=replace(PROPOSALS, points_per_side=3),
    )
    assert [call["settings"] for call in calls] == [expected] * 3
    assert calls[0]["outside"] == "keep"
    assert calls[0]["confidence"] is None


@pytest.mark.parametrize(
    ("more", "fraction", "threshold"),
    [
        ((), 0.5, None),
        (("--keep-fraction", "0.3"), 0.3, None),
        (("--confidence-threshold", "0.25"), 0.5, 0.25),
    ],
)
def test_selection_reaches_the_method(work, calls, more, fraction, threshold):
    assert refine(work, "--confidence", work / "confidence", *more).exit_code == 0
    assert calls[0]["keep_fraction"] == fraction
    assert calls[0]["confidence_threshold"] == threshold
    assert calls[0]["outside"] == "ignore"
    assert calls[0]["settings"].method == "psa"


def test_every_setting_can_be_set_and_is_explained():
    names = {field.name for owner in (PSASettings, ProposalSettings) for field in fields(owner)}
    names -= {"proposals", "images_per_batch"}
    page = list_settings(PSASettings(), PAPER, ["images_per_batch"]).split("\n")
    assert {line.split(" = ")[0] for line in page if not line.startswith(" ")} == names
    for name in names:
        start = next(i for i, line in enumerate(page) if line.startswith(f"{name} = "))
        assert page[start + 1].startswith("    expected: ")
        assert page[start + 2].startswith("    "), f"{name} has no meaning"
        value = page[start].split(" = ")[1].split()[0]
        changed = change_settings(PSASettings(), [f"{name}={value}"])
        assert changed.proposals in (None, ProposalSettings())
        assert replace(changed, proposals=None) == PSASettings()
    assert run("refine", "--list-settings").stdout.rstrip("\n") == "\n".join(page)


@pytest.mark.parametrize("command", ["refine", "run"])
def test_a_setting_that_means_nothing_in_commands_is_refused(work, command):
    folders = (work / "images", work / "labels", work / "out")
    result = run(command, *folders, "--device", "cpu", "--set", "images_per_batch=2")
    assert result.exit_code == 2
    assert "--set images_per_batch: expected no such setting" in result.stderr


@pytest.mark.parametrize(
    ("command", "default"), [("fit", SCCSettings()), ("regions", ProposalSettings())]
)
def test_settings_of_other_commands_can_be_set_and_are_explained(command, default):
    page = run(command, "--list-settings").stdout.rstrip("\n").split("\n")
    names = [line.split(" = ")[0] for line in page if not line.startswith(" ")]
    assert names == [field.name for field in fields(default)]
    for name in names:
        start = next(i for i, line in enumerate(page) if line.startswith(f"{name} = "))
        assert page[start + 2].startswith("    "), f"{name} has no meaning"
        own = page[start].split("  (--paper")[0].replace(" ", "")
        assert change_settings(default, [own]) == default


def test_optional_numbers_are_set_and_unset():
    changed = change_settings(SCCSettings(), ["iterations=7"])
    assert changed.iterations == 7
    assert change_settings(changed, ["iterations=none"]) == SCCSettings()
    with pytest.raises(ValueError, match="iterations: expected an integer or none, got 'many'"):
        change_settings(changed, ["iterations=many"])


@pytest.mark.parametrize("command", ["refine", "fit", "run", "evaluate"])
def test_a_label_space_that_nobody_said_is_told(command, tmp_path, monkeypatch):
    """Class ids of another data set, too, are ids of the default."""
    monkeypatch.chdir(tmp_path)
    places = ("images", "labels", "out")[: 2 if command == "evaluate" else 3]
    said = "Labels are read as cityscapes (19 classes), the default; --label-space says other"
    assert run(command, *places).stderr.count(said) == 1
    assert "Labels are read as" not in run(command, *places, "--label-space", "cityscapes").stderr
    assert "Labels are read as" not in run(command, "--help").output
    monkeypatch.setenv("RANK", "1")  # of torchrun's processes the first one speaks
    assert "Labels are read as" not in run(command, *places).stderr
