from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seco.aggregation.prompts import enlarge_boxes, representative_points
from seco.components import Components, connected_components

CROSS = ndimage.generate_binary_structure(2, 1)


def label_map(seed: int, height: int, width: int, cell: int, ignored: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (height // cell + 1, width // cell + 1))
    label = np.repeat(np.repeat(label, cell, axis=0), cell, axis=1)[:height, :width]
    label = np.roll(label, rng.integers(0, cell, 2), axis=(0, 1))
    label[rng.random(label.shape) < ignored] = 255
    return label


label_maps = st.builds(
    label_map,
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    cell=st.integers(1, 9),
    ignored=st.sampled_from([0, 0.02, 0.3, 1]),
)


def slow_distance(label: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Chessboard distance to the component's edge pixels, one component, all pairs of pixels."""
    padded = np.pad(mask, 1)
    edge = np.argwhere(padded & ~ndimage.binary_erosion(padded, CROSS)) - 1
    gaps = np.abs(np.argwhere(mask)[:, None] - edge[None])
    return gaps.max(axis=2).min(axis=1)


def slow_entropy(label: np.ndarray, mask: np.ndarray, window: int) -> np.ndarray:
    half, values = window // 2, []
    for y, x in np.argwhere(mask):
        around = label[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
        counts = np.unique(around[around != 255], return_counts=True)[1]
        shares = counts / counts.sum()
        values.append(round(float(-(shares * np.log2(shares)).sum()), 6))
    return np.array(values)


def slow_choice(mask: np.ndarray, cost: np.ndarray, count: int) -> list[list[float]]:
    pixels = np.argwhere(mask)
    # In integers: n times the offset from the centroid.
    offsets = len(pixels) * pixels - pixels.sum(axis=0)
    ranked = sorted(
        range(len(pixels)), key=lambda i: (cost[i], (offsets[i] ** 2).sum(), tuple(pixels[i]))
    )
    chosen = [ranked[min(turn, len(ranked) - 1)] for turn in range(count)]
    return [[float(pixels[i][1]), float(pixels[i][0])] for i in chosen]


@given(label=label_maps, min_area=st.integers(1, 3))
def test_distance_against_all_pairs(label, min_area):
    components = connected_components(label, min_area=min_area)
    points = representative_points(components, label, method="distance")
    assert points.shape == (len(components), 1, 2)
    for row, point in enumerate(points):
        mask = components.ids == row + 1
        assert point.tolist() == slow_choice(mask, -slow_distance(label, mask), 1)


@given(label=label_maps, count=st.integers(1, 3), window=st.sampled_from([1, 3, 5, 17]))
@settings(max_examples=60)
def test_entropy_against_counting(label, count, window):
    components = connected_components(label)
    points = representative_points(components, label, method="entropy", count=count, window=window)
    assert points.shape == (len(components), count, 2)
    for row, point in enumerate(points):
        mask = components.ids == row + 1
        assert point.tolist() == slow_choice(mask, slow_entropy(label, mask, window), count)


@given(label=label_maps)
def test_centre_is_the_middle_of_the_box(label):
    components = connected_components(label)
    points = representative_points(components, label, method="centre")
    for row, point in enumerate(points):
        ys, xs = np.nonzero(components.ids == row + 1)
        assert point.tolist() == [[(xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2]]


def test_centre_may_lie_outside_and_the_others_never_do():
    ring = np.full((9, 9), 255)
    ring[1:8, 1:8] = 0
    ring[3:6, 3:6] = 255
    components = connected_components(ring)
    assert representative_points(components, ring, method="centre").tolist() == [[[4, 4]]]
    for method in ("distance", "entropy"):
        (((x, y),),) = representative_points(components, ring, method=method)
        assert ring[int(y), int(x)] == 0


@pytest.mark.parametrize("method", ["centre", "distance", "entropy"])
@pytest.mark.parametrize("flip", [(slice(None), slice(None, None, -1)), (slice(None, None, -1),)])
def test_mirrored_maps_give_mirrored_points(method, flip):
    """Shapes without symmetry of their own: a symmetric one may have no pixel in the middle."""
    rng = np.random.default_rng(0)
    label = np.full((60, 80), 255)
    for number, (top, left) in enumerate(np.ndindex(3, 4)):
        y, x = 20 * top + 2, 20 * left + 2
        label[y : y + 5 + number % 7, x : x + 12] = number
        label[y + 3 : y + 15, x : x + 4 + number % 5] = number
        label[y + 1, x + 11 : x + 15] = number
    label[rng.random(label.shape) < 0.02] = 255
    mirrored = label[flip].copy()
    there = connected_components(label, min_area=10)
    here = connected_components(mirrored, min_area=10)
    points = representative_points(there, label, method=method)[:, 0]
    back = representative_points(here, mirrored, method=method)[:, 0]
    if len(flip) == 2:
        back[:, 0] = label.shape[1] - 1 - back[:, 0]
    else:
        back[:, 1] = label.shape[0] - 1 - back[:, 1]
    assert len(there) == len(here) == 12
    order, other = np.argsort(there.classes), np.argsort(here.classes)
    assert points[order].tolist() == back[other].tolist()


def test_entropy_does_not_depend_on_the_names_of_classes():
    label = label_map(3, 40, 40, 5, 0.1)
    names = np.array([3, 1, 0, 2])
    renamed = np.where(label == 255, 255, names[np.where(label == 255, 0, label)])
    both = [
        representative_points(connected_components(each), each, method="entropy", count=2)
        for each in (label, renamed)
    ]
    assert np.array_equal(*both)


def test_points_of_a_small_component_are_repeated():
    label = np.array([[7, 255, 3, 3]])
    components = connected_components(label)
    points = representative_points(components, label, method="entropy", count=3)
    assert points.tolist() == [[[0, 0]] * 3, [[2, 0], [3, 0], [3, 0]]]


@pytest.mark.parametrize("ignore_index", [-1, 250])
def test_ignored_pixels_do_not_count(ignore_index):
    label = np.array([[1, 1, 1, ignore_index, ignore_index, 1, 2, 2, 2]])
    components = connected_components(label, ignore_index=ignore_index)
    options = {"method": "entropy", "window": 3, "ignore_index": ignore_index}
    # The middle of the first; the single 1 beside a 2; the last 2 but one, as near the centroid.
    assert representative_points(components, label, **options)[:, 0, 0].tolist() == [1, 5, 7]


@pytest.mark.parametrize("method", ["centre", "distance", "entropy"])
def test_no_components_no_points(method):
    label = np.full((4, 4), 255)
    components = connected_components(label)
    assert representative_points(components, label, method=method).shape == (0, 1, 2)
    assert enlarge_boxes(components.boxes, 1.5, (4, 4)).shape == (0, 4)


@given(
    box=st.tuples(*[st.integers(0, 49)] * 4),
    factor=st.sampled_from([0.25, 1, 1.5, 4, 1e6]),
)
def test_boxes_grow_in_area_about_their_centre(box, factor):
    x0, x1 = sorted(box[:2])
    y0, y1 = sorted(box[2:])
    boxes = np.array([[x0, y0, x1 + 1, y1 + 1]])
    (large,) = enlarge_boxes(boxes + 1000, factor, (10**6, 10**6))
    if factor < 1e6:
        area = (x1 + 1 - x0) * (y1 + 1 - y0)
        assert math.isclose((large[2] - large[0]) * (large[3] - large[1]), factor * area)
        assert np.allclose(large[:2] + large[2:], boxes[0, :2] + boxes[0, 2:] + 2000)
    (clipped,) = enlarge_boxes(boxes, factor, (50, 60))
    assert (clipped >= 0).all()
    assert (clipped <= [60, 50, 60, 50]).all()
    if factor == 1:
        assert clipped.tolist() == boxes[0].tolist()
    if factor == 1e6:
        assert clipped.tolist() == [0, 0, 60, 50]


def test_wrong_arguments():
    label = np.zeros((2, 2), int)
    components = connected_components(label)
    for options, error, message in (
        ({"method": "middle"}, ValueError, "method: expected one of"),
        ({"method": "centre", "count": 2}, ValueError, "count: expected 1 with method 'centre'"),
        ({"method": "distance", "count": 2}, ValueError, "count: expected 1 with method 'dist"),
        ({"method": "entropy", "count": 0}, ValueError, "count: expected an integer >= 1"),
        ({"method": "entropy", "window": 4}, ValueError, "window: expected an odd number"),
        ({"method": "entropy", "window": 0}, ValueError, "window: expected an integer >= 1"),
        ({"method": "entropy", "ignore_index": 0}, ValueError, "label: expected the map that"),
    ):
        with pytest.raises(error, match=message):
            representative_points(components, label, **options)
    with pytest.raises(ValueError, match=r"label: expected the shape of components\.ids \(2, 2\)"):
        representative_points(components, np.zeros((2, 3), int), method="centre")
    for factor, error in (
        (0, ValueError),
        (-1, ValueError),
        (math.nan, ValueError),
        ("2", TypeError),
    ):
        with pytest.raises(error, match="factor: expected"):
            enlarge_boxes(np.zeros((1, 4)), factor, (2, 2))
    with pytest.raises(ValueError, match=r"boxes: expected shape \(N, 4\), got \(4,\)"):
        enlarge_boxes(np.zeros(4), 1.5, (2, 2))
    assert isinstance(components, Components)
