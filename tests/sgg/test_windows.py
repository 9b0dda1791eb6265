"""Windows of regions against their definition."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgg.windows import GRID, region_windows


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    margin=st.none() | st.integers(0, 70),
)
def test_windows_hold_their_regions_with_the_margin(seed, size, margin):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.full((2, *size), 255)
    for kind in (0, 0, 3, 9):
        image, y, x = (int(torch.randint(high, (), generator=rng)) for high in (2, *size))
        labels[image, y : y + 9, x : x + 40] = kind
    found = []
    for window_size, windows in region_windows(labels, margin=margin).items():
        for window in windows:
            found.append((window.image, window.class_id))
            places = (labels[window.image] == window.class_id).nonzero()
            for axis, place in enumerate((window.rows, window.columns)):
                assert place.stop - place.start == window_size[axis]
                assert place.start >= 0
                assert place.stop <= size[axis]
                if margin is None:
                    assert window_size[axis] == size[axis]
                    continue
                low, high = places[:, axis].min().item(), places[:, axis].max().item() + 1
                assert place.start == 0 or place.start <= low - margin
                assert place.stop == size[axis] or place.stop >= high + margin
                assert place.start % GRID == 0
                assert place.stop % GRID == 0 or place.stop == size[axis]
    expected = [(i, c) for i in range(2) for c in labels[i].unique().tolist() if c != 255]
    assert sorted(found) == expected


def test_few_sizes_whatever_the_regions():
    labels = torch.arange(64).reshape(1, 8, 8).repeat_interleave(32, 1).repeat_interleave(64, 2)
    found = region_windows(labels, margin=8)
    assert sum(map(len, found.values())) == 64
    assert set(found) <= {(h, w) for h in (64, 128, 192, 256) for w in (128, 256, 384, 512)}
