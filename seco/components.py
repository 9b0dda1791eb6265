"""Connected components of a label map, all classes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_choice, check_integer, check_label_map, describe


@dataclass(frozen=True)
class Components:
    """The connected components of one label map, numbered 1..N; row n - 1 describes number n.

    Args:
        ids: (H, W) int32, the component of every pixel; 0 is none.
        classes: (N,) int64, the class of each component.
        areas: (N,) int64, pixels.
        boxes: (N, 4) int64, x0, y0, x1, y1 in pixels; x1 and y1 are exclusive, so the width is
            x1 - x0.
        centres: (N, 2) float64, x and y of the centroid: the mean of the pixel indices.
    """

    ids: Array
    classes: Array
    areas: Array
    boxes: Array
    centres: Array

    def __len__(self) -> int:
        return len(self.classes)


def connected_components(
    label: Array,
    *,
    ignore_index: int = 255,
    connectivity: Literal[4, 8] = 8,
    classes: Sequence[int] | None = None,
    min_area: int = 1,
) -> Components:
    """Find the connected components of a label map: touching pixels of one class.

    Components are numbered in row-major order of their first pixel, whatever their class.
    Class 0 is a class like any other.

    Args:
        label: (H, W) integer class ids.
        ignore_index: the id of pixels that belong to no component.
        connectivity: 8 joins pixels that share a corner, 4 only those that share a side.
        classes: ids of the classes to take; ``None`` takes all.
        min_area: components with fewer pixels are left out (their pixels get id 0).

    Returns:
        The components; N is 0 where nothing is left.

    Raises:
        TypeError: ``label`` is not an integer array.
        ValueError: ``label`` is not (H, W), or an option is out of its range.

    Example:
        >>> found = connected_components(np.array([[0, 0, 7], [255, 7, 7]]))
        >>> found.ids
        array([[1, 1, 2],
               [0, 2, 2]], dtype=int32)
        >>> found.classes, found.areas, found.boxes.tolist()
        (array([0, 7]), array([2, 3]), [[0, 0, 2, 1], [1, 0, 3, 2]])
    """
    if not isinstance(label, np.ndarray):
        raise TypeError(f"label: expected a numpy array, got {describe(label)}")
    check_label_map("label", label, batched=False)
    check_integer("ignore_index", ignore_index)
    check_choice("connectivity", connectivity, (4, 8))
    check_integer("min_area", min_area, low=1)

    from skimage.measure import label as label_components  # takes long to import

    # skimage compares with the background in int64; bool and unsigned input have ways of their own.
    values = label.astype(np.int64)
    if classes is not None:
        wanted = [check_integer("classes", item) for item in classes]
        values[~np.isin(label, wanted)] = ignore_index
    ids = label_components(
        values, background=ignore_index, connectivity=1 if connectivity == 4 else 2
    ).astype(np.int32, copy=False)
    components = _describe_components(ids, values)
    if min_area > 1:
        components = _drop_small(components, min_area)
    return components


def _describe_components(ids: Array, values: Array) -> Components:
    """Measure numbered components by their runs (row pieces), which are far fewer than pixels."""
    width = ids.shape[1]
    changes = ids[:, 1:] != ids[:, :-1]
    first, last = ids > 0, ids > 0
    first[:, 1:] &= changes
    last[:, :-1] &= changes
    starts, ends = np.flatnonzero(first), np.flatnonzero(last) + 1
    owner = ids.ravel()[starts].astype(np.int64) - 1

    count = int(owner.max()) + 1 if len(owner) else 0
    rows = starts // width
    left = starts - rows * width
    right = ends - rows * width
    lengths = right - left

    classes = np.empty(count, np.int64)
    classes[owner] = values.ravel()[starts]
    x0, x1 = np.full(count, width), np.zeros(count, np.int64)
    np.minimum.at(x0, owner, left)
    np.maximum.at(x1, owner, right)
    # Runs come row by row, and of several values assigned to one place the last one stays.
    y0, y1 = np.empty(count, np.int64), np.empty(count, np.int64)
    y0[owner[::-1]] = rows[::-1]
    y1[owner] = rows + 1
    boxes = np.stack([x0, y0, x1, y1], axis=1)
    # Sums of integers below 2^53: exact in float64.
    areas = np.bincount(owner, weights=lengths, minlength=count)
    sum_x = np.bincount(owner, weights=(left + right - 1) * lengths // 2, minlength=count)
    sum_y = np.bincount(owner, weights=rows * lengths, minlength=count)
    centres = np.stack([sum_x, sum_y], axis=1) / areas[:, None]
    return Components(ids, classes, areas.astype(np.int64), boxes, centres)


def _drop_small(components: Components, min_area: int) -> Components:
    keep = components.areas >= min_area
    numbers = np.zeros(len(components) + 1, np.int32)
    numbers[1:][keep] = np.arange(1, keep.sum() + 1)
    return Components(
        ids=numbers[components.ids],
        classes=components.classes[keep],
        areas=components.areas[keep],
        boxes=components.boxes[keep],
        centres=components.centres[keep],
    )
