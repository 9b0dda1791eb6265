"""Arithmetic on low-resolution mask logits: judging them small, bringing them to full size.

A decoder answers on a coarse grid of which only the top left ``extent`` shows the image. Every
function here agrees on one mapping between the two: pixel ``y`` of an image of height ``H`` sits
at cell coordinate ``(y + 0.5) * extent_h / H - 0.5`` (bilinear, corners not aligned), which is
what SAM's own two-step upscaling amounts to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from seco.common.tables import take_rows

Size = tuple[int, int]
Extent = tuple[float, float]

# A megabyte of float32: the few buffers of one strip stay in a core's cache.
PIXELS_PER_STRIP = 1 << 18
# What a strip may have on a GPU: 256 MiB.
PIXELS_ON_GPU = 1 << 26


def crop_to_extent(logits: Tensor, extent: Extent) -> Tensor:
    """Drop the cells of ``logits`` (..., h, w) that show only padding."""
    return logits[..., : math.ceil(extent[0]), : math.ceil(extent[1])]


def stability_score(logits: Tensor, *, offset: float = 1.0) -> Tensor:
    """IoU of each mask cut at ``+offset`` with itself cut at ``-offset``, as SAM measures it.

    Args:
        logits: (..., h, w).
        offset: how far the cut is moved, in logits.

    Returns:
        (...) float32 in [0, 1]; 0 where the mask is empty even at ``-offset``.

    Example:
        >>> stability_score(torch.tensor([[[3.0, 0.5], [-0.5, -3.0]]]))
        tensor([0.3333])
    """
    inside = (logits > offset).sum(dim=(-2, -1))
    around = (logits > -offset).sum(dim=(-2, -1))
    # Of integers alone, the caller's default dtype would be taken: bfloat16 counts to 256.
    return inside.float() / around.clamp(min=1).float()


def mask_boxes(masks: Tensor) -> Tensor:
    """Bounding boxes of boolean masks.

    Args:
        masks: (N, h, w) bool.

    Returns:
        (N, 4) int64 x0, y0, x1, y1 in cells, the upper ends exclusive; zeros for an empty mask.

    Example:
        >>> mask_boxes(torch.tensor([[[False, True, True], [False, False, False]]]))
        tensor([[1, 0, 3, 1]])
    """
    ends = []
    for occupied in (masks.any(dim=1), masks.any(dim=2)):  # columns, then rows
        count = occupied.shape[1]
        position = torch.arange(count, device=masks.device)
        first = torch.where(occupied, position, count).amin(dim=1)
        last = torch.where(occupied, position + 1, 0).amax(dim=1)
        ends.append((first.minimum(last), last))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], dim=1)


def cells_to_pixels(boxes: Tensor, extent: Extent, size: Size) -> Tensor:
    """Widen boxes from whole cells to all pixels that bilinear upscaling can reach from them.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in cells, upper ends exclusive.
        extent: cells that show the image.
        size: height and width of the image.

    Returns:
        (N, 4) int64 in pixels, clipped to the image, upper ends exclusive.
    """
    scale = boxes.new_tensor([size[1] / extent[1], size[0] / extent[0]] * 2, dtype=torch.float64)
    reach = boxes.new_tensor([-1, -1, 1, 1], dtype=torch.float64)
    limit = boxes.new_tensor([size[1], size[0]] * 2)
    pixels = ((boxes + reach) * scale).round().long()
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    return torch.where(empty[:, None], 0, pixels.clamp(min=0).minimum(limit))


def masks_at_once(pixels: int, device: torch.device) -> int:
    """How many masks of so many pixels are made at a time: a multiple of eight.

    On a CPU as many as its cache holds; on a GPU so many that launching is not what takes time.
    """
    most = PIXELS_PER_STRIP if device.type == "cpu" else PIXELS_ON_GPU
    return max(8, most // max(1, pixels) // 8 * 8)


def upscale(logits: Tensor, extent: Extent, size: Size) -> Iterator[Tensor]:
    """Bring (N, h, w) logits to (N, H, W) pixels of the image, bilinearly, strip by strip.

    ``torch.nn.functional.interpolate`` would do, but it ignores the scale it is given wherever
    the sizes before and after happen to be equal, and extents are fractional.

    Yields:
        (N, rows, W), from the top down; on a CPU as few rows as its cache holds.
    """
    cells = crop_to_extent(logits, extent)
    y_low, y_high, y_weight = _neighbours(
        torch.arange(size[0], device=logits.device), cells.shape[1], extent[0] / size[0]
    )
    columns = torch.arange(size[1], device=logits.device)
    x_low, x_high, x_weight = _neighbours(columns, cells.shape[2], extent[1] / size[1])
    # Rows are contiguous, so that taking them is a copy; along columns a product is faster.
    along_x = logits.new_zeros(cells.shape[2], size[1])
    along_x[x_low, columns] = 1 - x_weight
    along_x[x_high, columns] += x_weight
    wide = cells @ along_x
    height = size[0] if logits.is_cuda else max(1, PIXELS_PER_STRIP // (len(logits) * size[1]))
    for top in range(0, size[0], height):
        rows = slice(top, top + height)
        yield torch.lerp(wide[:, y_low[rows]], wide[:, y_high[rows]], y_weight[rows, None])


def pixel_cells(extent: Extent, size: Size, device: torch.device) -> Tensor:
    """Flat index, in the cropped grid, of the nearest cell of every pixel: (H, W) int64."""
    y, x = (torch.arange(n, device=device, dtype=torch.float64) + 0.5 for n in size)
    return cells_at(y[:, None], x, extent, size)


def cells_at(y: Tensor, x: Tensor, extent: Extent, size: Size) -> Tensor:
    """Flat index, in the cropped grid, of the cell at each place (edges of pixels are integers)."""
    height, width = math.ceil(extent[0]), math.ceil(extent[1])
    rows = (y * (extent[0] / size[0])).long().clamp(max=height - 1)
    columns = (x * (extent[1] / size[1])).long().clamp(max=width - 1)
    return rows * width + columns


def inside_windows(
    logits: Tensor, windows: Tensor, extent: Extent, size: Size, *, total: int | None = None
) -> tuple[Tensor, Tensor]:
    """Upscale every mask only within its own window, all windows in one ragged pass.

    Args:
        logits: (N, h, w).
        windows: (N, 4) int64 x0, y0, x1, y1 in pixels of the image, upper ends exclusive.
        extent: cells that show the image.
        size: height and width of the image.
        total: pixels in all windows, if that is known: it spares waiting for the device.

    Returns:
        ``owner`` and ``pixel``, (T,) int64 each: mask ``owner[t]`` covers flat pixel ``pixel[t]``.
    """
    device = logits.device
    left, top, right, bottom = windows.unbind(dim=1)
    width = (right - left).clamp(min=0)
    areas = width * (bottom - top).clamp(min=0)
    numbers = torch.arange(len(windows), device=device)
    owner = torch.repeat_interleave(numbers, areas, output_size=total)
    local = torch.arange(len(owner), device=device) - take_rows(areas.cumsum(0) - areas, owner)
    wide = take_rows(width, owner)
    x, y = take_rows(left, owner) + local % wide, take_rows(top, owner) + local // wide
    cells = crop_to_extent(logits, extent)
    (y_low, y_high, y_weight), (x_low, x_high, x_weight) = (
        _neighbours(position, cells.shape[dim], cell_extent / pixels)
        for position, dim, cell_extent, pixels in (
            (y, 1, extent[0], size[0]),
            (x, 2, extent[1], size[1]),
        )
    )
    flat = cells.reshape(-1)
    base = owner * (cells.shape[1] * cells.shape[2])
    upper, lower = base + y_low * cells.shape[2], base + y_high * cells.shape[2]
    above, below = (
        torch.lerp(take_rows(flat, row + x_low), take_rows(flat, row + x_high), x_weight)
        for row in (upper, lower)
    )
    inside = (torch.lerp(above, below, y_weight) > 0).nonzero()[:, 0]
    return take_rows(owner, inside), take_rows(y * size[1] + x, inside)


def _neighbours(position: Tensor, cells: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    # Not the caller's default dtype: bfloat16 counts to 256.
    source = ((position.float() + 0.5) * scale - 0.5).clamp(min=0)
    low = source.floor().long().clamp(max=cells - 1)
    return low, (low + 1).clamp(max=cells - 1), source - low
