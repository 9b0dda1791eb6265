"""The histogram of losses, with the two Gaussians that tell noise from clean labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seco.common.arrays import Array
from seco.common.plots import new_figure
from seco.correction.mixture import LossMixture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLEAN, _NOISY, _BARS = "#2a9d8f", "#e76f51", "#c8ced6"
_BINS = 60


def loss_figure(
    losses: Array,
    mixture: LossMixture,
    *,
    tau_ns: float,
    noisy: Array | None = None,
    differs: bool = False,
) -> Figure:
    """Draw how many connectivities have which loss, and where noise begins.

    Args:
        losses: (N,), N > 0; those above the mixture's largest are shown as that.
        mixture: of these losses.
        tau_ns: threshold of noise probability.
        noisy: (N,) bool, whether each class is wrong, if the truth is known: both kinds are
            then shown, and the Gaussians, which may be of more regions, left out.
        differs: whether noise begins at another loss in some classes.

    Example:
        >>> from seco.correction.mixture import fit_noise_model
        >>> losses = np.concatenate([np.linspace(0.1, 0.5, 50), np.linspace(2.5, 3.5, 10)])
        >>> model = fit_noise_model(losses, np.zeros(60, int), np.ones(60))
        >>> figure = loss_figure(losses, model.overall, tau_ns=0.3)
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['all regions', 'Gaussian: clean', 'Gaussian: noise']

    Of a fitted corrector: ``loss_figure(corrector.record.losses.numpy(),
    corrector.record.noise_model.overall, tau_ns=corrector.settings.tau_ns)``.
    """
    beyond = bool((losses > mixture.high).any())
    losses = np.minimum(losses, mixture.high)
    figure = new_figure(7.2, 2.9)
    axes = figure.add_subplot()
    edges = np.linspace(min(0.0, float(losses.min())), max(float(losses.max()), 1e-6), _BINS + 1)
    width = edges[1] - edges[0]
    if noisy is None:
        axes.hist(losses, edges.tolist(), color=_BARS, label="all regions")
    else:
        # Over each other, not stacked: on a logarithm a stacked bar's length means nothing.
        right, wrong = (np.histogram(losses[which], edges)[0] for which in (~noisy, noisy))
        axes.stairs(right, edges, fill=True, color=_CLEAN, alpha=0.55, label="class is right")
        axes.stairs(wrong, edges, color=_NOISY, linewidth=1.8, label="class is wrong")
    if mixture.supported and noisy is None:
        grid = np.linspace(edges[0], edges[-1], 1500)
        for index, (name, colour) in enumerate((("clean", _CLEAN), ("noise", _NOISY))):
            density = _density(mixture, index, grid) * width * len(losses)
            axes.plot(grid, density, color=colour, linewidth=1.8, label=f"Gaussian: {name}")
    cut = loss_at(mixture, tau_ns)
    if cut is not None and edges[0] <= cut <= edges[-1]:
        left = cut < (edges[0] + edges[-1]) / 2
        axes.axvline(cut, color="black", linewidth=1, linestyle="--")
        exception = "\n(in some classes from another loss)" if differs else ""
        axes.annotate(
            f"taken for noise from here on{exception}\n"
            f"(noise probability ≥ {tau_ns:g}: loss ≥ {cut:.3g})",
            (cut, 0.97), xycoords=("data", "axes fraction"), va="top", fontsize=8.5,
            xytext=(5 if left else -5, 0), textcoords="offset points",
            ha="left" if left else "right",
        )  # fmt: skip
    counts = np.histogram(losses, edges)[0]
    # Clean regions crowd at small losses: only a logarithm shows the noise beside them.
    axes.set_yscale("log")
    axes.set(ylim=(0.6, 3.0 * max(int(counts.max()), 1)), xlim=(edges[0], edges[-1]))
    larger = " (the last bar: and larger)" if beyond else ""
    axes.set_xlabel(f"loss of a region's class under the classifier{larger}", fontsize=9)
    axes.set_ylabel("regions (log)", fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8.5, frameon=False, loc="outside upper right", ncols=3)
    return figure


def loss_at(mixture: LossMixture, tau_ns: float) -> float | None:
    """The smallest loss whose noise probability reaches a threshold; ``None`` if none does.

    Args:
        mixture: of losses.
        tau_ns: threshold in [0, 1].

    Example:
        >>> mixture = LossMixture(0.0, 2.0, (0.5, 0.5), (0.25, 0.75), (0.01, 0.01), 1.0, 0.0)
        >>> round(loss_at(mixture, 0.5), 3)
        1.0
    """
    # Noise probability does not change outside the two means and never falls between them if the
    # variances are equal; if they are not it may dip, so the first place is searched for.
    low, high = (mixture.low + mean * (mixture.high - mixture.low) for mean in mixture.means)
    grid = np.linspace(low, high, 4097)
    reached = np.flatnonzero(mixture.noise_probability(grid) >= tau_ns)
    return float(grid[reached[0]]) if len(reached) else None


def _density(mixture: LossMixture, index: int, losses: Array) -> Array:
    """Weighted density of one component over losses, not normalised ones."""
    scale = mixture.high - mixture.low
    mean, variance = mixture.means[index], mixture.variances[index]
    values = (losses - mixture.low) / scale
    density: Array = (
        mixture.weights[index]
        * np.exp(-0.5 * (values - mean) ** 2 / variance)
        / (np.sqrt(2 * np.pi * variance) * scale)
    )
    return density
