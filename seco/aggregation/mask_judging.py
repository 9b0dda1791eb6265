"""Judging a mask at the decoder's resolution: which labels it covers, and of which component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from seco.common.tables import take_rows
from seco.sam.masks import Extent, crop_to_extent, pixel_cells


class MaskJudge:
    """Counts labels under low-resolution masks; what depends on the image alone is kept.

    Args:
        label: (H, W) int64; ids outside ``0..num_classes - 1`` do not vote.
        ids: (H, W), the component of every pixel, 0 is none.
        num_classes: K.
        extent: cells of the masks that show the image.
        starts: components come in chunks, of which these are the first ones.
    """

    def __init__(
        self,
        label: Tensor,
        ids: Tensor,
        num_classes: int,
        extent: Extent,
        starts: Sequence[int],
    ) -> None:
        size = (int(label.shape[0]), int(label.shape[1]))
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
            (take_rows(ids, inside).long() - 1) * self.cell_count + take_rows(cells, inside),
            return_counts=True,
        )
        runs, order = runs.sort()
        self.run_pixels = pixels[order]
        self.run_component, self.run_cell = runs // self.cell_count, runs % self.cell_count
        firsts = torch.tensor(starts, device=label.device)
        ends = [*torch.searchsorted(self.run_component, firsts).tolist(), len(runs)]
        self.runs_of = dict(zip(starts, pairwise(ends), strict=True))

    def __call__(
        self, logits: Tensor, classes: Tensor, areas: Tensor, start: int
    ) -> tuple[Tensor, Tensor]:
        """Agreement and coverage, (n,) float64, of masks for the chunk that begins at ``start``.

        Args:
            logits: (n, h, w).
            classes: (n,) of the chunk's components.
            areas: (n,), their pixels.
        """
        masks = (crop_to_extent(logits, self.extent) > 0).flatten(1)
        counts = (masks.float() @ self.counts).double()
        agreement = counts.gather(1, classes[:, None])[:, 0] / counts.sum(dim=1).clamp(min=1)
        low, high = self.runs_of[start]
        component = self.run_component[low:high] - start
        held = masks[component, self.run_cell[low:high]] * self.run_pixels[low:high]
        covered = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        covered.index_add_(0, component, held)
        return agreement, covered.double() / areas
