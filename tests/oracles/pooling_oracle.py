"""Pooling as one would write it without hurry: every pixel, every cell."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def pool_slowly(features, ids, count, extent=None):
    """(C, h, w) features, (H, W) ids to (count, C), in exact areas."""
    channels, rows, columns = features.shape
    height, width = ids.shape
    tall, wide = (Fraction(side) for side in (extent or (rows, columns)))
    sums = np.zeros((count, channels))
    areas = [Fraction(0)] * count
    for y in range(height):
        for x in range(width):
            if ids[y, x] == 0:
                continue
            for i in range(rows):
                for j in range(columns):
                    part = _shared(y, height, tall, i) * _shared(x, width, wide, j)
                    sums[ids[y, x] - 1] += float(part) * features[:, i, j]
                    areas[ids[y, x] - 1] += part
    return np.stack(
        [s / float(a) if a else np.zeros(channels) for s, a in zip(sums, areas, strict=True)]
    )


def _shared(pixel, pixels, extent, cell):
    low, high = pixel * extent / pixels, (pixel + 1) * extent / pixels
    return max(Fraction(0), min(high, Fraction(cell + 1)) - max(low, Fraction(cell)))
