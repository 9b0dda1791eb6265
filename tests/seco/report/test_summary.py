from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seco import Connectivities, LabelSpace
from seco.correction.decision import CORRECT, DROP, KEEP, Decisions
from seco.correction.judging import Judgement
from seco.evaluation import LabelQuality, measure_labels
from seco.report import ImageSteps, LabelChanges, summarise

SPACE = LabelSpace(names=("a", "b", "c"))
IGNORE = 255


def no_image():
    raise AssertionError("an image was read")


def judgement(ids, classes, actions, after):
    actions = torch.tensor(actions)
    chances = torch.full((len(classes),), 0.5)
    decisions = Decisions(actions, torch.tensor(after), chances)
    known = Connectivities(torch.tensor(ids), torch.tensor(classes), chances)
    return Judgement(known, chances, chances, torch.tensor(after), chances, decisions)


def draw(seed, count=4, size=(5, 7)):
    rng = np.random.default_rng(seed)
    steps = []
    for index in range(count):
        raw, psa, scc, truth = rng.choice([0, 1, 2, IGNORE], (4, *size))
        labels = {"raw": raw, "PSA": psa, "SCC": np.where(rng.random(size) < 0.5, raw, scc)}
        known = None if rng.random() < 0.3 else truth
        steps.append(ImageSteps(f"image {index}", labels, no_image, truth=known))
    return steps


def pooled(steps):
    return LabelChanges.pool((summarise(item, SPACE) for item in steps), SPACE)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_equals_loops(seed, shown):
    steps = draw(seed)
    found = pooled(steps)
    pairs = [
        pair
        for item in steps
        for pair in zip(item.labels["raw"].flat, item.labels["SCC"].flat, strict=True)
    ]
    assert found.images == 4
    assert found.pixels == len(pairs)
    assert found.before.tolist() == [sum(old == k for old, _ in pairs) for k in range(3)]
    assert found.after.tolist() == [sum(new == k for _, new in pairs) for k in range(3)]
    assert found.transitions[3, 3] == sum(old == new == IGNORE for old, new in pairs)
    assert found.dropped == sum(old != IGNORE and new == IGNORE for old, new in pairs)
    assert found.relabelled == sum(old != new and IGNORE not in (old, new) for old, new in pairs)
    shares = {item.name: (item.before != item.after).mean() for item in steps}
    order = sorted(shares, key=lambda name: -shares[name])  # stable: of equals the first
    assert found.most_changed(shown) == order[:shown]

    with_truth = [item for item in steps if item.truth is not None]
    assert found.compared == len(with_truth)
    assert list(found.quality) == (["raw", "PSA", "SCC"] if with_truth else [])
    for name, quality in found.quality.items():
        together = sum(
            (measure_labels(item.labels[name], item.truth, SPACE) for item in with_truth),
            LabelQuality.zero(SPACE),
        )
        assert quality.numbers(SPACE) == together.numbers(SPACE)


def test_decisions_are_counted_by_regions_and_by_pixels():
    ids = [[1, 1, 1, 2, 0], [3, 3, 4, 4, 4]]
    item = judgement(ids, [0, 1, 2, 0], [KEEP, DROP, CORRECT, KEEP], [0, 1, 1, 0])
    before = np.array([[0, 0, 0, 1, IGNORE], [2, 2, 0, 0, 0]])
    after = np.array([[0, 0, 0, IGNORE, IGNORE], [1, 1, 0, 0, 0]])
    labels = {"raw": np.ones((2, 5), int), "PSA": before, "SCC": after}
    steps = [
        ImageSteps(name, labels, no_image, np.zeros((2, 5), int), (2, 1, 1), lambda: item)
        for name in "xy"
    ]
    found = pooled(steps)
    assert found.decisions.tolist() == [[4, 12], [2, 4], [2, 2]]
    assert len(found.connectivities) == 8
    assert found.connectivities.noisy.sum() == 4


def test_without_truth_nobody_is_asked_for_a_judgement():
    def nobody():
        raise AssertionError("asked")

    label = np.zeros((1, 2), int)
    item = ImageSteps("x", {"raw": label, "SCC": label}, no_image, None, (1, 0, 0), nobody)
    assert len(pooled([item]).connectivities) == 0
    assert pooled([item]).quality == {}
    assert pooled([]).images == 0


def test_groups_of_images_pool_like_images():
    steps = draw(7, count=6)
    groups = [pooled(steps[:2]), pooled([]), pooled(steps[2:])]
    found, expected = LabelChanges.pool(groups, SPACE), pooled(steps)
    np.testing.assert_array_equal(found.transitions, expected.transitions)
    assert (found.changed, found.steps) == (expected.changed, expected.steps)
    assert found.quality["SCC"].numbers(SPACE) == expected.quality["SCC"].numbers(SPACE)


def test_errors_name_the_image():
    label = np.zeros((2, 2), int)
    wrong = ImageSteps("bad <1>", {"raw": label}, no_image, truth=label[:1])
    with pytest.raises(ValueError, match=r"bad <1>: truth: expected shape \(2, 2\)"):
        summarise(wrong, SPACE)
    floats = ImageSteps("floats", {"raw": label / 2}, no_image)
    with pytest.raises(TypeError, match=r"floats: .*expected an integer dtype"):
        summarise(floats, SPACE)
    other = [
        ImageSteps("good", {"raw": label}, no_image),
        ImageSteps("other", {"raw": label, "SCC": label}, no_image),
    ]
    with pytest.raises(ValueError, match=r"other: expected the steps raw as .* got raw, SCC"):
        pooled(other)
