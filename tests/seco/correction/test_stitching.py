from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from seco.correction.stitching import stitch
from seco.sam.crop_layers import windows_of_layer

sizes = st.tuples(st.integers(6, 60), st.integers(6, 60))


def middles(count: int, side: float) -> np.ndarray:
    """Of ``count`` equal cells along a side."""
    return (np.arange(count) + 0.5) * side / count


@given(size=sizes, layer=st.integers(0, 2), shown=st.integers(3, 9), padding=st.integers(0, 3))
def test_a_slope_stays_the_slope(size, layer, shown, padding):
    """Where cells of a window lie all round, interpolating a slope gives the slope itself."""
    windows = windows_of_layer(size, layer, overlap_ratio=0.3)
    high, wide = windows[0].height, windows[0].width
    maps = torch.full((len(windows), 2, shown + padding, shown + 2 + padding), 1e6)
    for own, window in zip(maps, windows, strict=True):
        own[0, :shown, : shown + 2] = torch.from_numpy(window.top + middles(shown, high))[:, None]
        own[1, :shown, : shown + 2] = torch.from_numpy(window.left + middles(shown + 2, wide))
    found = stitch(maps, windows, extent=(shown, shown + 2))
    _, rows, columns = found.values.shape
    assert found.extent == (rows, columns)
    assert rows == max(round(size[0] * shown / high), 1)
    assert columns == max(round(size[1] * (shown + 2) / wide), 1)
    # Beyond the middle of a window's outermost cell its value stays.
    for axis, (side, cell) in enumerate(((size[0], high / shown), (size[1], wide / (shown + 2)))):
        expected = middles(found.values.shape[1 + axis], side)
        values = found.values[axis].numpy()
        values = values[:, 0] if axis == 0 else values[0]
        # Of neighbouring windows half an overlap at least lies beyond where one takes over.
        overlap = int(0.3 * min(size) * 2 / 2**layer) if layer else side
        inner = (expected >= cell / 2) & (expected <= side - cell / 2)
        if overlap >= cell:
            assert values[inner] == pytest.approx(expected[inner], abs=1e-3)
        assert np.abs(values - expected).max() <= cell / 2 + 1e-3


@given(
    size=sizes,
    layer=st.integers(0, 2),
    grid=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    share=st.tuples(st.floats(0.4, 1), st.floats(0.4, 1)),
    seed=st.integers(0, 99),
)
def test_every_cell_is_its_own_windows_by_grid_sample(size, layer, grid, share, seed):
    """One cell at a time: the nearest window, and torch's own interpolation in its map."""
    windows = windows_of_layer(size, layer, overlap_ratio=512 / 1500)
    extent = tuple(part * cells for part, cells in zip(share, grid, strict=True))
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(len(windows), 3, *grid, generator=generator, dtype=torch.float64)
    found = stitch(maps, windows, extent=extent).values
    for row, y in enumerate(middles(found.shape[1], size[0])):
        for column, x in enumerate(middles(found.shape[2], size[1])):
            candidates = []
            for own, window in zip(maps, windows, strict=True):
                lengths = window.height, window.width
                inside = [y - window.top, x - window.left]
                away = [abs(at - length / 2) for at, length in zip(inside, lengths, strict=True)]
                # The middle of a cell, no farther than the last one that is shown whole.
                at = [
                    min(max(place * shown / length, 0.5), max(shown - 0.5, 0.5))
                    for place, shown, length in zip(inside, extent, lengths, strict=True)
                ]
                where = [2 * at[1] / grid[1] - 1, 2 * at[0] / grid[0] - 1]
                sampled = F.grid_sample(
                    own[None],
                    torch.tensor(where, dtype=torch.float64)[None, None, None],
                    align_corners=False,
                    padding_mode="border",
                )
                candidates.append((away, sampled.flatten()))
            nearest = [min(away[axis] for away, _ in candidates) for axis in (0, 1)]
            fits = [
                torch.allclose(found[:, row, column], sampled)
                for away, sampled in candidates
                if away == pytest.approx(nearest, abs=1e-9)  # two, in the middle between them
            ]
            assert any(fits)


def test_one_window_is_its_map_and_precision_stays():
    values = torch.rand(1, 4, 5, 6).bfloat16()
    (window,) = windows_of_layer((50, 60), 0, overlap_ratio=0)
    found = stitch(values, [window], extent=(5, 6))
    assert torch.equal(found.values, values[0])
    assert found.extent == (5, 6)


def test_the_callers_default_device_and_dtype_do_not_matter():
    windows = windows_of_layer((20, 30), 1, overlap_ratio=0.3)
    maps = torch.rand(4, 2, 3, 3)
    expected = stitch(maps, windows, extent=(2.5, 3)).values
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float16)
        with torch.device("meta"):
            found = stitch(maps, windows, extent=(2.5, 3)).values
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)
