"""What a translation trades: consistency with the label against distance to the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from seco.common.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_STYLES: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class TradeoffPoint:
    """How one way to translate did.

    Args:
        consistency: mean IoU of the labels with what an oracle sees, 0 to 1; as
            ``Evaluation.numbers()["mean_iou"]`` of :func:`sgg.evaluation.evaluate_folder`.
        distances: kind -> distance to the target domain, as ``Evaluation.distances``.
        spread: standard deviation of the consistency, if it was measured several times.
        note: a word to write beside the point.
    """

    consistency: float
    distances: Mapping[str, float] = field(default_factory=dict)
    spread: float = math.nan
    note: str = ""


def tradeoff_figure(
    lines: Mapping[str, Sequence[TradeoffPoint]],
    *,
    references: Mapping[str, TradeoffPoint] = MappingProxyType({}),
    styles: Mapping[str, Mapping[str, Any]] = _NO_STYLES,
    unit: str = "",
) -> Figure:
    """Draw consistency against distance: up and to the left is better.

    Args:
        lines: the name of a way to translate -> its points, such as of rising strength, joined in
            the order given.
        references: the name of a single point, such as the source images as they are -> the point.
        styles: the name of a line or a reference -> options of matplotlib's ``errorbar``, such
            as ``{"color": "red", "marker": "s"}``.
        unit: of the distances, for the axes.

    Returns:
        A figure with one panel per kind of distance.

    Raises:
        ValueError: no point, or points with other kinds of distance than the first.

    Example:
        >>> def point(consistency, distance):
        ...     return TradeoffPoint(consistency, {"features": distance})
        >>> figure = tradeoff_figure(
        ...     {"SGG": [point(0.5, 0.8), point(0.4, 0.2)]}, references={"source": point(0.5, 1)}
        ... )
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['distance to the target: features']
    """
    kinds = _kinds(lines, references)
    figure = new_figure(6 * len(kinds), 5)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for kind, axes in zip(kinds, panels, strict=True):
        for name, points in lines.items():
            style = {"marker": "o", "markersize": 5, "capsize": 2} | dict(styles.get(name, {}))
            drawn = axes.errorbar(
                [point.distances[kind] for point in points],
                [100 * point.consistency for point in points],
                # No bar where nothing is known of the spread: NaN draws none.
                yerr=[100 * point.spread for point in points],
                label=name,
                **style,
            )
            for point in points:
                axes.annotate(
                    point.note, (point.distances[kind], 100 * point.consistency), (6, -12),
                    textcoords="offset points", color=drawn[0].get_color(), fontsize=8,
                )  # fmt: skip
        for name, point in references.items():
            style = {"color": "black", "marker": "s"} | dict(styles.get(name, {}))
            place = (point.distances[kind], 100 * point.consistency)
            axes.errorbar(*place, yerr=100 * point.spread, **style)
            axes.annotate(name, place, (0, 7), textcoords="offset points", ha="center")
        axes.set_xlabel(f"distance to the target: {kind}" + (f" ({unit})" if unit else ""))
        axes.grid(alpha=0.3)
        axes.margins(0.13)  # room for the names of points at the edges
    panels[0].set_ylabel("mean IoU of label and oracle, %")
    if lines:
        panels[-1].legend(fontsize=8)
    return figure


def _kinds(
    lines: Mapping[str, Sequence[TradeoffPoint]], references: Mapping[str, TradeoffPoint]
) -> list[str]:
    points = [point for line in lines.values() for point in line] + list(references.values())
    kinds = list(points[0].distances) if points else []
    if not kinds:
        raise ValueError("lines: expected at least one point with a distance, got none")
    for point in points:
        if set(point.distances) != set(kinds):
            raise ValueError(
                f"lines: expected points with the distances {kinds}, as the first has, "
                f"got {list(point.distances)}"
            )
    return kinds
