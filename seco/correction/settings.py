"""Every free choice of the correction, with its default and the paper's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seco.common.checks import check_choice, check_integer, check_number


@dataclass(frozen=True)
class SCCSettings:
    """How Semantic Connectivity Correction learns, tells noise and repairs it.

    "Paper" is SeCo (NeurIPS 2024), "released code" what its authors run where the paper is silent;
    a default without such a note is our choice.

    Args:
        iterations: training steps (paper: 5,000 for every task). ``None`` fits them to the data:
            as many as show four times as many connectivities as there are, at least 100 and at
            most 5,000; a short training is what keeps noise from being memorised.
        batch_size: connectivities per step (released code: 64).
        per_image: at most so many of a step's connectivities come from one image, which passes
            the extractor once for all of them.
        area_sampling: of an image's connectivities, prefer large ones: each is drawn with a weight
            of its pixels to this power (paper: 0). Small regions are far more often wrong.
        class_balanced: of an image's connectivities, prefer those of classes that are rare in the
            whole set (paper: no); with ``area_sampling`` both weights are multiplied.
        label_smoothing: of the training loss (released code: 0.1). Above 0 the classifier's
            probabilities settle at 1 - s + s / K, so 0.1 would keep most of them under ``tau_cr``.
        flip: mirror every other image (left-right) in training.
        learning_rate: of AdamW at the first step, then times (1 + 10 t)^-0.75, t from 0 to 1
            (the released code's decay, with SGD and 0.01).
        weight_decay: of AdamW (released code: 1e-3).
        min_area: connectivities of fewer pixels are not learnt from, neither by the classifier
            nor by the mixture; they are judged like all others.
        connectivity: 8 joins pixels of a raw component that share a corner, 4 only a side.
        mixture: one loss mixture for all classes (``"global"``, paper) or one per assigned class
            (``"per_class"``; classes with fewer than 50 connectivities use the global one).
        area_weighting: let a connectivity count in the mixture by its pixels (paper: no).
        max_loss: larger losses count as this in the mixture (paper: no limit, here 1e6): a
            few extreme ones would stretch the noisy component until it holds nothing else.
        max_noise_share: class-balanced filter: of each class at most this share of its
            connectivities, those of most loss, are taken for noise (paper: 1, no limit, which
            it names as a weakness).
        neighbours: average the classifier's probabilities with the classes of so many regions of
            the fitted set, the most similar in features (paper: 0, the classifier alone). Ours,
            after the idea of SeCoV2's relational uncertainty; see
            :mod:`seco.correction.neighbours`.
        tau_ns: a connectivity at least this probably noisy does not keep its class (paper: 0.60).
        tau_cr: it takes the classifier's class if that is more probable than this, else it becomes
            ignore (paper: 0.95, with a classifier that was trained for longer).
        noise_adjusted: take what label noise did to them out of the classifier's probabilities
            before they are compared with ``tau_cr`` (paper: no). A classifier is only as sure as
            the labels it learnt from are right: where a fifth of them is wrong, it gives the right
            class 0.8, and every correction would become a drop. See
            :func:`seco.correction.decision.adjust_for_noise`.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> SCCSettings(tau_ns=60)
        Traceback (most recent call last):
            ...
        ValueError: tau_ns: expected a number in [0, 1], got 60
    """

    iterations: int | None = None
    batch_size: int = 64
    per_image: int = 16
    area_sampling: float = 0.5
    class_balanced: bool = False
    label_smoothing: float = 0.0
    flip: bool = True
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    min_area: int = 10
    connectivity: Literal[4, 8] = 8
    mixture: Literal["global", "per_class"] = "global"
    area_weighting: bool = False
    max_loss: float = 4.0
    max_noise_share: float = 0.5
    neighbours: int = 40
    tau_ns: float = 0.3
    tau_cr: float = 0.75
    noise_adjusted: bool = True

    def __post_init__(self) -> None:
        if self.iterations is not None:
            check_integer("iterations", self.iterations, low=1)
        for name in ("batch_size", "per_image", "min_area"):
            check_integer(name, getattr(self, name), low=1)
        check_integer("neighbours", self.neighbours, low=0)
        for name in ("class_balanced", "flip", "area_weighting", "noise_adjusted"):
            check_choice(name, getattr(self, name), (False, True))
        check_choice("connectivity", self.connectivity, (4, 8))
        check_choice("mixture", self.mixture, ("global", "per_class"))
        check_number("label_smoothing", self.label_smoothing, low=0, high=1, high_open=True)
        check_number("learning_rate", self.learning_rate, low=0, low_open=True)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("area_sampling", self.area_sampling, low=0)
        check_number("max_loss", self.max_loss, low=0, low_open=True)
        check_number("max_noise_share", self.max_noise_share, low=0, high=1, low_open=True)
        for name in ("tau_ns", "tau_cr"):
            check_number(name, getattr(self, name), low=0, high=1)


PAPER = SCCSettings(
    iterations=5000,
    area_sampling=0.0,
    max_loss=1e6,
    max_noise_share=1.0,
    neighbours=0,
    tau_ns=0.6,
    tau_cr=0.95,
    noise_adjusted=False,
)
"""The paper's own choices; what it is silent about is as in the defaults."""
