"""The regions of one class each that a label consists of: what PSA makes, and SCC judges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.checks import describe
from seco.common.labels import LabelSpace
from seco.common.tables import take_rows


@dataclass(frozen=True)
class Connectivities:
    """Whole regions of one class each: what PSA makes of the speckle, and what SCC judges.

    Args:
        ids: (H, W) int32, the connectivity of every pixel; 0 is none: no label, or one that
            neither a region nor a mask supports, only the pixel's own.
        classes: (N,) int64, the class of connectivity n at n - 1.
        scores: (N,) float32 in [0, 1], the share of its class among its labelled pixels (of a
            region see :func:`seco.aggregation.alignment.name_regions`); 0.5 for a component that
            stands for itself because its mask was not believed.
    """

    ids: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def only(self, kept: Tensor) -> Connectivities:
        """Those for which ``kept``, (N,) bool, holds, numbered anew; the others' pixels get 0."""
        number = torch.cat([kept.new_zeros(1), kept]).long()
        number = number.cumsum(0) * number
        left = kept.nonzero()[:, 0]
        return Connectivities(
            ids=take_rows(number.to(torch.int32), self.ids),
            classes=self.classes[left],
            scores=self.scores[left],
        )

    def with_pixels(self) -> Connectivities:
        """Those that have a pixel, numbered anew."""
        present = torch.zeros(len(self) + 1, dtype=torch.bool, device=self.ids.device)
        return self.only(present.index_fill_(0, self.ids.flatten().long(), True)[1:])


def check_connectivities(item: Connectivities, size: tuple[int, int], space: LabelSpace) -> None:
    """Raise unless connectivities fit an image and a label space.

    Raises:
        TypeError: parts of another kind or dtype.
        ValueError: another size, or ids or classes out of range.
    """
    for name, wanted in (("ids", "integer"), ("classes", "integer"), ("scores", "floating point")):
        part = getattr(item, name)
        floats = isinstance(part, Tensor) and part.dtype.is_floating_point
        if not isinstance(part, Tensor) or floats != (name == "scores"):
            raise TypeError(
                f"connectivities: expected {name} to be a tensor of {wanted} dtype, "
                f"got {describe(part)}"
            )
    if tuple(item.ids.shape) != size:
        raise ValueError(
            f"connectivities: expected the size {size} of the image, got {tuple(item.ids.shape)}"
        )
    low, high = (int(value) for value in torch.aminmax(item.ids))
    if low < 0 or high > len(item):
        raise ValueError(f"connectivities: expected ids 0..{len(item)}, got {low} to {high}")
    if len(item) and not (
        0 <= int(item.classes.min()) <= int(item.classes.max()) < space.num_classes
    ):
        raise ValueError(
            f"connectivities: expected classes 0..{space.num_classes - 1}, "
            f"got {int(item.classes.min())} to {int(item.classes.max())}"
        )
