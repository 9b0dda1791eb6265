"""The ruler's ends, and batches that are their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seco.demo.scenes import street_scene
from sgg.demo import SIZE, load_oracle
from sgg.demo.measures import Ruler, network_features, oracle_labels
from sgg.demo.models import street_batch


@pytest.fixture(scope="module")
def oracle():
    return load_oracle()


def images(seeds, domain):
    return street_batch([street_scene(s, size=SIZE, domain=domain) for s in seeds])[0]


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
