"""What a report keeps on the disk, so that an unchanged data set is not measured twice.

The measures of an image are a file of their own, an output of a job: see :mod:`seco.common.jobs`.
The page is recognised by what it was made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from seco.common.array_files import read_arrays, write_arrays
from seco.common.arrays import Array
from seco.common.confusion import Confusion
from seco.common.files import write_bytes
from seco.common.jobs import Signature
from seco.common.labels import LabelSpace
from seco.evaluation import LabelQuality, TrueConnectivities
from seco.evaluation.boundary import BoundaryOverlap
from seco.report.content import Report
from seco.report.page import write_report
from seco.report.summary import LabelChanges

_FORMAT = 1
_COLUMNS = tuple(field.name for field in fields(TrueConnectivities))


def write_measures(path: Path, measured: LabelChanges) -> None:
    """Write the summary of one image atomically; the folder must exist."""
    ((name, changed),) = measured.changed
    tables = {
        "name": np.array(name),
        "changed": np.array(changed),
        "steps": np.array(measured.steps),
        "transitions": measured.transitions,
        "decisions": measured.decisions,
        **{column: getattr(measured.connectivities, column) for column in _COLUMNS},
    }
    if measured.compared:
        found = [measured.quality[step] for step in measured.steps]
        tables["confusion"] = np.stack([one.confusion.counts for one in found])
        tables["intersection"] = np.stack([one.boundary.intersection for one in found])
        tables["union"] = np.stack([one.boundary.union for one in found])
    write_arrays(path, _FORMAT, tables)


def read_measures(path: Path, space: LabelSpace) -> LabelChanges:
    """Read what :func:`write_measures` wrote.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is something else.
    """
    try:
        data = read_arrays(path, _FORMAT)
        steps = tuple(data["steps"].tolist())
        quality = {}
        if "confusion" in data:
            parts: Sequence[Array] = [data[k] for k in ("confusion", "intersection", "union")]
            quality = {
                step: LabelQuality(Confusion(counts), BoundaryOverlap(both, either))
                for step, counts, both, either in zip(steps, *parts, strict=True)
            }
        return LabelChanges(
            space=space,
            steps=steps,
            transitions=data["transitions"],
            decisions=data["decisions"],
            changed=[(str(data["name"]), float(data["changed"]))],
            quality=quality,
            compared=int(bool(quality)),
            connectivities=TrueConnectivities(*(data[column] for column in _COLUMNS)),
        )
    except OSError:
        raise
    except Exception as error:  # whatever the tables hold
        raise ValueError(f"{path}: expected an image's measures, got {error}") from error


def write_pages(
    page: Path,
    numbers: Path,
    report: Report,
    said: Mapping[str, Any],
    shown: Sequence[Path],
    *,
    overwrite: bool = False,
) -> bool:
    """Write a report's page, and the same for programs, unless they are there already.

    Args:
        page: HTML file to write.
        numbers: JSON file to write.
        report: what to show.
        said: more for the JSON.
        shown: the files that the gallery shows.
        overwrite: write whatever is there.

    Returns:
        Whether they were written.

    Raises:
        OSError, ValueError: a file cannot be written, or an image of the gallery not read.
    """
    content = {**said, **report.numbers()}
    content["made_of"] = _digest(report, content, shown)
    if not overwrite and _is_current(page, numbers, content["made_of"]):
        return False
    write_report(page, report)
    content["page"] = Signature.of(page).sha256
    write_bytes(numbers, (json.dumps(content, indent=1) + "\n").encode())
    return True


def _digest(report: Report, content: Mapping[str, Any], shown: Sequence[Path]) -> str:
    """A hash of all that a page shows; of the corrector its facts have one."""
    listed = {
        "title": report.title,
        "numbers": content,
        "settings": {step: list(map(repr, rows)) for step, rows in report.settings.items()},
        "facts": dict(report.facts),
        "shown": [Signature.of(path).sha256 for path in shown],
    }
    digest = hashlib.sha256(json.dumps(listed, default=list).encode())
    for column in astuple(report.summary.connectivities):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _is_current(page: Path, numbers: Path, made_of: str) -> bool:
    try:
        said: Any = json.loads(numbers.read_bytes())
        return bool(said["made_of"] == made_of and said["page"] == Signature.of(page).sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False
