"""Trade-off curves: the points where they belong, in every panel, and named."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgg.plots import TradeoffPoint, tradeoff_figure


def point(consistency, features, colours, **options):
    return TradeoffPoint(consistency, {"features": features, "colours": colours}, **options)


LINES = {
    "unguided": [point(0.47, 0.5, 0.8, note="strength 0.3"), point(0.36, 0.1, 0.7)],
    "SGG": [point(0.50, 0.4, 0.9, spread=0.02), point(0.48, 0.2, 0.6, spread=0.01)],
}


def test_points_lie_where_they_were_measured():
    figure = tradeoff_figure(LINES, references={"source": point(0.49, 1, 1)}, unit="source = 1")
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "distance to the target: features (source = 1)",
        "distance to the target: colours (source = 1)",
    ]
    for axes, distances in zip(
        figure.axes, ([[0.5, 0.1], [0.4, 0.2], [1]], [[0.8, 0.7], [0.9, 0.6], [1]]), strict=True
    ):
        drawn = [container.lines[0] for container in axes.containers]
        assert [line.get_xdata().tolist() for line in drawn] == distances
        heights = [line.get_ydata().tolist() for line in drawn]
        assert heights == [[47, 36], [50, 48], [49]]
        bars = axes.containers[1].lines[2][0].get_segments()
        np.testing.assert_allclose([bar[:, 1] for bar in bars], [[48, 52], [47, 49]])
        assert {text.get_text() for text in axes.texts} == {"", "strength 0.3", "source"}
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == ["unguided", "SGG"]


def test_no_bar_where_the_spread_is_unknown():
    assert math.isnan(point(0.5, 1, 1).spread)
    (axes, _) = tradeoff_figure(LINES).axes
    bars = axes.containers[0].lines[2][0].get_segments()
    assert not any(np.isfinite(bar).any() for bar in bars)


def test_styles_belong_to_their_names():
    styles = {"SGG": {"color": "red", "marker": "x"}, "source": {"marker": "*"}}
    (axes, _) = tradeoff_figure(LINES, references={"source": point(1, 1, 1)}, styles=styles).axes
    markers = [container.lines[0].get_marker() for container in axes.containers]
    assert markers == ["o", "x", "*"]
    assert axes.containers[1].lines[0].get_color() == "red"
    assert axes.containers[0].lines[0].get_color() != "red"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "lines: expected at least one point with a distance, got none"),
        ({"SGG": [TradeoffPoint(0.5)]}, "lines: expected at least one point with a distance"),
        (
            {"SGG": [point(0.5, 1, 1), TradeoffPoint(0.5, {"features": 1})]},
            r"expected points with the distances \['features', 'colours'\], .*got \['features'\]",
        ),
    ],
)
def test_points_that_do_not_fit_are_refused(lines, message):
    with pytest.raises(ValueError, match=message):
        tradeoff_figure(lines)
