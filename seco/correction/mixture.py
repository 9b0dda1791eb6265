"""Two kinds of loss: a Gaussian mixture tells how probably a region's class is noise."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_choice

_LEAST_PER_CLASS = 50


class NoNoiseFoundWarning(UserWarning):
    """The losses do not support two components, so that nothing will be corrected or dropped."""


@dataclass(frozen=True)
class LossMixture:
    """One or two Gaussians over min-max normalised losses.

    Args:
        low: the loss that is 0 when normalised.
        high: the loss that is 1 when normalised; larger ones count as this.
        weights: of the components with the smaller and the larger mean; they sum to 1.
        means: of these, normalised.
        variances: of these, normalised.
        bic_one: Bayesian information criterion of a single Gaussian.
        bic_two: of the two; smaller is better.
    """

    low: float
    high: float
    weights: tuple[float, float]
    means: tuple[float, float]
    variances: tuple[float, float]
    bic_one: float
    bic_two: float

    @property
    def supported(self) -> bool:
        """Whether the losses are better described by two components than by one."""
        return self.bic_two < self.bic_one

    def noise_probability(self, losses: Array) -> Array:
        """Posterior of the component with the larger mean: (N,) float64 in [0, 1].

        0 for every loss if two components are not supported. The posterior of two Gaussians of
        different width turns round beyond their means (the wider one wins at both ends); a loss
        below the lower mean is as clean as that mean, one above the upper as noisy as that.

        Args:
            losses: (N,).
        """
        losses = np.asarray(losses, np.float64)
        if not self.supported:
            return np.zeros(losses.shape)
        values = ((losses - self.low) / (self.high - self.low)).clip(*self.means)[:, None]
        variances = np.array(self.variances)
        # Logarithms of the weighted densities, but for a constant: far out both underflow.
        logs = (
            np.log(np.maximum(self.weights, np.finfo(float).tiny))
            - 0.5 * np.log(variances)
            - 0.5 * (values - self.means) ** 2 / variances
        )
        noisy: Array = 1 / (1 + np.exp(np.clip(logs[:, 0] - logs[:, 1], -700, 700)))
        return noisy


@dataclass(frozen=True)
class NoiseModel:
    """What loss means noise: one mixture for all, and possibly one for some classes.

    Args:
        overall: of all connectivities.
        per_class: of the classes that have their own, by their id.
        floors: of classes, by their id, the loss up to which their connectivities are never noise.
    """

    overall: LossMixture
    per_class: dict[int, LossMixture]
    floors: dict[int, float]

    @property
    def noise_rate(self) -> float:
        """Share of the connectivities whose class is noise, as the mixture of all has it."""
        return self.overall.weights[1] if self.overall.supported else 0.0

    def noise_probability(self, losses: Array, classes: Array) -> Array:
        """Probability that each connectivity's class is wrong: (N,) float64.

        Args:
            losses: (N,), as those it was fitted to.
            classes: (N,) integers, the classes they are losses of.
        """
        found = self.overall.noise_probability(losses)
        for number, mixture in self.per_class.items():
            own = classes == number
            found[own] = mixture.noise_probability(losses[own])
        for number, floor in self.floors.items():
            found[(classes == number) & (losses <= floor)] = 0
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, which :meth:`from_json` reads back."""
        return {
            "overall": asdict(self.overall),
            "per_class": {str(number): asdict(m) for number, m in self.per_class.items()},
            "floors": {str(number): floor for number, floor in self.floors.items()},
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> NoiseModel:
        """Read what :meth:`to_json` gave."""
        return cls(
            _mixture(given["overall"]),
            {int(number): _mixture(m) for number, m in given["per_class"].items()},
            {int(number): float(floor) for number, floor in given["floors"].items()},
        )


@np.errstate(under="ignore")  # of scikit-learn, where the caller makes errors of them
def fit_noise_model(
    losses: Array,
    classes: Array,
    areas: Array,
    *,
    mixture: Literal["global", "per_class"] = "global",
    area_weighting: bool = False,
    max_loss: float = math.inf,
    max_noise_share: float = 1.0,
) -> NoiseModel:
    """Fit the mixture(s) to the losses of a set of connectivities.

    Args:
        losses: (N,), N > 0.
        classes: (N,) integers, the classes they are losses of.
        areas: (N,) pixels.
        mixture: see :class:`seco.SCCSettings`.
        area_weighting: see there.
        max_loss: see there.
        max_noise_share: see there.

    Warns:
        NoNoiseFoundWarning: the data do not support two components, overall or in a class.

    Example:
        >>> losses = np.concatenate([np.linspace(0, 0.2, 50), np.linspace(2.8, 3, 10)])
        >>> model = fit_noise_model(losses, np.zeros(60, int), np.ones(60))
        >>> model.noise_probability(np.array([0.1, 2.9]), np.zeros(2, int)).round(3)
        array([0., 1.])

    Source: SeCo, section 3.3; the preparation of the losses as in DivideMix (Li, Socher, Hoi,
    ICLR 2020).
    """
    check_choice("mixture", mixture, ("global", "per_class"))
    if len(losses) == 0 or not np.isfinite(losses).all():
        raise ValueError(f"losses: expected finite numbers, at least one, got {len(losses)}")
    weights = areas if area_weighting else np.ones(len(losses))
    clipped = np.minimum(losses, max_loss)
    overall = _fit(clipped, weights)
    per_class = {}
    if mixture == "per_class":
        for number, count in zip(*np.unique(classes, return_counts=True), strict=True):
            if count >= _LEAST_PER_CLASS:
                own = classes == number
                per_class[int(number)] = _fit(clipped[own], weights[own])
    _tell(overall, per_class)
    floors = {}
    if max_noise_share < 1:
        for number in np.unique(classes).tolist():
            own = np.sort(losses[classes == number])
            most = int(max_noise_share * len(own))
            floors[number] = float(own[len(own) - most - 1])
    return NoiseModel(overall, per_class, floors)


def _fit(losses: Array, weights: Array) -> LossMixture:
    from sklearn.mixture import GaussianMixture

    low, high = float(losses.min()), float(losses.max())
    if len(losses) < 4 or high - low < 1e-9:  # fewer losses than parameters, or all the same
        return LossMixture(low, low + 1.0, (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), 0.0, 0.0)
    values = _spread((losses - low) / (high - low), weights)[:, None]
    one, two = (
        GaussianMixture(count, reg_covar=5e-4, tol=1e-4, max_iter=1000, random_state=0).fit(values)
        for count in (1, 2)
    )
    order = np.argsort(two.means_[:, 0], kind="stable")
    first, second = order.tolist()

    def pair(values: Array) -> tuple[float, float]:
        return float(values[first]), float(values[second])

    return LossMixture(
        low,
        high,
        weights=pair(two.weights_),
        means=pair(two.means_[:, 0]),
        variances=pair(two.covariances_[:, 0, 0]),
        bic_one=float(one.bic(values)),
        bic_two=float(two.bic(values)),
    )


def _spread(values: Array, weights: Array) -> Array:
    """As many values, each as often as its weight says: scikit-learn's mixture knows no weights."""
    if (weights == weights[0]).all():
        return values
    order = np.argsort(values, kind="stable")
    upto = weights[order].cumsum()
    places = (np.arange(len(values)) + 0.5) / len(values) * upto[-1]
    spread: Array = values[order][np.searchsorted(upto, places)]
    return spread


def _tell(overall: LossMixture, per_class: dict[int, LossMixture]) -> None:
    if not overall.supported:
        warnings.warn(
            "the losses of the connectivities do not support two components (BIC "
            f"{overall.bic_one:.1f} for one, {overall.bic_two:.1f} for two): nothing is taken for "
            "noise",
            NoNoiseFoundWarning,
            stacklevel=4,
        )
    lacking = [number for number, mixture in per_class.items() if not mixture.supported]
    if lacking:
        warnings.warn(
            "the losses of the connectivities of class "
            f"{', '.join(map(str, lacking))} do not support two components (BIC): nothing of them "
            "is taken for noise",
            NoNoiseFoundWarning,
            stacklevel=4,
        )


def _mixture(given: dict[str, Any]) -> LossMixture:
    pairs = {name: tuple(given[name]) for name in ("weights", "means", "variances")}
    return LossMixture(**(given | pairs))
