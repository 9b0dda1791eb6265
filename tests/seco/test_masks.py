"""Low-resolution mask arithmetic against slow or foreign versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from seco.sam import masks
from seco.sam.masks import (
    cells_to_pixels,
    crop_to_extent,
    inside_windows,
    mask_boxes,
    pixel_cells,
    stability_score,
    upscale,
)

CASES = st.tuples(
    st.integers(0, 2**32 - 1),  # seed
    st.integers(1, 40),  # image height
    st.integers(1, 40),  # image width
    st.sampled_from([8, 16, 64]),  # side of the square input frame
)


def make(case, count=3):
    """Logits of a square frame whose long side the image fills, as SAM pads it."""
    seed, height, width, frame = case
    generator = torch.Generator().manual_seed(seed)
    cells = frame // 4
    extent = tuple(
        max(1, int(side * frame / max(height, width) + 0.5)) / frame * cells
        for side in (height, width)
    )
    logits = torch.randn(count, cells, cells, generator=generator) * 5
    return logits, extent, (height, width)


def bilinear(logits, extent, size):
    """One pixel at a time."""
    cells = crop_to_extent(logits, extent).numpy().astype(np.float64)
    out = np.zeros((len(cells), *size))
    for y in range(size[0]):
        for x in range(size[1]):
            total = 0.0
            weights = []
            for position, scale, limit in (
                (y, extent[0] / size[0], cells.shape[1]),
                (x, extent[1] / size[1], cells.shape[2]),
            ):
                source = max((position + 0.5) * scale - 0.5, 0)
                low = min(math.floor(source), limit - 1)
                part = source - math.floor(source)
                weights.append([(low, 1 - part), (min(low + 1, limit - 1), part)])
            for row, row_weight in weights[0]:
                for column, column_weight in weights[1]:
                    total = total + cells[:, row, column] * row_weight * column_weight
            out[:, y, x] = total
    return out


@settings(max_examples=60)
@given(CASES)
def test_upscale_equals_plain_bilinear(case):
    logits, extent, size = make(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "PIXELS_PER_STRIP", 300)  # a few rows, or less than one
        strips = list(upscale(logits, extent, size))
    assert len(strips) > 1 or len(logits) * size[0] * size[1] < 600
    np.testing.assert_allclose(torch.cat(strips, dim=1), bilinear(logits, extent, size), atol=1e-4)


def test_upscale_follows_the_official_two_steps():
    """SAM upscales to its input frame, cuts the padding off and upscales again."""
    rng = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.randn(4, 1, 8, 8, generator=rng), (64, 64), mode="bicubic")
    frame = F.interpolate(smooth, (256, 256), mode="bilinear")[..., :128, :256]
    official = F.interpolate(frame, (300, 600), mode="bilinear")[:, 0] > 0
    ours = torch.cat(list(upscale(smooth[:, 0], (32.0, 64.0), (300, 600))), dim=1) > 0
    shared = (official & ours).sum(dim=(1, 2))
    assert (shared / (official | ours).sum(dim=(1, 2))).min() > 0.99


@settings(max_examples=60)
@given(CASES)
def test_windows_find_the_same_pixels_as_upscaling(case):
    logits, extent, size = make(case)
    windows = cells_to_pixels(mask_boxes(crop_to_extent(logits, extent) > 0), extent, size)
    owner, pixel = inside_windows(logits, windows, extent, size)
    found = torch.zeros(len(logits), size[0] * size[1], dtype=torch.bool)
    found[owner, pixel] = True
    assert len(owner) == found.sum(), "a pixel came twice"
    whole = torch.cat(list(upscale(logits, extent, size)), dim=1).flatten(1)
    clear = whole.abs() > 1e-4
    assert torch.equal(found[clear], (whole > 0)[clear])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_default_dtype_does_not_matter(dtype):
    """Of bfloat16, 300 pixels are more than it can count."""
    logits, extent, size = make((0, 200, 300, 64))

    def all_of_it():
        windows = cells_to_pixels(mask_boxes(crop_to_extent(logits, extent) > 0), extent, size)
        return [
            stability_score(logits),
            *upscale(logits, extent, size),
            *inside_windows(logits, windows, extent, size),
            pixel_cells(extent, size, logits.device),
        ]

    expected = all_of_it()
    try:
        torch.set_default_dtype(dtype)
        found = all_of_it()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@given(CASES)
def test_every_pixel_has_the_cell_it_lies_in(case):
    _, extent, size = make(case)
    cells = pixel_cells(extent, size, torch.device("cpu"))
    columns = math.ceil(extent[1])
    for y in range(size[0]):
        for x in range(size[1]):
            row = min(math.floor((y + 0.5) * extent[0] / size[0]), math.ceil(extent[0]) - 1)
            column = min(math.floor((x + 0.5) * extent[1] / size[1]), columns - 1)
            assert cells[y, x] == row * columns + column


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_boxes_equal_a_search(seed, height, width):
    masks = torch.from_numpy(np.random.default_rng(seed).random((4, height, width)) < 0.15)
    for mask, box in zip(masks, mask_boxes(masks).tolist(), strict=True):
        ys, xs = np.nonzero(mask.numpy())
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0] * 4
        if len(xs):
            assert box == expected
        else:
            assert box[2] <= box[0]
            assert box[3] <= box[1]


def test_stability_is_the_official_one():
    amg = pytest.importorskip("segment_anything.utils.amg")
    logits = torch.randn(5, 16, 16, generator=torch.Generator().manual_seed(1)) * 3
    torch.testing.assert_close(
        stability_score(logits, offset=1.0), amg.calculate_stability_score(logits, 0.0, 1.0)
    )


def test_empty_mask_is_not_stable():
    assert stability_score(torch.full((1, 4, 4), -9.0)).tolist() == [0.0]
