"""Prompting: every component asks SAM for its object with a box and reliable points."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.components import Components
from seco.prompts import enlarge_boxes, representative_points
from seco.sam.masks import (
    Extent,
    Size,
    cells_to_pixels,
    crop_to_extent,
    inside_windows,
    mask_boxes,
    pixel_cells,
)
from seco.sam.protocol import Embedding, PromptableSegmenter
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


def prompt_components(
    components: Components,
    label: Tensor,
    num_classes: int,
    embedding: Embedding,
    segmenter: PromptableSegmenter,
    settings: PSASettings,
    ignore_index: int,
    *,
    array: Array | None = None,
) -> Claims:
    """Turn components into SAM's masks of the same objects.

    One box (the component's, enlarged) and its points make one prompt; all prompts go through the
    decoder in chunks and are judged at its resolution. A mask is believed if the decoder rates it,
    if enough of its labelled pixels carry the component's class, and if it holds enough of the
    component; what becomes of a component whose mask is not believed: see
    :class:`seco.PSASettings`. Its own pixels count as half in agreement.

    Args:
        components: N connected components of ``label``.
        label: (H, W) int64; ids outside ``0..num_classes - 1`` do not vote.
        num_classes: K.
        embedding: of the image.
        segmenter: that made the embedding.
        settings: of the aggregation.
        ignore_index: the id of unlabelled pixels.
        array: ``label`` as an array, if the caller has it: it is not fetched again.

    Returns:
        Claims of N masks, on the segmenter's device.

    Source: SeCo, section 3.2, interactions with box and point prompts.
    """
    size, device = embedding.size, segmenter.device
    array = label.cpu().numpy() if array is None else array
    boxes = torch.from_numpy(enlarge_boxes(components.boxes, settings.box_enlargement, size))
    points = torch.from_numpy(
        representative_points(
            components,
            array,
            method=settings.point,
            count=settings.points_per_prompt,
            ignore_index=ignore_index,
        )
    )
    ids = torch.from_numpy(components.ids).to(device)
    # Edges of pixels become pixel indices, which is how SAM counts.
    limit = torch.tensor([size[1] - 1, size[0] - 1] * 2)
    boxes = (boxes - 0.5).clamp(min=0).minimum(limit)
    # One table, for every transfer waits for the device; float64 holds all of it exactly.
    numbers = torch.from_numpy(np.stack([components.classes, components.areas], axis=1))
    table = torch.cat([boxes, points.flatten(1), numbers.double()], dim=1).to(device)
    boxes, points = table[:, :4].float(), table[:, 4:-2].float().view(points.shape)
    classes, areas = table[:, -2:].long().T.contiguous()
    label = label.to(device)
    judge: _Judge | None = None
    agreements, believed, owners, pixels = [], [], [], []
    held, most = 0, MOST_CLAIMS
    starts = range(0, len(components), settings.prompts_per_batch)
    for turn, start in enumerate(starts):
        chunk = slice(start, start + settings.prompts_per_batch)
        answer = segmenter.decode(
            embedding,
            boxes=boxes[chunk],
            points=points[chunk],
            point_labels=torch.ones(points[chunk].shape[:2], dtype=torch.int64, device=device),
        )
        logits, scores = answer.logits[:, 0], answer.scores[:, 0]
        if judge is None:
            judge = _Judge(label, ids, num_classes, answer.extent, size, starts)
        agreement, coverage = judge(logits, classes[chunk], areas[chunk], turn)
        trusted = (
            (scores >= settings.thing_iou_thresh)
            & (agreement >= settings.thing_agreement)
            & (coverage >= settings.thing_coverage)
        )
        agreements.append(agreement)
        believed.append(trusted)
        kept = trusted.nonzero()[:, 0]
        for some, owner, pixel in _full_size(logits[kept], answer.extent, size):
            owners.append(start + kept[some][owner])
            pixels.append(pixel)
            held += len(pixel)
            if held > most:
                so_far = torch.cat(agreements)
                owner, pixel = _best_claims(
                    torch.cat(owners), torch.cat(pixels), classes, so_far, num_classes
                )
                owners, pixels, held = [owner], [pixel], len(pixel)
                most = max(MOST_CLAIMS, 2 * held)
    if not agreements:
        return Claims.none(device)
    agreement, trusted = torch.cat(agreements), torch.cat(believed)
    kept_owners: list[Tensor] = []
    kept_pixels: list[Tensor] = []
    if settings.rejected_things != "drop":
        rejected = torch.cat([trusted.new_zeros(1), ~trusted])
        own = rejected[ids.long()].flatten().nonzero()[:, 0]
        claims = settings.rejected_things == "component"
        (owners if claims else kept_owners).append(ids.flatten()[own].long() - 1)
        (pixels if claims else kept_pixels).append(own)
    nothing = classes.new_zeros(0)
    return Claims(
        classes,
        torch.where(trusted, agreement, 0.5),
        *(torch.cat([nothing, *parts]) for parts in (owners, pixels, kept_owners, kept_pixels)),
    )


class _Judge:
    """Counts labels under low-resolution masks; what depends on the image alone is kept.

    Components come in chunks, of which ``starts`` are the first ones.
    """

    def __init__(
        self,
        label: Tensor,
        ids: Tensor,
        num_classes: int,
        extent: Extent,
        size: Size,
        starts: Sequence[int],
    ) -> None:
        cells = pixel_cells(extent, size, label.device).flatten()
        self.extent, self.num_classes = extent, num_classes
        self.cell_count = math.ceil(extent[0]) * math.ceil(extent[1])
        label, ids = label.flatten(), ids.flatten()
        votes = (label >= 0) & (label < num_classes)
        # The extra class K takes the pixels that do not vote.
        counts = torch.bincount(
            cells * (num_classes + 1) + torch.where(votes, label, num_classes),
            minlength=self.cell_count * (num_classes + 1),
        ).reshape(self.cell_count, num_classes + 1)
        self.counts = counts[:, :num_classes].float()  # a cell holds far fewer than 2**24 pixels
        # Pixels of one component in one cell, run by run: most lie side by side.
        inside = ids.nonzero()[:, 0]
        runs, pixels = torch.unique_consecutive(
            (ids[inside].long() - 1) * self.cell_count + cells[inside], return_counts=True
        )
        runs, order = runs.sort()
        self.run_pixels = pixels[order]
        self.run_component, self.run_cell = runs // self.cell_count, runs % self.cell_count
        firsts = torch.tensor(starts, device=label.device)
        ends = torch.searchsorted(self.run_component, firsts).tolist()
        self.starts, self.ends = starts, [*ends, len(runs)]

    def __call__(
        self, logits: Tensor, classes: Tensor, areas: Tensor, turn: int
    ) -> tuple[Tensor, Tensor]:
        """Agreement and coverage, (N,) float64, of masks for a chunk of components."""
        masks = (crop_to_extent(logits, self.extent) > 0).flatten(1)
        counts = (masks.float() @ self.counts).double()
        agreement = counts.gather(1, classes[:, None])[:, 0] / counts.sum(dim=1).clamp(min=1)
        low, high = self.ends[turn : turn + 2]
        component = self.run_component[low:high] - self.starts[turn]
        held = masks[component, self.run_cell[low:high]] * self.run_pixels[low:high]
        covered = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        covered.index_add_(0, component, held)
        return agreement, covered.double() / areas


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
