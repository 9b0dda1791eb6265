"""How a segmenter is fine-tuned; all of it is our choice, the paper gives none of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seco.common.checks import check_choice, check_integer, check_number


@dataclass(frozen=True)
class FinetuneSettings:
    """How :func:`sgg.finetune_segmenter` trains.

    Args:
        steps: of a stage.
        batch_size: crops in a step, over all processes.
        optimizer: AdamW, or SGD with momentum.
        learning_rate: of the first step.
        decay: of the learning rate, to 0: (1 - step / steps) ** 0.9, half a cosine, or none.
        weight_decay: see torch.
        momentum: of SGD.
        crop_height: pixels; no more than the first image has.
        crop_width: pixels; no more than the first image has.
        flip: mirror every other crop.
        jitter: each crop's brightness, contrast and saturation are multiplied by factors between
            1 - jitter and 1 + jitter.
        source_share: that share of the crops is taken from source images as they are.
        train_norm: whether batch normalisation learns from the batches, as in other trainings;
            else its statistics and weights stay.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> FinetuneSettings(source_share=2.0)
        Traceback (most recent call last):
            ...
        ValueError: source_share: expected a number in [0, 1], got 2.0
    """

    steps: int = 2000
    batch_size: int = 8
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-4
    decay: Literal["poly", "cosine", "none"] = "poly"
    weight_decay: float = 0.01
    momentum: float = 0.9
    crop_height: int = 512
    crop_width: int = 512
    flip: bool = True
    jitter: float = 0.2
    source_share: float = 0.0
    train_norm: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "crop_height", "crop_width"):
            check_integer(name, getattr(self, name), low=1)
        check_choice("optimizer", self.optimizer, ("adamw", "sgd"))
        check_choice("decay", self.decay, ("poly", "cosine", "none"))
        check_number("learning_rate", self.learning_rate, low=0, low_open=True)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("momentum", self.momentum, low=0, high=1)
        check_number("jitter", self.jitter, low=0, high=1)
        check_number("source_share", self.source_share, low=0, high=1)
        check_choice("flip", self.flip, (False, True))
        check_choice("train_norm", self.train_norm, (False, True))

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0.

        Example:
            >>> settings = FinetuneSettings(steps=4, decay="cosine", learning_rate=1.0)
            >>> [round(settings.rate(step), 3) for step in range(4)]
            [1.0, 0.854, 0.5, 0.146]
        """
        done = step / self.steps
        if self.decay == "none":
            return self.learning_rate
        half_wave = (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * (half_wave if self.decay == "cosine" else (1 - done) ** 0.9)
