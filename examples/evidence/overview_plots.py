"""The front page's plots: a panel for every file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evidence.adaptation import SETTINGS
from evidence.overview import (
    SET_COLUMNS,
    STUDENT_COLUMNS,
    with_sets,
    with_students,
    with_together,
)
from evidence.publish import Published
from evidence.sgg_suite import LABELS, SOURCES, TOGETHER, TRANSLATION, UPPER
from evidence.summary import values_of
from seco.common.plots import new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STUDENTS_PLOT, SETS_PLOT, TOGETHER_PLOT = (
    "evidence-students.png", "evidence-sets.png", "evidence-together.png",
)  # fmt: skip
# Marker, colour and whether it is filled; strokes: before learning, and of true labels.
_MARKS = {
    "source only": ("|", "0.2", True),
    "raw": ("x", "0.5", True),
    "base": ("s", "0.5", False),
    "PSA": ("o", "tab:blue", False),
    "PSA + SCC": ("o", "tab:blue", True),
    "true regions": ("D", "tab:orange", False),
    "true labels": ("|", "tab:red", True),
}
_LEVELS = {"source only": "dotted", "source images": "dashed", "target images": "dashdot"}


def write_students_plot(path: Path, published: Sequence[Published]) -> None:
    """Draw the mean target mIoU of the students of every setting."""
    files = with_students(published)
    names = [name for name in SETTINGS if any(name in one.sections() for one in files)]
    panels = _panels(files, 0.55 * len(names) + 1.5, shared=True)
    for axes, one in zip(panels, files, strict=True):
        for section, numbers in one.sections().items():
            if section in names:
                found = values_of(numbers)
                for column, (marker, colour, filled) in _MARKS.items():
                    if STUDENT_COLUMNS[column] in found:
                        axes.plot(
                            100 * found[STUDENT_COLUMNS[column]].mean, names.index(section), marker,
                            color=colour, markersize=11 if marker == "|" else 6,
                            markeredgewidth=2.5 if marker == "|" else 1.3, linestyle="none",
                            markerfacecolor=colour if filled else "white", label=column,
                        )  # fmt: skip
        axes.set_xlabel("mIoU, %", fontsize=8)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    _write(path, panels)


def write_sets_plot(path: Path, published: Sequence[Published]) -> None:
    """Draw the mean target mIoU after learning from translations, by strength."""
    files = with_sets(published)
    panels = _panels(files, 3.4)
    for axes, one in zip(panels, files, strict=True):
        numbers = one.sections()[TRANSLATION]
        found = values_of(numbers)
        strengths = sorted({cell.option("strength") for cell in numbers} - {None})
        for column, variant in SET_COLUMNS.items():
            if column in _LEVELS:
                height = 100 * found[variant].mean
                axes.axhline(height, color="0.4", linestyle=_LEVELS[column], label=column)
            else:
                heights = [100 * found[variant.format(strength)].mean for strength in strengths]
                axes.plot(strengths, heights, "o-", markersize=4, label=column)
        axes.set_xlabel("strength", fontsize=8)
        axes.set_xticks(strengths)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("mIoU, %", fontsize=8)
    _write(path, panels)


def write_together_plot(path: Path, published: Sequence[Published]) -> None:
    """Draw the target mIoU after self-training, by what was learnt first and by the labels."""
    files = with_together(published)
    panels = _panels(files, 3.4)
    for axes, one in zip(panels, files, strict=True):
        found = values_of(one.sections()[TOGETHER])
        sources = [name for name in SOURCES if f"{name}, labels={LABELS[0]}" in found]
        for number, labels in enumerate(LABELS):
            values = [found[f"{source}, labels={labels}"] for source in sources]
            axes.errorbar(
                [place + 0.08 * (number - 1.5) for place in range(len(sources))],
                [100 * value.mean for value in values],
                yerr=[100 * np.nan_to_num(value.std) for value in values],
                fmt="o", markersize=5, capsize=2, label=labels,
            )  # fmt: skip
        height = 100 * found[UPPER].mean
        axes.axhline(height, color="0.4", linestyle="dashdot", label="true labels")
        axes.set_xticks(range(len(sources)), [name.replace(" ", "\n", 1) for name in sources])
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("mIoU, %", fontsize=8)
    _write(path, panels)


def _panels(files: Sequence[Published], height: float, *, shared: bool = False) -> Sequence[Axes]:
    """One for each file, side by side, with its title; ``shared``: of one vertical axis."""
    figure = new_figure(3.4 * len(files) + 1, height)
    panels: Sequence[Axes] = figure.subplots(1, len(files), sharey=shared, squeeze=False)[0]
    for axes, one in zip(panels, files, strict=True):
        axes.set_title(one.title, fontsize=9)
    return panels


def _write(path: Path, panels: Sequence[Axes]) -> None:
    """Write their figure, with one legend for all, of whatever one of them shows."""
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure = panels[0].figure
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=len(handles), fontsize=8
    )
    write_figure(path, figure, dpi=80)
