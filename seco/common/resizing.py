"""Resize maps of numbers without mixing them: every pixel is one of the original's."""

from __future__ import annotations

import numpy as np

from seco.common.arrays import Array


def nearest(values: Array, size: tuple[int, int]) -> Array:
    """Resize to a height and a width; nearest neighbour of pixel centres.

    Example:
        >>> nearest(np.array([[1, 2, 3]]), (2, 2))
        array([[1, 3],
               [1, 3]])
    """
    rows, columns = map(nearest_places, values.shape, size)
    resized: Array = values[rows[:, None], columns]
    return resized


def nearest_places(length: int, new: int) -> Array:
    """Of ``new`` places side by side, which of ``length`` places each one's centre lies in.

    Example:
        >>> nearest_places(3, 2), nearest_places(1, 3)
        (array([0, 2]), array([0, 0, 0]))
    """
    return (2 * np.arange(new) + 1) * length // (2 * new)
