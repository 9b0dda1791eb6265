"""Measures that are kept on the disk: read again, they are what they were."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from seco.common.labels import LabelSpace
from seco.evaluation import TrueConnectivities
from seco.report import ImageSteps, LabelChanges, summarise
from seco.report.kept import read_measures, write_measures

SPACE = LabelSpace(names=("road", "sky", "car"))


def measured(seed, *, with_truth, name="a/<b>ü"):
    rng = np.random.default_rng(seed)
    labels = {step: rng.choice([0, 1, 2, 255], (12, 20)) for step in ("raw", "PSA", "SCC")}
    truth = rng.choice([0, 1, 2, 255], (12, 20)) if with_truth else None
    item = ImageSteps(name, labels, lambda: None, truth, regions=(5, 3, 2))
    found = summarise(item, SPACE)
    if not with_truth:
        return found
    classes = [rng.integers(0, 3, 4) for _ in range(4)]
    losses, noise = rng.random(4), rng.random(4)
    judged = TrueConnectivities(*classes[:3], losses, noise, classes[3])
    return replace(found, connectivities=judged)


def same(one, other):
    assert (one.steps, one.changed, one.compared) == (other.steps, other.changed, other.compared)
    assert list(one.quality) == list(other.quality)
    arrays = [
        [found.transitions, found.decisions, *astuple(found.connectivities)]
        + [part for q in found.quality.values()
           for part in (q.confusion.counts, q.boundary.intersection, q.boundary.union)]
        for found in (one, other)
    ]  # fmt: skip
    for a, b in zip(*arrays, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("with_truth", [False, True])
def test_measures_come_back_as_they_were(tmp_path, with_truth):
    found = measured(3, with_truth=with_truth)
    write_measures(tmp_path / "one.npz", found)
    same(read_measures(tmp_path / "one.npz", SPACE), found)


def test_what_came_back_is_pooled_as_what_was_there(tmp_path):
    found = [measured(seed, with_truth=seed % 2 == 0, name=str(seed)) for seed in range(5)]
    for seed, one in enumerate(found):
        write_measures(tmp_path / f"{seed}.npz", one)
    read = [read_measures(tmp_path / f"{seed}.npz", SPACE) for seed in range(5)]
    same(LabelChanges.pool(read, SPACE), LabelChanges.pool(found, SPACE))


def test_something_else_is_told(tmp_path):
    path = tmp_path / "one.npz"
    with pytest.raises(FileNotFoundError):
        read_measures(path, SPACE)
    write_measures(path, measured(0, with_truth=True))
    data = path.read_bytes()
    np.savez(path, format=np.array(1))
    with pytest.raises(ValueError, match=r"one\.npz: expected an image's measures"):
        read_measures(path, SPACE)
    for other in (data[: len(data) // 2], b"", b"no zip"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"one\.npz: expected an image's measures"):
            read_measures(path, SPACE)
