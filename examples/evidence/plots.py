"""One plot of every section: small, and the same bytes for the same numbers and matplotlib."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evidence.cells import Cell
from evidence.labelling import BASE
from evidence.publish import Published
from evidence.references import references
from evidence.seco_suite import SENSITIVITY, SOURCE_ONLY
from evidence.seco_suite import UPPER as TRUE_LABELS
from evidence.sgg_suite import GUIDANCE_SCALE, TRANSLATION
from evidence.sgg_suite import UPPER as TARGET_IMAGES
from evidence.summary import Numbers, Values, values_of
from seco.common.plots import new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UPPERS = (TRUE_LABELS, TARGET_IMAGES)
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def plot_name(published: Published, section: str) -> str:
    """The file of a section's plot."""
    words = f"evidence-{published.name}-{section}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".png"


def write_plot(path: Path, published: Published, section: str, numbers: Numbers) -> None:
    """Draw the target mIoU of a section's variants."""
    setting = next(iter(numbers)).setting
    beside = references(numbers, published.numbers)
    shown = {**beside, **numbers}
    if setting == SENSITIVITY:
        figure = _sensitivity(numbers, beside)
    elif section.endswith(", rounds"):
        figure = _lines(
            shown,
            "round",
            lambda cell: None if cell.arm == SOURCE_ONLY else cell.option("round", 1),
        )
        figure.axes[0].set_xticks(sorted({cell.option("round", 1) for cell in shown}))
    elif setting == GUIDANCE_SCALE:
        usual = published.sizes["guidance_scale"]
        figure = _lines(
            shown,
            "guidance scale (0: unguided)",
            lambda cell: 0.0 if cell.arm == "unguided" else cell.option("scale", usual),
        )
    elif setting == TRANSLATION and any(cell.option("strength") for cell in numbers):
        said = "strength (share of the noising chain)"
        figure = _lines(numbers, said, lambda cell: cell.option("strength"))
    else:
        figure = _dots(shown)
    write_figure(path, figure, dpi=80)


def _dots(numbers: Numbers) -> Figure:
    """A point with its deviation for every variant, and every seed small beside it.

    Dotted are the base and the upper bound, where they are among the variants.
    """
    found = values_of(numbers)
    last = [variant for variant in UPPERS if variant in found]
    rows = [*(variant for variant in found if variant not in last), *last]
    kinds = dict.fromkeys(kind for variant in rows if (kind := _kind(variant)))
    colours = {"": "0.35", **dict(zip(kinds, cycle(COLOURS), strict=False))}
    figure = new_figure(8, 0.8 + 0.28 * len(found))
    axes = figure.subplots()
    for end in (BASE, *last):
        if end in found:
            axes.axvline(100 * found[end].mean, color="0.5", linestyle=":", linewidth=1)
    for row, variant in enumerate(rows):
        values = found[variant]
        axes.plot(100 * np.array(list(values.by_seed.values())), [row] * len(values.by_seed),
                  ".", color="0.7")  # fmt: skip
        axes.errorbar(100 * values.mean, row, xerr=_spread(values), fmt="o", capsize=3,
                      color=colours[_kind(variant)], markersize=5)  # fmt: skip
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("mIoU on held-out target images, %")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _kind(variant: str) -> str:
    """What variants of one colour share: what became of the rest, or the labels learnt from."""
    option = variant.partition(", ")[2].partition(", ")[0]
    return option if option.startswith(("rest=", "labels=")) else ""


def _lines(numbers: Numbers, along: str, place: Callable[[Cell], Any]) -> Figure:
    """Arms along an option; arms that have no place there are level lines."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    levels: dict[str, float] = {}
    lines: dict[str, list[tuple[Any, Values]]] = {}
    options = {cell.variant: (cell.arm, place(cell)) for cell in numbers}
    for variant, values in values_of(numbers).items():
        arm, value = options[variant]
        if value is None:
            levels[arm] = 100 * values.mean
        else:
            lines.setdefault(arm, []).append((value, values))
    for number, (arm, height) in enumerate(levels.items()):
        style = ("dotted", "dashed", "dashdot")[number % 3]
        axes.axhline(height, color="0.4", linestyle=style, label=arm)
    _draw(axes, lines)
    axes.set(xlabel=along, ylabel="mIoU on held-out target images, %")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _sensitivity(numbers: Numbers, beside: Numbers) -> Figure:
    """A panel for each threshold, and what comes of the default ones."""
    arms = list(dict.fromkeys(cell.arm for cell in numbers))
    figure = new_figure(3 * len(arms), 3)
    panels = np.atleast_1d(figure.subplots(1, len(arms), sharey=True))
    found = values_of(numbers)
    default = next(iter(values_of(beside).values()), None)
    for axes, arm in zip(panels, arms, strict=True):
        points = {cell.option("value"): found[cell.variant] for cell in numbers if cell.arm == arm}
        _draw(axes, {"": list(points.items())})
        if default is not None:
            axes.axhline(100 * default.mean, color="0.5", linestyle=":")
        axes.set_xlabel(arm)
    panels[0].set_ylabel("held-out target mIoU, %")
    figure.suptitle("dotted: all as by default", fontsize=8, color="0.4")
    return figure


def _draw(axes: Axes, lines: dict[str, list[tuple[Any, Values]]]) -> None:
    places = [value for points in lines.values() for value, _ in points]
    apart = 0.008 * (max(places) - min(places))
    for number, (arm, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        aside = apart * (number - (len(lines) - 1) / 2)  # so that no bar hides another
        axes.errorbar(
            [value + aside for value, _ in points], [100 * values.mean for _, values in points],
            yerr=[_spread(values) for _, values in points], marker="o", markersize=4, capsize=3,
            label=arm,
        )  # fmt: skip
    axes.grid(alpha=0.3)


def _spread(values: Values) -> float:
    return 0.0 if np.isnan(values.std) else 100 * values.std
