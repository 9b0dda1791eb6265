"""Box and point prompts that stand for connected components."""

from __future__ import annotations

from typing import Literal

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_choice, check_integer, check_number
from seco.components import Components


def enlarge_boxes(boxes: Array, factor: float, size: tuple[int, int]) -> Array:
    """Scale the area of boxes about their centres, then clip them to the image.

    Args:
        boxes: (N, 4) x0, y0, x1, y1, with x1 and y1 exclusive: the edges of the pixels, so that a
            whole image is 0, 0, W, H.
        factor: by what the area grows (before clipping), > 0; 1.5 in the SeCo paper. Each side
            grows by its square root.
        size: height and width of the image.

    Returns:
        (N, 4) float64, the same convention.

    Raises:
        TypeError, ValueError: ``factor`` is not a positive number, or the shape is another.

    Example:
        >>> enlarge_boxes(np.array([[4, 4, 6, 8]]), 4.0, (9, 20)).tolist()
        [[3.0, 2.0, 7.0, 9.0]]
    """
    check_number("factor", factor, low=0, low_open=True)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (N, 4), got {boxes.shape}")
    height, width = size
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    centre, half = (low + high) / 2, (high - low) / 2 * np.sqrt(factor)
    edges = np.array([width, height], np.float64)
    return np.concatenate(
        [np.clip(centre - half, 0, edges), np.clip(centre + half, 0, edges)], axis=1
    )


def representative_points(
    components: Components,
    label: Array,
    *,
    method: Literal["centre", "distance", "entropy"],
    ignore_index: int = 255,
    count: int = 1,
    window: int = 17,
) -> Array:
    """Choose the pixels that stand for each component, as point prompts.

    ``"centre"`` (SeCo paper)
        The centre of the component's box. It may lie outside a bent or hollow component.
    ``"distance"``
        The peak of the distance transform: the pixel farthest from the component's edge, by
        chessboard distance. Edge pixels are those with a 4-neighbour outside the component or
        outside the image.
    ``"entropy"`` (SeCo's released code uses two such points)
        The ``count`` pixels of the component round which the labels agree most: the lowest
        entropy of the classes in the window centred at the pixel. The part of a window outside
        the image and ignored pixels are not counted.

    Ties go to the pixel nearest to the component's centroid, then to the first in row-major
    order. A component with fewer than ``count`` pixels has its last choice repeated.

    Args:
        components: of ``label``.
        label: (H, W) integer class ids; read by ``"entropy"`` only.
        method: see above.
        ignore_index: the id of unlabelled pixels.
        count: points per component, P; more than one only with ``"entropy"``.
        window: side of the window in pixels, odd; only read by ``"entropy"``.

    Returns:
        (N, P, 2) float64, x and y as pixel indices (0 is the first pixel's centre; the centre
        of a box with an even side lies between two pixels).

    Raises:
        TypeError, ValueError: an option is out of its range, or the sizes differ.

    Example:
        >>> from seco.components import connected_components
        >>> label = np.array([[1, 1, 1, 1], [1, 1, 1, 255], [1, 1, 1, 255]])
        >>> representative_points(
        ...     connected_components(label), label, method="distance"
        ... ).tolist()
        [[[1.0, 1.0]]]
    """
    check_choice("method", method, ("centre", "distance", "entropy"))
    check_integer("count", count, low=1)
    if components.ids.shape != label.shape:
        raise ValueError(
            f"label: expected the shape of components.ids {components.ids.shape}, got {label.shape}"
        )
    if count > 1 and method != "entropy":
        raise ValueError(f"count: expected 1 with method {method!r}, got {count}")
    if method == "centre":
        boxes = components.boxes
        return ((boxes[:, :2] + boxes[:, 2:] - 1) / 2)[:, None]

    flat = np.flatnonzero(components.ids)
    if method == "distance":
        cost = -_edge_distance(components).ravel()[flat]
    else:
        check_integer("window", window, low=1)
        if window % 2 == 0:
            raise ValueError(f"window: expected an odd number of pixels, got {window}")
        cost = _window_entropy(label, flat, ignore_index, window)
    chosen = np.empty((len(components), count), np.int64)
    left = np.ones(len(flat), bool)
    for turn in range(count):
        best = _first_best(components, flat, cost, left)
        chosen[:, turn] = np.where(best < 0, chosen[:, turn - 1], best)
        left[best[best >= 0]] = False
    rows, columns = np.divmod(flat[chosen], label.shape[1])
    return np.stack([columns, rows], axis=-1).astype(np.float64)


def _first_best(components: Components, flat: Array, cost: Array, left: Array) -> Array:
    """Each component's best pixel still left, as an index into ``flat``; -1 if none is.

    Best by cost, then by distance to the centroid, then by position.
    """
    count = len(components)
    candidates = np.flatnonzero(left)
    owner = components.ids.ravel()[flat[candidates]] - 1
    lowest = _is_lowest(owner, cost[candidates], count)
    candidates, owner = candidates[lowest], owner[lowest]
    # area·|p|² - 2 p·Σp orders pixels p as their distance to the centroid does, in exact integers,
    # so that a mirrored map gives the mirrored choice.
    areas = components.areas
    sums = np.rint(components.centres * areas[:, None]).astype(np.int64)[owner]
    rows, columns = np.divmod(flat[candidates], components.ids.shape[1])
    away = areas[owner] * (columns**2 + rows**2) - 2 * (columns * sums[:, 0] + rows * sums[:, 1])
    candidates = candidates[_is_lowest(owner, away, count)][::-1]
    best = np.full(count, -1, np.int64)
    best[components.ids.ravel()[flat[candidates]] - 1] = candidates  # the last one stays
    return best


def _is_lowest(owner: Array, values: Array, count: int) -> Array:
    """Where a value is the lowest of its owner's, of whom there are ``count``."""
    lowest = np.empty(count, values.dtype)
    lowest[owner] = values  # any start will do that is not below the minimum
    np.minimum.at(lowest, owner, values)
    found: Array = values == lowest[owner]
    return found


def _edge_distance(components: Components) -> Array:
    """Chessboard distance of every component's pixel to the nearest edge pixel of its own.

    One transform serves all components: on the way from a pixel to another component's edge,
    staying inside the rectangle they span, one leaves through an own edge pixel, which is no
    farther away. Outside the rectangle that holds all of them there is nothing to measure.
    """
    from scipy import ndimage

    distance = np.zeros(components.ids.shape, np.int32)
    if not len(components):
        return distance
    (left, top), (right, bottom) = (
        components.boxes[:, :2].min(axis=0),
        components.boxes[:, 2:].max(axis=0),
    )
    held = slice(top, bottom), slice(left, right)
    ids = components.ids[held]
    edge = np.zeros(ids.shape, bool)
    edge[0], edge[-1], edge[:, 0], edge[:, -1] = True, True, True, True
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    distance[held] = ndimage.distance_transform_cdt(~edge, metric="chessboard")
    return distance


def _window_entropy(label: Array, flat: Array, ignore_index: int, window: int) -> Array:
    """Entropy in bits of the classes round the pixels ``flat``, rounded to 1e-6."""
    counts = np.arange(window * window + 1)
    # n·log2(n) in fixed point: integer sums do not depend on the order of the classes.
    table = np.rint(counts * np.log2(np.maximum(counts, 1)) * 2.0**32).astype(np.int64)
    total, spread = np.zeros(len(flat), np.int64), np.zeros(len(flat), np.int64)
    present = np.unique(label)
    for index in present[present != ignore_index]:
        inside = _window_sums(label == index, window).ravel()[flat]
        total += inside
        spread += table[inside]
    if not total.all():
        raise ValueError("label: expected the map that components was made of, got another")
    entropy: Array = np.round((table[total] - spread) / (total * 2.0**32), 6)
    return entropy


def _window_sums(mask: Array, window: int) -> Array:
    """Number of true pixels in the window centred at each pixel, int32."""
    height, width = mask.shape
    before, after = window // 2 + 1, window // 2
    sums = np.pad(mask, ((before, after), (before, after))).cumsum(axis=0, dtype=np.int32)
    sums = (sums[window:] - sums[:height]).cumsum(axis=1, dtype=np.int32)
    counted: Array = sums[:, window:] - sums[:, :width]
    return counted
