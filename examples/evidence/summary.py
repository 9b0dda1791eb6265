"""Means over seeds, what holds in every seed, and shares of the way to the upper bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.cells import Cell

Numbers = Mapping[Cell, Mapping[str, Any]]
Path = Sequence[str]

TARGET: Path = ("target", "mean_iou")


@dataclass(frozen=True)
class Values:
    """One figure of one variant, by seed; shares in 0-1."""

    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def std(self) -> float:
        """Over the seeds; NaN of one."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def text(self, decimals: int = 1, sign: str = "") -> str:
        """In percent; a dash where there is none."""
        if not self.by_seed:
            return "–"
        mean = f"{100 * self.mean:{sign}.{decimals}f}"
        return mean if np.isnan(self.std) else f"{mean} ± {100 * self.std:.{decimals}f}"

    def __sub__(self, other: Values) -> Values:
        both = self.by_seed.keys() & other.by_seed.keys()
        return Values({seed: self.by_seed[seed] - other.by_seed[seed] for seed in sorted(both)})


def values_of(numbers: Numbers, path: Path = TARGET) -> dict[str, Values]:
    """A figure of every variant that has it, in the order of the cells."""
    found: dict[str, dict[int, float]] = {}
    for cell, said in numbers.items():
        value: Any = said
        for name in path:
            value = None if value is None else value.get(name)
        if value is not None:
            found.setdefault(cell.variant, {})[cell.seed] = float(value)
    return {variant: Values(by_seed) for variant, by_seed in found.items()}


def seeds_of(numbers: Numbers) -> int:
    """How many seeds there are."""
    return len({cell.seed for cell in numbers})


def closed(base: Values, arm: Values, upper: Values) -> Values:
    """Share of the way from base to upper bound that an arm goes, by seed."""
    return Values(
        {
            seed: (arm.by_seed[seed] - base.by_seed[seed])
            / (upper.by_seed[seed] - base.by_seed[seed])
            for seed in arm.by_seed
            if seed in base.by_seed
            and seed in upper.by_seed
            and upper.by_seed[seed] > base.by_seed[seed]
        }
    )


@dataclass(frozen=True)
class Order:
    """Whether one variant is above another.

    Args:
        worse: the one that is expected to be below.
        better: the other.
        difference: better - worse, by seed.
        apart: whether their means differ by more than both standard deviations together.
    """

    worse: str
    better: str
    difference: Values
    apart: bool

    @property
    def held(self) -> int:
        """In how many seeds."""
        return sum(value > 0 for value in self.difference.by_seed.values())

    @property
    def verdict(self) -> str:
        """In words."""
        count = len(self.difference.by_seed)
        if count == 1:
            return "yes, of one seed" if self.held else "no, of one seed"
        if self.held == count:
            return "yes" if self.apart else "yes, within the deviations"
        return "no" if self.held == 0 else f"in {self.held} of {count} seeds"


def order(worse: str, better: str, found: Mapping[str, Values]) -> Order:
    """Compare two variants seed by seed."""
    one, other = found[worse], found[better]
    spread = np.nansum([one.std, other.std])
    return Order(worse, better, other - one, bool(abs(other.mean - one.mean) > spread))
