"""Cells: what is measured, each with a file of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from measuring.record import provenance

from evidence.kept import digest, only_here
from seco.common.files import write_bytes

State = Literal["done", "made otherwise", "missing"]


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Args:
        suite: "seco" or "sgg".
        data: of ``evidence.planned.DATA``.
        setting: what is known of source and target.
        arm: how labels or translations are made.
        seed: of all that is random.
        options: what else is not as usual, in the order of the names.
    """

    suite: str
    data: str
    setting: str
    arm: str
    seed: int
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, suite: str, data: str, setting: str, arm: str, seed: int, **options: Any) -> Cell:
        """With options by name."""
        return cls(suite, data, setting, arm, seed, tuple(sorted(options.items())))

    @property
    def section(self) -> str:
        """The part of a setting that is finished, and told, as a whole."""
        if self.option("round") is not None:
            return f"{self.setting}, rounds"
        if self.option("settings") is not None:
            return f"{self.setting}, {self.option('settings')}'s settings"
        if self.option("witness") is not None:
            return f"{self.setting}, with confidences"
        return self.setting

    @property
    def variant(self) -> str:
        """The arm with its options: all but the seed."""
        return ", ".join([self.arm, *(f"{name}={value}" for name, value in self.options)])

    @property
    def name(self) -> str:
        """All of it, readable; what ``--only`` looks at."""
        return f"{self.suite}/{self.data}/{self.setting}/{self.variant}/seed {self.seed}"

    def option(self, name: str, default: Any = None) -> Any:
        """One option's value."""
        return dict(self.options).get(name, default)

    def path(self, out: Path) -> Path:
        """Its file in a folder of results."""
        return (
            out
            / "cells"
            / Path(*(_plain(part) for part in self.name.split("/"))).with_suffix(".json")
        )

    def as_json(self) -> dict[str, Any]:
        """For files."""
        return vars(self) | {"options": dict(self.options)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Cell:
        """Read what :meth:`as_json` gave."""
        options = dict(said["options"])
        rest = {name: value for name, value in said.items() if name != "options"}
        return cls.of(**rest, **options)


def before_in_rounds(cell: Cell) -> Cell:
    """The same arm one round before; the first has no such option."""
    options = {**dict(cell.options), "round": cell.option("round") - 1}
    if options["round"] == 1:
        del options["round"]
    return Cell.of(cell.suite, cell.data, cell.setting, cell.arm, cell.seed, **options)


def state_of(cell: Cell, made_with: Mapping[str, Any], out: Path) -> State:
    """Whether a cell's file is there, and made with the same settings."""
    path = cell.path(out)
    if not path.exists():
        return "missing"
    known = json.loads(path.read_bytes())["fingerprint"]
    return "done" if known == digest(made_with) else "made otherwise"


def measure(
    cell: Cell,
    made_with: Mapping[str, Any],
    out: Path,
    run: Callable[[Cell], Mapping[str, Any]],
) -> str:
    """Run a cell unless that is done, or another process is at it; say what became of it."""
    path = cell.path(out)
    with only_here(path.with_name(f".{path.name}.lock"), wait=False) as mine:
        if not mine:
            return "another process is at it"
        if state_of(cell, made_with, out) == "done":
            return "done before"
        started = time.time()
        numbers = run(cell)
        record = {
            "cell": cell.as_json(),
            "fingerprint": digest(made_with),
            "made_with": made_with,
            **provenance(),
            "seconds": round(time.time() - started, 1),
            "numbers": numbers,
        }
        write_bytes(path, (json.dumps(record, indent=1, default=str) + "\n").encode())
        return f"{record['seconds']} s"


def _plain(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9=.]+", "-", part).strip("-").replace(".", "_")
