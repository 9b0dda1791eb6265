"""What prompted masks claim: which pixels, for which class, and which mask goes first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from seco.aggregation.mask_judging import MaskJudge
from seco.common.tables import take_rows
from seco.sam.masks import (
    Extent,
    Size,
    cells_to_pixels,
    crop_to_extent,
    inside_windows,
    mask_boxes,
)
from seco.settings import PSASettings

# Window pixels brought to full size at once: about 100 bytes of temporaries each.
PIXELS_PER_PASS = 1 << 21
# Claims held before those are dropped that another mask of the same class outdoes anyway.
MOST_CLAIMS = 1 << 22


@dataclass(frozen=True)
class Claims:
    """Masks that claim pixels for a class, as a sparse list.

    Args:
        classes: (N,) int64, the class each mask claims.
        agreements: (N,) float64 in [0, 1], share of that class among the mask's labelled pixels.
        owner: (T,) int64, the mask ...
        pixel: (T,) int64, ... and the flat pixel it claims.
        kept_owner: (U,) int64, a component without a mask ...
        kept_pixel: (U,) int64, ... and a pixel of it, which stays if nothing else decides it.
    """

    classes: Tensor
    agreements: Tensor
    owner: Tensor
    pixel: Tensor
    kept_owner: Tensor
    kept_pixel: Tensor

    @classmethod
    def none(cls, device: torch.device | None = None) -> Claims:
        """Nobody claims anything."""
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        return cls(empty, empty.double(), empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device) -> Claims:
        """Return the same claims on another device."""
        return Claims(*(part.to(device) for part in vars(self).values()))


class ClaimCollector:
    """Takes the masks that an image's components got, chunk by chunk, and keeps what they claim.

    A mask is believed if the decoder rates it, if enough of its labelled pixels carry the
    component's class, and if it holds enough of the component.

    Args:
        ids: (H, W) int32, the component of every pixel, 0 is none.
        classes: (N,) int64 of the components.
        areas: (N,) int64, their pixels.
        label: (H, W) int64; ids outside ``0..num_classes - 1`` do not vote.
        num_classes: K.
        settings: of the aggregation.
    """

    def __init__(
        self,
        ids: Tensor,
        classes: Tensor,
        areas: Tensor,
        label: Tensor,
        *,
        num_classes: int,
        settings: PSASettings,
    ) -> None:
        self.ids, self.classes, self.areas, self.label = ids, classes, areas, label
        self.num_classes, self.settings = num_classes, settings
        self.size: Size = (int(ids.shape[0]), int(ids.shape[1]))
        self._judge: MaskJudge | None = None
        self._agreements: list[Tensor] = []
        self._believed: list[Tensor] = []
        self._owners: list[Tensor] = []
        self._pixels: list[Tensor] = []
        self._held, self._most = 0, MOST_CLAIMS

    def take(self, some: slice, logits: Tensor, scores: Tensor, extent: Extent) -> None:
        """Judge the next chunk's masks, (n, h, w) with (n,) scores, of components ``some``.

        Chunks are of ``settings.prompts_per_batch``, from the first component on.
        """
        settings = self.settings
        if self._judge is None:
            starts = range(0, len(self.classes), settings.prompts_per_batch)
            self._judge = MaskJudge(self.label, self.ids, self.num_classes, extent, starts)
        agreement, coverage = self._judge(logits, self.classes[some], self.areas[some], some.start)
        trusted = (
            (scores >= settings.thing_iou_thresh)
            & (agreement >= settings.thing_agreement)
            & (coverage >= settings.thing_coverage)
        )
        self._agreements.append(agreement)
        self._believed.append(trusted)
        kept = trusted.nonzero()[:, 0]
        for part, owner, pixel in _full_size(logits[kept], extent, self.size):
            self._owners.append(some.start + kept[part][owner])
            self._pixels.append(pixel)
            self._held += len(pixel)
            if self._held > self._most:
                self._drop_outdone()

    def _drop_outdone(self) -> None:
        owner, pixel = _best_claims(
            torch.cat(self._owners),
            torch.cat(self._pixels),
            self.classes,
            torch.cat(self._agreements),
            self.num_classes,
        )
        self._owners, self._pixels, self._held = [owner], [pixel], len(pixel)
        self._most = max(MOST_CLAIMS, 2 * self._held)

    def claims(self) -> Claims:
        """What the masks claim, when all chunks have been taken."""
        if not self._agreements:
            return Claims.none(self.ids.device)
        agreement, trusted = torch.cat(self._agreements), torch.cat(self._believed)
        owners, pixels = list(self._owners), list(self._pixels)
        kept_owners: list[Tensor] = []
        kept_pixels: list[Tensor] = []
        if self.settings.rejected_things != "drop":
            rejected = torch.cat([trusted.new_zeros(1), ~trusted])
            own = take_rows(rejected, self.ids).flatten().nonzero()[:, 0]
            claims = self.settings.rejected_things == "component"
            (owners if claims else kept_owners).append(
                take_rows(self.ids.flatten(), own).long() - 1
            )
            (pixels if claims else kept_pixels).append(own)
        nothing = self.classes.new_zeros(0)
        return Claims(
            self.classes,
            torch.where(trusted, agreement, 0.5),
            *(torch.cat([nothing, *parts]) for parts in (owners, pixels, kept_owners, kept_pixels)),
        )


def best_first(agreements: Tensor) -> tuple[Tensor, Tensor]:
    """Masks from the best on (largest agreement, then the first), and each mask's rank: (N,)."""
    order = torch.argsort(agreements, stable=True, descending=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return order, rank


def _best_claims(
    owner: Tensor, pixel: Tensor, classes: Tensor, agreements: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Of the masks of one class over one pixel the best, which is all that merging asks for.

    Speckles of one object mostly get the same mask: without this a large object broken into
    hundreds of them would be held hundreds of times.
    """
    order, rank = best_first(agreements)
    place = pixel * num_classes + classes[owner]
    key = (place * len(order) + rank[owner]).sort().values
    place = key // len(order)
    first = torch.ones_like(place, dtype=torch.bool)
    first[1:] = place[1:] != place[:-1]
    return order[key[first] % len(order)], place[first] // num_classes


def _full_size(
    logits: Tensor, extent: Extent, size: Size
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Pixels of each mask at full size, a few masks at a time to bound memory."""
    windows = cells_to_pixels(mask_boxes(crop_to_extent(logits, extent) > 0), extent, size)
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    ends = list(accumulate(areas.tolist()))
    start, before = 0, 0
    while start < len(ends):
        stop = max(bisect_right(ends, before + PIXELS_PER_PASS, start), start + 1)
        some, total = slice(start, stop), ends[stop - 1] - before
        yield some, *inside_windows(logits[some], windows[some], extent, size, total=total)
        start, before = stop, ends[stop - 1]
