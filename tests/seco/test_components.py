from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seco.components import connected_components

IGNORED = [-1, 0, 250, 255]


def flood_fill(label, ignore_index, connectivity, classes=None, min_area=1):
    """One pixel at a time: ids, and per component its class and its pixels as (y, x)."""
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    if connectivity == 4:
        steps = [step for step in steps if 0 in step]
    seen, found = set(), []
    for start in np.ndindex(label.shape):
        value = int(label[start])
        if start in seen or value == ignore_index or (classes is not None and value not in classes):
            continue
        seen.add(start)
        queue, pixels = [start], []
        while queue:
            y, x = queue.pop()
            pixels.append((y, x))
            for dy, dx in steps:
                place = (y + dy, x + dx)
                inside = 0 <= place[0] < label.shape[0] and 0 <= place[1] < label.shape[1]
                if inside and place not in seen and label[place] == value:
                    seen.add(place)
                    queue.append(place)
        if len(pixels) >= min_area:
            found.append((value, np.array(sorted(pixels))))
    ids = np.zeros(label.shape, int)
    for number, (_, pixels) in enumerate(found, start=1):
        ids[tuple(pixels.T)] = number
    return ids, found


def assert_equal_to_flood_fill(label, ignore_index, **options):
    components = connected_components(label, ignore_index=ignore_index, **options)
    ids, found = flood_fill(label, ignore_index, options.pop("connectivity", 8), **options)
    assert components.ids.dtype == np.int32
    assert np.array_equal(components.ids, ids)
    assert len(components) == len(found)
    for row, (value, pixels) in enumerate(found):
        (y0, x0), (y1, x1) = pixels.min(axis=0), pixels.max(axis=0)
        assert components.classes[row] == value
        assert components.areas[row] == len(pixels)
        assert components.boxes[row].tolist() == [x0, y0, x1 + 1, y1 + 1]
        assert np.allclose(components.centres[row], pixels.mean(axis=0)[::-1], rtol=1e-12)
    for array in (components.classes, components.areas, components.boxes):
        assert array.dtype == np.int64
    assert components.boxes.shape == (len(found), 4)
    assert components.centres.shape == (len(found), 2)


@st.composite
def label_maps(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    label = rng.integers(0, draw(st.integers(1, 4)), shape).astype(
        draw(st.sampled_from(["int64", "int16", "int32"]))
    )
    cell = draw(st.integers(1, 3))  # larger cells, larger components
    label = np.repeat(np.repeat(label, cell, axis=0), cell, axis=1)[: shape[0], : shape[1]]
    ignore_index = draw(st.sampled_from(IGNORED))
    label[rng.random(shape) < draw(st.sampled_from([0, 0.2, 1]))] = ignore_index
    return label, ignore_index


@given(
    case=label_maps(),
    connectivity=st.sampled_from([4, 8]),
    classes=st.sampled_from([None, (), (0,), (1, 3), (0, 1, 2, 3)]),
    min_area=st.integers(1, 5),
)
@settings(max_examples=300)
def test_against_flood_fill(case, connectivity, classes, min_area):
    label, ignore_index = case
    before = label.copy()
    assert_equal_to_flood_fill(
        label, ignore_index, connectivity=connectivity, classes=classes, min_area=min_area
    )
    assert np.array_equal(label, before)


def snake(size: int) -> np.ndarray:
    label = np.full((size, size), 255)
    label[::2] = 0
    label[1::4, -1] = 0
    label[3::4, 0] = 0
    return label


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("ignore_index", [255, -1])
@pytest.mark.parametrize(
    "label",
    [
        snake(41),
        np.indices((9, 8)).sum(axis=0) % 2,
        np.zeros((1, 1), int),
        np.full((1, 1), 255),
        np.full((5, 4), -1),
        np.zeros((6, 1), int),
        np.arange(12).reshape(3, 4),
        np.eye(7, dtype=np.uint8),
        np.array([[True, False, True]]),
        np.array([[70000, -70000], [70000, -70000]]),
    ],
    ids=[
        "snake",
        "checkerboard",
        "one pixel",
        "one ignored",
        "empty",
        "column",
        "all different",
        "diagonal",
        "bool",
        "large ids",
    ],
)
def test_particular_maps(label, connectivity, ignore_index):
    assert_equal_to_flood_fill(label, ignore_index, connectivity=connectivity)


def test_a_snake_is_one_component():
    assert len(connected_components(snake(41), connectivity=4)) == 1


def test_a_checkerboard_depends_on_connectivity():
    board = np.indices((8, 8)).sum(axis=0) % 2
    assert len(connected_components(board, connectivity=8)) == 2
    assert len(connected_components(board, connectivity=4)) == 64


@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_large_map_against_scipy_class_by_class(connectivity):
    rng = np.random.default_rng(0)
    label = ndimage.zoom(rng.integers(0, 150, (12, 18)), 10, order=0).astype(np.uint8)
    label[rng.random(label.shape) < 0.2] = 255
    components = connected_components(label, connectivity=connectivity)
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    areas, total = [], 0
    for name in np.unique(label[label < 255]):
        ids, count = ndimage.label(label == name, structure)
        total += count
        own = components.classes == name
        assert own.sum() == count
        areas += [(name, area) for area in np.bincount(ids.ravel())[1:]]
        # The same pieces under other numbers: the pairs that occur are a bijection.
        pairs = np.unique(np.stack([ids[ids > 0], components.ids[ids > 0]]), axis=1)
        assert pairs.shape[1] == count
    assert len(components) == total
    assert sorted(areas) == sorted(zip(components.classes, components.areas, strict=True))


@given(label_maps(), st.permutations([0, 1, 2, 3]))
def test_renaming_classes_changes_nothing_else(case, names):
    label, ignore_index = case
    renamed = label.copy()
    for old, new in enumerate(names):
        renamed[label == old] = 10 + new
    renamed[label == ignore_index] = ignore_index
    before = connected_components(label, ignore_index=ignore_index)
    after = connected_components(renamed, ignore_index=ignore_index)
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(np.array([10 + name for name in names])[before.classes], after.classes)


@pytest.mark.parametrize(
    ("label", "options", "error", "message"),
    [
        ([[0, 1]], {}, TypeError, "label: expected a numpy array"),
        (np.zeros((1, 2, 2), int), {}, ValueError, r"label: expected shape \(H, W\)"),
        (np.zeros((0, 2), int), {}, ValueError, "label: expected shape"),
        (np.zeros((2, 2)), {}, TypeError, "label: expected an integer dtype, got float64"),
        (np.zeros((2, 2), int), {"connectivity": 6}, ValueError, "connectivity: expected one of"),
        (np.zeros((2, 2), int), {"min_area": 0}, ValueError, "min_area: expected an integer >= 1"),
        (np.zeros((2, 2), int), {"ignore_index": 0.5}, TypeError, "ignore_index: expected"),
        (np.zeros((2, 2), int), {"classes": ["car"]}, TypeError, "classes: expected an integer"),
    ],
)
def test_wrong_arguments(label, options, error, message):
    with pytest.raises(error, match=message):
        connected_components(label, **options)
