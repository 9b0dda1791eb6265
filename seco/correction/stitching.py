"""One feature map of an image out of the maps of its overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seco.correction.protocol import FeatureMap
from seco.sam.crop_layers import Window


def stitch(maps: Tensor, windows: Sequence[Window], *, extent: tuple[float, float]) -> FeatureMap:
    """Put the maps of windows side by side, with cells as small as theirs.

    Where windows overlap, each shows what is nearer to its own middle: of that it has seen most of
    what lies around. Cells of two windows seldom line up, so values are interpolated, bilinearly.

    Args:
        maps: (W, C, h, w) floating point, one per window.
        windows: W of one size, row by row, together the whole image, as
            :func:`seco.sam.crop_layers.windows_of_layer` gives them.
        extent: height and width, in cells, of the top left part of each map that shows its window.

    Returns:
        (C, h', w') of the maps' dtype and device, without padding.

    Example:
        >>> maps = torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1).expand(2, 1, 1, 2)
        >>> stitch(maps, [Window(0, 0, 4, 6), Window(0, 3, 4, 6)], extent=(1, 2)).values
        tensor([[[1., 1., 5.]]])
    """
    height, width = maps.shape[-2:]
    tops, lefts = (
        sorted(set(starts))
        for starts in zip(*((window.top, window.left) for window in windows), strict=True)
    )
    rows = _places(tops, windows[0].height, extent[0], height)
    columns = _places(lefts, windows[0].width, extent[1], width)
    # All cells of all windows, in rows and columns as the windows lie in the image.
    cells = maps.reshape(len(tops), len(lefts), -1, height, width).permute(2, 0, 3, 1, 4)
    cells = cells.reshape(len(cells), len(tops) * height, len(lefts) * width)
    cells = _between(_between(cells, 1, *rows), 2, *columns)
    return FeatureMap(cells, (float(cells.shape[1]), float(cells.shape[2])))


def _places(
    starts: Sequence[int], length: int, extent: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: of every new cell the two old ones between which it lies, and where.

    Args:
        starts: of the windows, ascending, in pixels.
        length: of each, in pixels.
        extent: cells of a window that show it.
        count: cells of a window.

    Returns:
        Two (M,) int64, positions among the windows' cells one after the other, and (M,) float64:
        0 is at the first of the two, 1 at the second.
    """
    side = starts[-1] + length
    number = max(round(side * extent / length), 1)
    at = (torch.arange(number, dtype=torch.float64, device="cpu") + 0.5) * (side / number)
    begin = torch.tensor(starts, dtype=torch.float64, device="cpu")
    owner = torch.bucketize(at, (begin[1:] + begin[:-1] + length) / 2)
    # The middle of cell 0 is at 0; from half a cell before either end its value stays.
    cell = ((at - begin[owner]) * (extent / length) - 0.5).clamp(0, max(extent - 1, 0))
    low = cell.floor().long()
    high = (low + 1).clamp(max=count - 1)
    return owner * count + low, owner * count + high, cell - low


def _between(values: Tensor, axis: int, low: Tensor, high: Tensor, part: Tensor) -> Tensor:
    """Interpolate along an axis: from ``low`` to ``high``, as far as ``part``."""
    low, high, part = (each.to(values.device) for each in (low, high, part))
    part = part.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1 - axis))
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), part)
