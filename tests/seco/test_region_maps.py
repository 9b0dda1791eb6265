from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seco import (
    LabelSpace,
    Regions,
    from_region_map,
    read_region_map,
    refine_with_details,
    to_region_map,
    transform_region_map,
)

SPACE = LabelSpace(names=("road", "sky", "car"))


def random_masks(rng, count, size):
    """Overlapping rectangles, some of them without a pixel."""
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        (top, bottom), (left, right) = (np.sort(rng.integers(0, length + 1, 2)) for length in size)
        mask[top:bottom, left:right] = True
    return masks


def moved_alone(mask, resize, crop, flip, pad_to):
    """One mask, moved by another library and by slices."""
    if resize is not None:
        nearest = Image.Resampling.NEAREST
        mask = np.array(Image.fromarray(mask.astype(np.uint8)).resize(resize[::-1], nearest)) > 0
    if crop is not None:
        top, left, height, width = crop
        mask = mask[top : top + height, left : left + width]
    if flip is not None:
        mask = mask[::-1] if flip == "vertical" else mask[:, ::-1]
    if pad_to is not None:
        padded = np.zeros(pad_to, bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        mask = padded
    return mask


@st.composite
def moves(draw, size):
    """Arguments of transform_region_map, and the size that comes out."""
    resize = crop = pad_to = None
    if draw(st.booleans()):
        # powers of two: the two libraries round alike
        size = resize = tuple(draw(st.sampled_from([n // 2, 2 * n])) for n in size)
    if draw(st.booleans()):
        top, left = (draw(st.integers(0, n - 1)) for n in size)
        height, width = (
            draw(st.integers(1, n - start)) for n, start in zip(size, (top, left), strict=True)
        )
        crop, size = (top, left, height, width), (height, width)
    flip = draw(st.sampled_from([None, "horizontal", "vertical"]))
    if draw(st.booleans()):
        size = pad_to = tuple(n + draw(st.integers(0, 3)) for n in size)
    return {"resize": resize, "crop": crop, "flip": flip, "pad_to": pad_to}, size


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(0, 24), st.booleans())
def test_moving_the_map_is_moving_every_mask(data, seed, count, sure):
    rng = np.random.default_rng(seed)
    size = tuple(2 * int(n) for n in rng.integers(1, 12, 2))
    masks = random_masks(rng, count, size)
    scores = torch.from_numpy(rng.random(count, np.float32))
    options, new_size = data.draw(moves(size))

    region_map, table = to_region_map(Regions.from_masks(torch.from_numpy(masks), scores))
    regions = from_region_map(transform_region_map(region_map, **options), table)

    each = np.stack([moved_alone(mask, **options) for mask in masks] or [np.zeros(new_size, bool)])
    left = each.any(axis=(1, 2))
    assert torch.equal(regions.masks(), torch.from_numpy(each[left]))
    assert torch.equal(regions.scores, scores[torch.from_numpy(left[:count])])
    expected = Regions.from_masks(torch.from_numpy(each))
    label = torch.from_numpy(rng.choice([0, 1, 2, 255], (1, *new_size)))
    options = {"label_space": SPACE}
    if sure:
        options["confidence"] = torch.from_numpy(rng.random((1, *new_size), np.float32))
    got = refine_with_details(None, label, regions=regions, **options)
    wanted = refine_with_details(None, label, regions=expected, **options)
    assert torch.equal(got.labels, wanted.labels)
    torch.testing.assert_close(got.scores, wanted.scores)
    assert torch.equal(got.connectivities[0].ids, wanted.connectivities[0].ids)


def test_padding_is_no_region_though_there_are_as_many():
    atoms = torch.arange(400).reshape(20, 20)
    regions = Regions.from_label_map(atoms, background=7)
    region_map, table = to_region_map(regions)
    assert region_map.dtype == np.uint16
    assert 255 not in region_map
    padded = np.pad(region_map, ((0, 0), (0, 1)), constant_values=255)
    back = from_region_map(padded, table)
    assert len(back) == 399
    assert not back.atoms[:, -1].any()
    assert torch.equal(back.masks()[:, :, :-1], regions.masks())
    below = padded.astype(np.int32)
    below[:, -1] = -1
    assert torch.equal(from_region_map(torch.from_numpy(below), table).atoms, back.atoms)


def test_map_and_table_go_through_files_and_processes(tmp_path):
    masks = torch.from_numpy(random_masks(np.random.default_rng(0), 9, (16, 20)))
    regions = Regions.from_masks(masks, torch.full((9,), 0.5))
    regions.save(tmp_path / "a.npz")
    region_map, table = pickle.loads(pickle.dumps(read_region_map(tmp_path / "a.npz")))
    back = from_region_map(region_map, table)
    kept = masks.flatten(1).any(dim=1)
    assert torch.equal(back.masks(), masks[kept])
    assert torch.equal(back.scores, regions.scores[kept])


def test_more_atoms_than_sixteen_bits_hold():
    region_map, table = to_region_map(Regions.from_label_map(torch.arange(1)[None]))
    assert region_map.dtype == np.uint16
    many = Regions(
        torch.arange(70_000, dtype=torch.int32).reshape(100, 700),
        torch.arange(70_000)[None] > 0,
        torch.ones(1),
    )
    region_map, table = to_region_map(many)
    assert region_map.dtype == np.int32
    assert torch.equal(from_region_map(region_map, table).masks(), many.masks())


@pytest.mark.parametrize("value", [3, 254, 256, 65535])
def test_a_table_of_another_image_is_refused(value):
    _, table = to_region_map(Regions.from_label_map(torch.tensor([[1, 2]])))
    with pytest.raises(ValueError, match="region_map: expected at most"):
        from_region_map(np.array([[1, value]], np.uint16), table)


def test_a_number_that_is_far_off_takes_no_memory():
    _, table = to_region_map(Regions.from_label_map(torch.tensor([[1, 2]])))
    with pytest.raises(ValueError, match=f"region_map: expected at most 255, .* got {1 << 40}"):
        from_region_map(np.array([[1, 1 << 40]]), table)


def test_wrong_arguments_are_named():
    region_map, table = to_region_map(Regions.from_label_map(torch.tensor([[1, 2]])))
    with pytest.raises(TypeError, match="regions: expected seco"):
        to_region_map(region_map)
    with pytest.raises(TypeError, match="table: expected seco"):
        from_region_map(region_map, None)
    with pytest.raises(TypeError, match="region_map: expected an integer dtype"):
        from_region_map(region_map.astype(np.float32), table)
    with pytest.raises(ValueError, match="region_map: expected shape"):
        from_region_map(region_map[None], table)
    for options, message in (
        ({"crop": (0, 1, 1, 2)}, "crop: expected a part of 1 x 2"),
        ({"crop": (0, 1)}, "crop: expected 4 integers"),
        ({"pad_to": (1, 1)}, "pad_to: expected at least"),
        ({"resize": (0, 4)}, "resize: expected an integer >= 1"),
        ({"flip": "left"}, "flip: expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            transform_region_map(region_map, **options)
