"""Where to look closer: overlapping windows of an image, so that small things fill more of SAM."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.sam.masks import Size

# The official generator's 20 pixels, as a share of the 1024 that SAM sees.
_NEAR = 20 / 1024


@dataclass(frozen=True)
class Window:
    """A part of an image: ``top`` and ``left`` corner, ``height`` and ``width``, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows in the image."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns in the image."""
        return slice(self.left, self.left + self.width)


def windows_of_layer(size: Size, layer: int, *, overlap_ratio: float) -> list[Window]:
    """The ``2**layer`` by ``2**layer`` windows of a layer, all of one size, row by row.

    As ``segment_anything`` cuts them, but that the last of a row or column is moved inwards where
    it would end beyond the image. Windows that coincide (tiny images) are given once.

    Args:
        size: height and width of the image.
        layer: 0 is the image itself.
        overlap_ratio: of neighbours in layer 1, as a share of the image's shorter side; half of
            it in layer 2 and so on.

    Example:
        >>> windows_of_layer((300, 600), 1, overlap_ratio=1 / 3)[-1]
        Window(top=100, left=250, height=200, width=350)
    """
    number = 2**layer
    overlap = int(overlap_ratio * min(size) * (2 / number)) if layer else 0
    lengths = [math.ceil((overlap * (number - 1) + side) / number) for side in size]
    starts = [
        sorted({min((length - overlap) * index, side - length) for index in range(number)})
        for length, side in zip(lengths, size, strict=True)
    ]
    return [Window(top, left, *lengths) for top in starts[0] for left in starts[1]]


def cut_off(boxes: Tensor, window: Window, size: Size) -> Tensor:
    """Whether masks end where their window ends though the image goes on: parts of something.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image, upper ends exclusive.
        window: where the masks were found.
        size: height and width of the image.

    Returns:
        (N,) bool.
    """
    if (window.height, window.width) == size:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    low = boxes.new_tensor([window.left, window.top])
    high = low + boxes.new_tensor([window.width, window.height])
    near = _NEAR * max(window.height, window.width)
    inner_low, inner_high = low > 0, high < boxes.new_tensor([size[1], size[0]])
    touches_low = (boxes[:, :2] - low <= near) & inner_low
    touches_high = (high - boxes[:, 2:] <= near) & inner_high
    return torch.cat([touches_low, touches_high], dim=1).any(dim=1)
