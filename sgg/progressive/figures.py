"""The plots of the report: consistency and distance over strength, losses over steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seco.common.plots import new_figure
from sgg.progressive.protocol import Losses
from sgg.progressive.result import Progression, Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1e6eff", "#e76f51", "#2a9d8f")
_POINTS = 300  # of a loss curve


def consistency_figure(progression: Progression) -> Figure:
    """Mean IoU of the labels with what the guide, its successor and the oracle see."""
    figure, axes = _axes("strength (0: the source)", "mean IoU, %")
    lines: dict[str, Callable[[Stage], float | None]] = {
        "segmenter that guided": lambda stage: stage.measures.guide["mean_iou"],
        "the same, fine-tuned on it": _after,
        "oracle": _oracle,
    }
    starts = {} if progression.source is None else {
        "segmenter that guided": progression.source.guide["mean_iou"],
        "oracle": (progression.source.oracle or {}).get("mean_iou"),
    }  # fmt: skip
    for (name, value), colour in zip(lines.items(), _COLOURS, strict=True):
        points = [(0.0, starts.get(name))]
        points += [(stage.strength, value(stage)) for stage in progression.stages]
        _line(axes, [(x, 100 * y) for x, y in points if y is not None], name, colour)
    _finish(figure)
    return figure


def distance_figure(progression: Progression) -> Figure:
    """Distance to the target over strength, in percent of the source's, by kind of feature."""
    figure, axes = _axes("strength (0: the source)", "distance, % of the source's")
    for kind, colour in zip(("logits", "colour"), _COLOURS, strict=False):
        points = relative_distances(progression).get(kind, [])
        strengths = [0.0, *(stage.strength for stage in progression.stages)]
        _line(axes, list(zip(strengths, points, strict=False)), kind, colour)
    axes.set_ylim(bottom=0)
    _finish(figure)
    return figure


def relative_distances(progression: Progression) -> Mapping[str, list[float]]:
    """By kind of feature, of the source and of every stage, in percent of the source's."""
    if progression.source is None:
        return {}
    return {
        kind: [
            100.0,
            *(100 * stage.measures.distance[kind] / start for stage in progression.stages),
        ]
        for kind, start in progression.source.distance.items()
        if start > 0
    }


def loss_figure(losses: Mapping[str, Losses]) -> Figure:
    """Losses over steps, a curve per stage, each point the mean of some steps.

    Args:
        losses: a stage's name -> its losses.
    """
    figure, axes = _axes("step of fine-tuning", "loss (cross-entropy)")
    colours = [*_COLOURS, "#9b5de5", "#8a6d3b", "#5b6875"]
    for place, (name, pairs) in enumerate(losses.items()):
        size = max(1, math.ceil(len(pairs) / _POINTS))
        groups = [np.array(pairs[k : k + size]).mean(axis=0) for k in range(0, len(pairs), size)]
        points = [(float(step), float(loss)) for step, loss in groups]
        _line(axes, points, name, colours[place % len(colours)], marker="")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)  # there is no half of a step
    _finish(figure)
    return figure


def _after(stage: Stage) -> float | None:
    return None if stage.handed_on is None else stage.handed_on.measures["mean_iou"]


def _oracle(stage: Stage) -> float | None:
    return (stage.measures.oracle or {}).get("mean_iou")


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = new_figure(6.2, 3.1)
    axes = figure.add_subplot()
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="y", color="#e5e9ee", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _line(
    axes: Axes, points: Sequence[tuple[float, float]], name: str, colour: str, *, marker: str = "o"
) -> None:
    if points:
        columns = list(zip(*points, strict=True))
        axes.plot(*columns, color=colour, label=name, marker=marker, markersize=4.5, linewidth=1.7)


def _finish(figure: Figure) -> None:
    figure.legend(fontsize=8.5, frameon=False, loc="outside upper right", ncols=3)
