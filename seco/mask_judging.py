"""Judging a mask at the decoder's resolution: which labels it covers, and of which component."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seco.sam.masks import Extent, Size, crop_to_extent, pixel_cells


class MaskJudge:
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
