"""What the correction asks of a feature extractor, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FeatureMap:
    """One level of features of an image.

    Args:
        values: (C, h, w) floating point.
        extent: height and width, in cells and possibly fractional, of the top left part that
            shows the image; the rest is padding.
    """

    values: Tensor
    extent: tuple[float, float]


@runtime_checkable
class FeatureExtractor(Protocol):
    """An image in, one or several feature maps out; all of them are pooled and put side by side."""

    @property
    def device(self) -> torch.device:
        """Where the extractor computes and returns its maps."""
        ...

    @property
    def trained(self) -> nn.Module | None:
        """The part that is trained with the classifier; ``None`` if the extractor is frozen."""
        ...

    @property
    def learning_rate_factor(self) -> float:
        """What the learning rate is multiplied with for the trained part."""
        ...

    def __call__(self, image: Tensor) -> Sequence[FeatureMap]:
        """Extract from one image, (3, H, W) RGB, uint8 or float32 in 0-255, on any device."""
        ...

    def describe(self) -> dict[str, str]:
        """What it is, as names and values that a saved classifier can be compared with."""
        ...
