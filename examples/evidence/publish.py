"""Finished sections, gathered from a folder of results into one file of a suite, data and scale."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evidence.camvid import NETWORKS
from evidence.cells import Cell, state_of
from evidence.context import Context
from evidence.planned import DATA
from seco.common.files import write_bytes

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "evidence"


@dataclass(frozen=True)
class Published:
    """What one file holds.

    Args:
        suite: "seco" or "sgg".
        data: of ``evidence.planned.DATA``.
        scale: its name.
        sizes: the scale's.
        machines: that the cells were measured on.
        commits: that they were measured with.
        seconds: of all cells together.
        numbers: of every cell.
    """

    suite: str
    data: str
    scale: str
    sizes: Mapping[str, Any]
    machines: Sequence[str]
    commits: Sequence[str]
    seconds: float
    numbers: Mapping[Cell, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return f"{self.suite}-{self.data}-{self.scale}"

    @property
    def title(self) -> str:
        """A short one: the data, and the scale where it is not the usual."""
        return self.data if self.scale == "cpu" else f"{self.data}, {self.scale}"

    def sections(self) -> dict[str, dict[Cell, Mapping[str, Any]]]:
        """The cells by section, in their order."""
        found: dict[str, dict[Cell, Mapping[str, Any]]] = {}
        for cell, numbers in self.numbers.items():
            found.setdefault(cell.section, {})[cell] = numbers
        return found


def publish(
    context: Context,
    cells: Sequence[Cell],
    made_with: Mapping[str, Callable[[Cell, Context], Mapping[str, Any]]],
    results: Path = RESULTS,
) -> Iterator[str]:
    """Write the sections of which every cell is done; say of each section what became of it."""
    results.mkdir(parents=True, exist_ok=True)
    sections: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        sections.setdefault((cell.suite, cell.section), []).append(cell)
    finished: dict[str, list[Cell]] = {}
    for (suite, section), own in sections.items():
        states = [state_of(cell, made_with[suite](cell, context), context.out) for cell in own]
        done = states.count("done")
        yield f"{suite}, {section}: {done} of {len(own)} cells"
        if done == len(own):
            finished.setdefault(suite, []).extend(own)
    for suite, own in finished.items():
        scale = context.scale
        records = [json.loads(cell.path(context.out).read_bytes()) for cell in own]
        rows = [
            json.dumps(
                {**_short(record["cell"]), "seconds": record["seconds"],
                 "numbers": _rounded(record["numbers"])}
            )
            for record in records
        ]  # fmt: skip
        words = f"--suite {suite} --data {context.data} --scale {scale.name}"
        if context.data in NETWORKS:
            words += " --folder DIR" + (" --diffusion DIR" if suite == "sgg" else "")
        head = {
            "command": f"python examples/evidence {words} --seeds {len({c.seed for c in own})}",
            "suite": suite,
            "data": context.data,
            "scale": scale.name,
            "sizes": asdict(scale.seco if suite == "seco" else scale.sgg),
            "machines": sorted({record["machine"] for record in records}),
            "commits": sorted({record["commit"] for record in records}),
        }
        text = (
            json.dumps(head, indent=1)[:-2]
            + ',\n "cells": [\n  '
            + ",\n  ".join(rows)
            + "\n ]\n}\n"
        )
        path = results / f"{suite}-{context.data}-{scale.name}.json"
        write_bytes(path, text.encode())
        yield f"{path.name}: {len(own)} cells"


def read_published(results: Path = RESULTS) -> list[Published]:
    """All files, by suite, and of each in the order of ``evidence.planned.DATA``."""
    found = []
    for path in sorted(results.glob("s*-*-*.json")):
        said = json.loads(path.read_bytes())
        cells = {
            Cell.from_json({**_of(said), **_cell(row)}): row["numbers"] for row in said["cells"]
        }
        found.append(
            Published(
                said["suite"], said["data"], said["scale"], said["sizes"], said["machines"],
                said["commits"], sum(row["seconds"] for row in said["cells"]), cells,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (one.suite, DATA.index(one.data)))


def _of(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"suite": said["suite"], "data": said["data"]}


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("setting", "arm", "seed", "options")}


def _short(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cell.items() if name not in ("suite", "data")}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value
