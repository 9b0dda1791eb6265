"""Distances and features against slow, obvious versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from seco.demo.scenes import street_scene
from sgg.demo import SIZE, load_oracle
from sgg.demo.measures import (
    Ruler,
    Spread,
    colour_features,
    frechet_distance,
    network_features,
    oracle_labels,
)
from sgg.demo.models import street_batch


@pytest.fixture(scope="module")
def oracle():
    return load_oracle()


def images(seeds, domain):
    return street_batch([street_scene(s, size=SIZE, domain=domain) for s in seeds])[0]


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_equals_the_matrix_formula(seed):
    rng = np.random.default_rng(seed)
    one, other = (Spread.of(rng.normal(rng.normal(size=5), 2, (40, 5))) for _ in range(2))
    cross = sqrtm(one.covariance @ other.covariance).real
    expected = np.square(one.mean - other.mean).sum() + np.trace(
        one.covariance + other.covariance - 2 * cross
    )
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_spread_is_mean_and_covariance():
    rows = np.random.default_rng(0).normal(size=(30, 3))
    spread = Spread.of(rows)
    centred = rows - rows.mean(0)
    assert np.allclose(spread.covariance, centred.T @ centred / 29)


def test_colour_features_equal_a_loop():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 3, 16, 24), np.uint8)
    x = image[0] / 255
    grey = x.mean(0)
    right, down = np.zeros_like(grey), np.zeros_like(grey)
    right[:, :-1], down[:-1] = abs(np.diff(grey, axis=1)), abs(np.diff(grey, axis=0))
    coarse = grey.reshape(8, 2, 12, 2).mean((1, 3))
    both = np.zeros_like(coarse)
    both[:, :-1] += abs(np.diff(coarse, axis=1))
    both[:-1] += abs(np.diff(coarse, axis=0))
    expected = []
    for i in range(2):
        for j in range(3):
            cell = np.s_[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            half = np.s_[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            patch = x[(slice(None), *cell)]
            expected.append(
                [*patch.mean((1, 2)), *patch.std((1, 2)), right[cell].mean(), down[cell].mean(),
                 both[half].mean()]
            )  # fmt: skip
    assert np.allclose(colour_features(torch.from_numpy(image)), expected)


def test_ruler_measures_in_the_source_distance(oracle):
    source, target = images(range(12), "game"), images(range(20, 44), "camera")
    ruler = Ruler.between(source, target, oracle)
    assert ruler.measure(source, oracle) == pytest.approx((1, 1))
    assert ruler.measure(target, oracle) == pytest.approx((0, 0), abs=1e-6)
    assert max(ruler.measure(images(range(50, 62), "camera"), oracle)) < 0.5


def test_batches_are_their_images(oracle):
    stack = images(range(18), "camera")
    labels = oracle_labels(stack, oracle)
    assert labels.dtype == torch.uint8
    assert labels.shape == (18, *SIZE)
    assert torch.equal(labels[17:], oracle_labels(stack[17:], oracle))
    rows = network_features(stack, oracle)
    assert rows.shape == (18 * 8 * 16, 64)
    assert np.allclose(rows[-128:], network_features(stack[17:], oracle), atol=1e-5)
