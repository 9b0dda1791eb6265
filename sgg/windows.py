"""Where the regions of a label map are: windows that hold a region and what it is seen with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Windows start and end on a grid of so many pixels, so that segmenters of every stride up to it
# lay their own grid over a window as they do over the image.
GRID = 32
# Sides of windows are so many parts of the image's side: few sizes, so few batches, whatever the
# regions; and an image's windows do not depend on what is batched with it.
_PARTS = 4


class Window(NamedTuple):
    """A part of one image of a batch, and the class whose region it is cut out for."""

    image: int
    class_id: int
    rows: slice
    columns: slice


def region_windows(
    labels: Tensor, *, ignore_index: int = 255, margin: int | None = None
) -> dict[tuple[int, int], list[Window]]:
    """Cut out a window for every class of every image, sorted by the windows' sizes.

    A window is the bounding box of the class's pixels with a margin, enlarged to the grid of 32
    pixels and to a quarter, half, three quarters or all of the image's side. It never leaves the
    image: nothing has to be made up around it.

    Args:
        labels: (B, H, W) int64.
        ignore_index: pixels of it belong to no region.
        margin: least distance, in pixels, of a region from the sides of its window that are not
            sides of the image; ``None`` is the whole image.

    Returns:
        (height, width) -> windows of that size.

    Example:
        >>> labels = torch.full((1, 64, 256), 7)
        >>> labels[:, 10:20, 70:90] = 1
        >>> for size, windows in region_windows(labels, margin=8).items():
        ...     print(size, [(w.class_id, w.rows.start, w.columns.start) for w in windows])
        (32, 128) [(1, 0, 32)]
        (64, 256) [(7, 0, 0)]
    """
    height, width = labels.shape[-2:]
    groups: dict[tuple[int, int], list[Window]] = {}
    for image, label in enumerate(labels):
        ids = torch.unique(label[label != ignore_index])
        if margin is None:
            boxes = [(slice(0, height), slice(0, width))] * len(ids)
        else:
            own = label == ids[:, None, None]
            boxes = [
                (_side(vertical, height, margin), _side(horizontal, width, margin))
                for vertical, horizontal in zip(
                    _extents(own.any(2)), _extents(own.any(1)), strict=True
                )
            ]
        for class_id, (rows, columns) in zip(ids.tolist(), boxes, strict=True):
            size = (rows.stop - rows.start, columns.stop - columns.start)
            groups.setdefault(size, []).append(Window(image, class_id, rows, columns))
    return groups


def _extents(present: Tensor) -> list[list[int]]:
    """Rows (N, L) of bool, each true somewhere, to the first and one past the last true places."""
    first = present.int().argmax(1)
    stop = present.shape[1] - present.flip(1).int().argmax(1)
    found: list[list[int]] = torch.stack([first, stop], 1).tolist()
    return found


def _side(extent: list[int], whole: int, margin: int) -> slice:
    first, stop = extent
    cells = -(-whole // GRID)
    start = max(0, first - margin) // GRID
    end = min(cells, -(-(stop + margin) // GRID))
    part = -(-cells // _PARTS)
    count = min(cells, -(-(end - start) // part) * part)
    start = min(start, cells - count)
    return slice(start * GRID, min((start + count) * GRID, whole))
