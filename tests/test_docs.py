"""The pages' python code runs as it stands there, block after block, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch
import typer
from commands import run
from PIL import Image
from typer.main import get_command

import seco
from seco.cli.app import app as seco_app
from seco.common.files import read_confidence, read_label
from seco.demo import street_scene
from sgg.cli.app import app as sgg_app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Its code wants mmseg: tests/clients/test_pages.py runs it with stand-ins.
ELSEWHERE = {"clients/mmsegmentation.md"}
PAGES = {
    name: blocks
    for page in sorted(DOCS.rglob("*.md"))
    if (name := page.relative_to(DOCS).as_posix()) not in ELSEWHERE
    and (blocks := pages.python_blocks(page))
}


def a_model_and_its_images() -> dict[str, Any]:
    for place in ("images/ulm/one.jpg", "images/bonn/two.jpg"):
        Path(place).parent.mkdir(parents=True)
        Image.fromarray(street_scene(0, size=(32, 64)).image).save(place)
    stuff = torch.zeros(1, 19, 8, 16)
    stuff[0, 0, 4:], stuff[0, 10, :4] = 3, 2
    return {"model": lambda images: stuff, "preprocess": lambda image: None}


# What the text around a page's code has said is there; on all others nothing is.
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "folder-jobs.md": a_model_and_its_images,
    "back-ends.md": lambda: {"load_sam": seco.load_sam, "torch": torch},
    "tiny-sam.md": lambda: {
        "image": np.zeros((64, 96, 3), np.uint8),
        "box": np.array([8, 8, 40, 40]),
    },
}


def test_there_are_pages_with_code():
    assert len(PAGES) > 10
    assert set(GIVEN) <= set(PAGES)


@pytest.mark.filterwarnings("ignore::seco.NoNoiseFoundWarning")  # so few images have no two kinds
@pytest.mark.parametrize("page", PAGES)
def test_python_code_of_a_page_runs(page, monkeypatch, tmp_path):
    pages.tiny_for_all(monkeypatch)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = GIVEN.get(page, dict)()
    for number, block in enumerate(PAGES[page]):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_labels_written_as_the_page_says_are_taken(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = a_model_and_its_images()
    exec(PAGES["folder-jobs.md"][0], names)
    assert np.unique(read_label("labels/ulm/one.png")).tolist() == [0, 10]
    top = read_confidence("confidence/bonn/two.npy")
    assert top.max() == pytest.approx(np.exp(3) / (np.exp(3) + 18), abs=1e-3)
    quick = ("--set", "points_per_side=1", "--device", "cpu", "--confidence", "confidence")
    done = run("refine", "images", "labels", "refined", *quick)
    assert done.exit_code == 0, done.output
    assert "2 refined" in done.stdout


COMMANDS = {"seco": get_command(seco_app), "sgg": get_command(sgg_app)}
SCRIPTS = [
    (page.relative_to(ROOT).as_posix(), line)
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    for block in pages.blocks(page, "(?:bash|sh)")
    for line in block.replace("\\\n", " ").splitlines()
    for line in re.split(r"&&|;|\|", line)
    if re.match(r"\s*(?:torchrun .*)?\b(?:seco|sgg)\b", line)
]


def test_there_are_commands_in_the_pages():
    assert len(SCRIPTS) > 30


@pytest.mark.parametrize(("page", "line"), SCRIPTS)
def test_a_command_of_a_page_is_one(page, line):
    """It is parsed as the shell and the command do it; of the files that it names none is there."""
    words = shlex.split(line, comments=True)
    start = max(index for index, word in enumerate(words) if word in COMMANDS and index < 6)
    package, *words = words[start:]
    try:
        COMMANDS[package].commands[words[0]].make_context(words[0], words[1:])
    except typer.BadParameter as error:
        assert "does not exist" in str(error)


REFERENCE = {
    page.stem.replace("-", "."): re.findall(
        r"^::: ([\w.]+)$", page.read_text("utf-8"), re.MULTILINE
    )
    for page in sorted((DOCS / "api").glob("*.md"))
}


def test_the_reference_is_of_both_packages():
    assert {"seco", "sgg", "seco.plots", "sgg.plots"} <= set(REFERENCE)


@pytest.mark.parametrize("module", REFERENCE)
def test_the_reference_shows_every_public_name(module):
    names = import_module(module).__all__
    assert names
    whole, *single = REFERENCE[module]
    assert whole == module
    if single:
        assert sorted(single) == sorted(f"{module}.{name}" for name in names)
    else:
        # It shows what `__all__` names, unless a module of that name hides it from what reads it.
        assert [name for name in names if find_spec(f"{module}.{name}") is not None] == []


@pytest.mark.parametrize(
    "file", sorted((DOCS / "results").rglob("*.json")), ids=lambda file: file.name
)
def test_results_say_what_command_made_them(file):
    if file.name == "notes.json":  # words of the pages of evidence, and no figures
        return
    found = json.loads(file.read_bytes())
    commands = [found["command"]] if "command" in found else [r["command"] for r in found["runs"]]
    assert commands
    for command in commands:
        program, script, *_ = shlex.split(command)
        assert program == "python"
        path = ROOT / script
        assert path.is_file() or (path / "__main__.py").is_file()


def test_results_named_in_the_pages_are_there():
    named = {
        (page.name, name)
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"results/([\w./-]+\.(?:json|png))", page.read_text("utf-8"))
        if "*" not in name
    }
    assert len(named) > 30
    assert not [pair for pair in named if not (DOCS / "results" / pair[1]).is_file()]
