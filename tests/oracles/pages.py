"""The code in README and docs, and a small SAM for every one that it asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import seco
from seco.sam.tiny import PROPOSALS


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code in a language, as ``diff``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def python_blocks(page: Path) -> list[str]:
    """The blocks of python code; those with prompts are doctests, which run anyway."""
    return [block for block in blocks(page, "python") if not block.startswith(">>>")]


def tiny_for_all(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Let every ``seco.load_sam`` give the tiny one with a coarse grid; what was asked for."""
    tiny, asked = seco.load_sam("tiny"), []
    tiny.model.proposal_settings = replace(PROPOSALS, points_per_side=8)

    def load_sam(*args: object, **options: object) -> object:
        asked.append((args, options))
        return tiny

    monkeypatch.setattr(seco, "load_sam", load_sam)
    return asked
