from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pooling_oracle import pool_slowly

from seco.correction.pooling import cell_shares, find_runs, pool_features

SIDE = st.integers(1, 7)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1), SIDE, SIDE, SIDE, SIDE, st.integers(1, 4), st.integers(1, 8), SIDE
)
def test_pooling_equals_slow_loops(seed, height, width, rows, columns, count, eighths, channels):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, count + 1, (height, width))
    features = rng.normal(size=(channels, rows, columns))
    extent = (rows * eighths / 8, columns * (9 - eighths) / 8)
    shares = cell_shares(find_runs(torch.from_numpy(ids), count), (rows, columns), extent=extent)
    pooled = pool_features(torch.from_numpy(features), shares)
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(
        pooled, pool_slowly(features, ids, count, extent), rtol=1e-4, atol=1e-5
    )


def test_a_ten_pixel_pole_has_features_at_stride_16():
    ids = torch.zeros(64, 64, dtype=torch.int32)
    ids[27:37, 20] = 1  # 5 rows of it in each of two cells
    features = torch.zeros(2, 4, 4)
    features[0, 1, 1], features[1, 2, 1] = 2.0, 4.0
    pooled = pool_features(features, cell_shares(find_runs(ids, 1), (4, 4)))
    torch.testing.assert_close(pooled, torch.tensor([[1.0, 2.0]]))


@pytest.mark.parametrize("size", [(1024, 2048), (1000, 750)])
def test_whole_strides_cut_no_slivers(size):
    ids = torch.ones(size, dtype=torch.int32)
    grid = size[0] // 125 if size[0] == 1000 else 64, size[1] // 125 if size[0] == 1000 else 128
    shares = cell_shares(find_runs(ids, 1), grid)
    assert len(shares.cell) == grid[0] * grid[1]
    torch.testing.assert_close(shares.share, torch.full_like(shares.share, 1 / len(shares.cell)))


def test_gradients_reach_exactly_the_cells_under_the_region():
    ids = torch.tensor([[1, 1, 0, 2], [1, 0, 0, 2], [0, 0, 0, 2]])
    shares = cell_shares(find_runs(ids, 2), (2, 3))
    features = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pool_features(features, shares)[0].sum().backward()
    reached = (features.grad != 0).any(dim=0)
    assert reached.tolist() == [[True, True, False], [True, False, False]]
    torch.testing.assert_close(features.grad.sum(dim=(1, 2)), torch.ones(3))


def test_no_region_and_a_region_without_pixels():
    features = torch.ones(3, 2, 2)
    empty = torch.zeros(4, 4, dtype=torch.int64)
    assert pool_features(features, cell_shares(find_runs(empty, 0), (2, 2))).shape == (0, 3)
    assert pool_features(features, cell_shares(find_runs(empty + 2, 2), (2, 2))).tolist() == [
        [0.0] * 3,
        [1.0] * 3,
    ]


def test_half_precision_is_summed_in_single():
    ids = torch.ones(64, 64, dtype=torch.int32)
    features = torch.full((1, 64, 64), 100.0, dtype=torch.float16)
    assert pool_features(
        features, cell_shares(find_runs(ids, 1), (64, 64))
    ).item() == pytest.approx(100, 1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(2, 2), 1, (1, 1)), r"ids: expected integers of shape \(H, W\)"),
        ((torch.tensor([[3]]), 2, (1, 1)), "ids: expected 0..2, got 3 to 3"),
        ((torch.tensor([[1]]), 1, (0, 1)), "grid: expected an integer >= 1, got 0"),
    ],
)
def test_bad_regions(arguments, message):
    with pytest.raises(ValueError, match=message):
        cell_shares(find_runs(*arguments[:2]), arguments[2])


def test_bad_extent_and_features():
    ids = torch.tensor([[1]])
    with pytest.raises(ValueError, match="extent: expected a part of the 1 x 1 cells, got 2 x 1"):
        cell_shares(find_runs(ids, 1), (1, 1), extent=(2.0, 1.0))
    shares = cell_shares(find_runs(ids, 1), (1, 1))
    with pytest.raises(ValueError, match=r"features: expected \(1, 1\) cells.*got \(2, 2\)"):
        pool_features(torch.ones(1, 2, 2), shares)
    with pytest.raises(ValueError, match=r"features: expected floating point of shape \(C, h, w\)"):
        pool_features(torch.ones(2, 2), shares)
