from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from seco.common.plots import figure_png
from seco.correction.mixture import LossMixture, fit_noise_model
from seco.plots.losses import loss_at, loss_figure


def losses_of_two_kinds(seed=0):
    rng = np.random.default_rng(seed)
    return np.abs(np.concatenate([rng.normal(0.3, 0.1, 300), rng.normal(3, 0.5, 60)]))


def fitted(losses):
    count = len(losses)
    return fit_noise_model(losses, np.zeros(count, int), np.ones(count)).overall


@pytest.mark.parametrize("tau_ns", [0.05, 0.6, 0.95])
def test_noise_begins_where_its_probability_reaches_the_threshold(tau_ns):
    mixture = fitted(losses_of_two_kinds())
    cut = loss_at(mixture, tau_ns)
    around = mixture.noise_probability(np.array([cut - 1e-2, cut, cut + 1e-2]))
    assert around[0] < tau_ns <= around[1] <= around[2]


def test_noise_may_begin_nowhere():
    single = LossMixture(0.0, 1.0, (0.5, 0.5), (0.2, 0.8), (0.01, 0.01), 0.0, 1.0)
    assert not single.supported
    assert loss_at(single, 0.6) is None


def test_figure_shows_counts_curves_and_the_cut():
    losses = losses_of_two_kinds()
    mixture = fitted(losses)
    (axes,) = loss_figure(losses, mixture, tau_ns=0.6).axes
    assert sum(bar.get_height() for bar in axes.patches) == len(losses)
    *curves, cut = axes.lines
    assert cut.get_xdata()[0] == pytest.approx(loss_at(mixture, 0.6))
    # Densities times the bars' width and number: the curves hold what the bars hold, but for
    # what a Gaussian has beyond the smallest and the largest loss.
    width = axes.patches[0].get_width()
    total = sum(curve.get_ydata().mean() for curve in curves) * axes.get_xlim()[1] / width
    assert total == pytest.approx(len(losses), rel=0.1)
    assert axes.get_xlim()[1] == pytest.approx(losses.max())


@pytest.mark.parametrize("differs", [False, True])
def test_the_cut_says_where_it_does_not_hold(differs):
    losses = losses_of_two_kinds()
    (axes,) = loss_figure(losses, fitted(losses), tau_ns=0.6, differs=differs).axes
    (text,) = (text.get_text() for text in axes.texts)
    assert text.startswith("taken for noise from here on\n(")
    assert ("in some classes from another loss" in text) == differs


def test_losses_beyond_the_largest_that_counts_are_in_the_last_bar():
    losses = losses_of_two_kinds()
    count = len(losses)
    model = fit_noise_model(losses, np.zeros(count, int), np.ones(count), max_loss=2.5)
    (axes,) = loss_figure(losses, model.overall, tau_ns=0.6).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == count
    assert heights[-1] >= (losses > 2.5).sum() > 40
    assert axes.get_xlim()[1] == pytest.approx(2.5)
    assert "and larger" in axes.get_xlabel()
    assert "and larger" not in loss_figure(losses, fitted(losses), tau_ns=0.6).axes[0].get_xlabel()


def test_with_truth_both_kinds_are_counted_from_zero():
    losses = losses_of_two_kinds()
    noisy = np.arange(len(losses)) >= 290
    (axes,) = loss_figure(losses, fitted(losses), tau_ns=0.6, noisy=noisy).axes
    right, wrong = (step.get_data() for step in axes.patches)
    assert (right.values.sum(), wrong.values.sum()) == (290, 70)
    assert right.baseline == wrong.baseline == 0
    assert len(axes.lines) == 1


def test_without_two_components_there_are_only_bars():
    losses = np.full(3, 0.4)
    with pytest.warns(UserWarning, match="do not support two components"):
        mixture = fitted(losses)
    (axes,) = loss_figure(losses, mixture, tau_ns=0.6).axes
    assert len(axes.lines) == 0
    assert sum(bar.get_height() for bar in axes.patches) == 3


def test_the_same_figure_gives_the_same_bytes():
    losses = losses_of_two_kinds()
    first, second = (
        figure_png(loss_figure(losses, fitted(losses), tau_ns=0.6), dpi=50) for _ in range(2)
    )
    assert first == second
    assert Image.open(io.BytesIO(first)).format == "PNG"
