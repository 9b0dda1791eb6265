"""Average features under every region of an image, by area.

A region of ten pixels covers no cell of a stride-16 feature map, but it covers a part of one or
two. Each region therefore takes the mean over *its pixels* of the feature cell(s) they lie in,
which is the mean over cells weighted by how much of the region lies in each. Nothing of the
image's size times the number of channels is ever built.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.checks import check_integer, describe


@dataclass(frozen=True)
class RegionRuns:
    """The regions of an image as runs: pieces of one row of pixels that lie in one region.

    Args:
        row: (R,) int64, ascending.
        start: (R,) int64, first column.
        end: (R,) int64, the column after the last one.
        region: (R,) int64, 0..N-1.
        count: N.
        size: height and width of the image.
    """

    row: Tensor
    start: Tensor
    end: Tensor
    region: Tensor
    count: int
    size: tuple[int, int]


@dataclass(frozen=True)
class CellShares:
    """How the regions of an image lie on a feature map: one row per region and cell that meet.

    Args:
        region: (E,) int64, 0..N-1, ascending.
        cell: (E,) int64, row-major number of the cell.
        share: (E,) float32, the part of the region's area in this cell; sums to 1 per region.
        count: N.
        grid: height and width of the feature map in cells.
    """

    region: Tensor
    cell: Tensor
    share: Tensor
    count: int
    grid: tuple[int, int]


def find_runs(ids: Tensor, count: int) -> RegionRuns:
    """Cut regions into runs.

    Args:
        ids: (H, W) integers, the region of every pixel, 1..N; 0 is none.
        count: N; a region may have no pixel.

    Raises:
        ValueError: ``ids`` of another shape or outside 0..N.

    Example:
        >>> runs = find_runs(torch.tensor([[0, 1, 1, 2]]), 2)
        >>> runs.start.tolist(), runs.end.tolist(), runs.region.tolist()
        ([1, 3], [3, 4], [0, 1])
    """
    if ids.ndim != 2 or ids.is_floating_point() or 0 in ids.shape:
        raise ValueError(f"ids: expected integers of shape (H, W), got {describe(ids)}")
    low, high = (int(value) for value in torch.aminmax(ids))
    if low < 0 or high > count:
        raise ValueError(f"ids: expected 0..{count}, got {low} to {high}")
    height, width = ids.shape
    flat = ids.flatten()
    changes = flat[1:] != flat[:-1]
    changes[width - 1 :: width] = True  # a row ends
    starts = F.pad(changes.nonzero()[:, 0] + 1, (1, 0))
    ends = F.pad(starts[1:], (0, 1), value=len(flat))
    region = flat[starts].long() - 1
    inside = region >= 0
    starts, region = starts[inside], region[inside]
    row = starts // width
    first = row * width
    return RegionRuns(row, starts - first, ends[inside] - first, region, count, (height, width))


def cell_shares(
    runs: RegionRuns, grid: tuple[int, int], *, extent: tuple[float, float] | None = None
) -> CellShares:
    """Measure how much of every region lies in every cell of a feature map, exactly.

    Pixels are split between the cells they straddle, so the stride may be any number.

    Args:
        runs: the regions.
        grid: height and width of the feature map in cells.
        extent: height and width, in cells and possibly fractional, of the top left part of the
            feature map that shows the image; the rest is padding. All of it if ``None``.

    Returns:
        No rows for regions without a pixel.

    Raises:
        ValueError: an impossible grid or extent.

    Example:
        >>> shares = cell_shares(find_runs(torch.tensor([[0, 1, 1, 1]]), 1), (1, 2))
        >>> shares.cell.tolist(), [round(share, 3) for share in shares.share.tolist()]
        ([0, 1], [0.333, 0.667])
    """
    rows, columns = (check_integer("grid", side, low=1) for side in grid)
    tall, wide = (float(rows), float(columns)) if extent is None else extent
    if not (0 < tall <= rows and 0 < wide <= columns):
        raise ValueError(
            f"extent: expected a part of the {rows} x {columns} cells, got {tall:g} x {wide:g}"
        )

    (height, width), count = runs.size, runs.count
    # Vertically: the cell rows that a run meets, and how much of each it fills.
    run, cell_row, share_y = _overlaps(runs.row, runs.row + 1, height, tall, rows)
    # Neighbouring rows of pixels mostly hold the same runs; in one cell row they are one.
    key = (cell_row * count + runs.region[run]) * width + runs.start[run]
    key = key * width + runs.end[run] - 1
    key, share_y = _add_equal(key, share_y)
    start, end = key // width % width, key % width + 1
    line = key // width**2
    line = line % count * rows + line // count  # region by region, then cell row by cell row
    # Horizontally: the cells that a run covers whole, again mostly the same in neighbouring rows,
    # and what of it lies in a cell to their left and in one to their right.
    low, high = (edge.double() * wide / width for edge in (start, end))
    first, last = low.ceil().long(), high.floor().long()
    left = first > low
    right = (last >= first) & (high > last)
    lengths = torch.minimum(high, first.double()) - low, high - last
    whole = last > first
    key = (line * columns + first) * columns + last - 1
    middle, fill = _add_equal(key[whole], share_y[whole])
    start, end = middle // columns % columns, middle % columns + 1
    interval, offset = _expand(end - start)
    cells = rows * columns
    key, area = _add_equal(
        torch.cat(
            [
                line[left] * columns + first[left] - 1,
                (middle // columns**2 * columns + start)[interval] + offset,
                line[right] * columns + last[right],
            ]
        ),
        torch.cat(
            [(lengths[0] * share_y)[left], fill[interval], (lengths[1] * share_y)[right]],
        ),
    )
    owner = key // cells
    total = area.new_zeros(count).index_add_(0, owner, area)
    return CellShares(owner, key % cells, (area / total[owner]).float(), count, (rows, columns))


def pool_features(features: Tensor, shares: CellShares) -> Tensor:
    """Average features under every region; differentiable in the features.

    Args:
        features: (C, h, w) floating point, of the grid of ``shares``.
        shares: see :func:`cell_shares`.

    Returns:
        (N, C) float32; 0 for a region without pixels.

    Raises:
        ValueError: another shape, dtype or device.

    Example:
        >>> features = torch.tensor([[[3.0, 6.0]]])
        >>> runs = find_runs(torch.tensor([[0, 1, 1, 1]]), 1)
        >>> pool_features(features, cell_shares(runs, (1, 2)))
        tensor([[5.]])

    Source: SeCo, equation 2.
    """
    if features.ndim != 3 or not features.is_floating_point():
        raise ValueError(
            f"features: expected floating point of shape (C, h, w), got {describe(features)}"
        )
    if tuple(features.shape[1:]) != shares.grid:
        raise ValueError(
            f"features: expected {shares.grid} cells as the shares have, "
            f"got {tuple(features.shape[1:])}"
        )
    regions = torch.arange(shares.count, device=features.device)
    if len(shares.cell) == 0:
        return features.new_zeros(shares.count, len(features), dtype=torch.float32)
    # A product of a sparse matrix, (N, cells), with the cells' features, without building either.
    return F.embedding_bag(
        shares.cell,
        features.float().flatten(1).T.contiguous(),
        torch.searchsorted(shares.region, regions),
        mode="sum",
        per_sample_weights=shares.share,
    )


def _overlaps(
    start: Tensor, end: Tensor, length: int, extent: float, cells: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut intervals of pixels at the borders of cells.

    Returns:
        The number of the interval (ascending), the cell, and the length in cells, of each piece.
    """
    # Product first: where it is a whole number of cells, so is the quotient.
    low, high = (edge.double() * extent / length for edge in (start, end))
    first = low.floor().long()
    last = high.ceil().long().clamp(max=cells)
    interval, offset = _expand(last - first)
    cell = first[interval] + offset
    overlap = torch.minimum(high[interval], cell + 1.0) - torch.maximum(low[interval], cell + 0.0)
    return interval, cell, overlap


def _add_equal(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Every key once, ascending, with the sum of its values."""
    found, place = torch.unique(key, return_inverse=True)
    return found, value.new_zeros(len(found)).index_add_(0, place, value)


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat 0..n-1 by ``counts``: which one it is, and its 0, 1, .. within its own."""
    owner = torch.repeat_interleave(counts)
    return owner, torch.arange(len(owner), device=counts.device) - (counts.cumsum(0) - counts)[
        owner
    ]
