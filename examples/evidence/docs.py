"""docs/evidence.md and docs/evidence/: made of the committed numbers and notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evidence.file_page import file_page
from evidence.front_page import front_page
from evidence.overview import with_sets, with_students, with_together
from evidence.overview_plots import (
    SETS_PLOT,
    STUDENTS_PLOT,
    TOGETHER_PLOT,
    write_sets_plot,
    write_students_plot,
    write_together_plot,
)
from evidence.plots import plot_name, write_plot
from evidence.publish import RESULTS, Published, read_published
from seco.common.files import write_bytes

DOCS = RESULTS.parents[1]
NOTES = "notes.json"
_OVERVIEW = (
    (STUDENTS_PLOT, with_students, write_students_plot),
    (SETS_PLOT, with_sets, write_sets_plot),
    (TOGETHER_PLOT, with_together, write_together_plot),
)


def write_docs(docs: Path = DOCS) -> list[Path]:
    """Write the pages and their plots; a page or plot of what is no more is left."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    (docs / "evidence").mkdir(exist_ok=True)
    published = read_published(docs / "results" / "evidence")
    written = []
    for path, text in _pages(docs, published).items():
        write_bytes(path, text.encode())
        written.append(path)
    for name, those_with, write in _OVERVIEW:
        if those_with(published):
            written.append(images / name)
            write(written[-1], published)
    for one in published:
        for section, numbers in one.sections().items():
            written.append(images / plot_name(one, section))
            write_plot(written[-1], one, section, numbers)
    return written


def pages(docs: Path = DOCS) -> dict[Path, str]:
    """The pages' texts.

    Raises:
        ValueError: a note of what is not there.
    """
    return _pages(docs, read_published(docs / "results" / "evidence"))


def _pages(docs: Path, published: Sequence[Published]) -> dict[Path, str]:
    path = docs / "results" / "evidence" / NOTES
    notes: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
    places = {f"{one.name}: {section}" for one in published for section in one.sections()}
    if unknown := notes.keys() - places - {"overview", "not run"}:
        raise ValueError(f"{NOTES}: expected notes of published sections, got {sorted(unknown)}")
    found = {docs / "evidence.md": front_page(published, notes)}
    for one in published:
        found[docs / "evidence" / f"{one.name}.md"] = file_page(one, notes)
    return found
