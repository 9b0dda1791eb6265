"""The pages' python code runs as it stands there, block after block, in an empty folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch

import seco

DOCS = Path(__file__).parents[1] / "docs"
# Its code wants mmseg: tests/clients/test_pages.py runs it with stand-ins.
ELSEWHERE = {"clients/mmsegmentation.md"}
PAGES = {
    name: blocks
    for page in sorted(DOCS.rglob("*.md"))
    if (name := page.relative_to(DOCS).as_posix()) not in ELSEWHERE
    and (blocks := pages.python_blocks(page))
}
# What the text around a page's code has said is there; on all others nothing is.
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
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


REFERENCE = [
    module
    for page in sorted((DOCS / "api").glob("*.md"))
    for module in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.MULTILINE)
]


def test_the_reference_is_of_both_packages():
    assert {"seco", "sgg", "seco.plots", "sgg.plots"} <= set(REFERENCE)


@pytest.mark.parametrize("module", REFERENCE)
def test_the_reference_shows_every_public_name(module):
    # It shows what `__all__` names, unless a module of that name hides it from what reads the code.
    names = import_module(module).__all__
    assert names
    assert [name for name in names if find_spec(f"{module}.{name}") is not None] == []
