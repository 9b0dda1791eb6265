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
from seco.report import ImageSteps, summarise

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
        steps.append(ImageSteps(f"image {index}", no_image, labels, truth=known))
    return steps


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_equals_loops(seed, shown):
    steps = draw(seed)
    found = summarise(iter(steps), SPACE, shown=shown)
    pairs = [
        pair
        for item in steps
        for pair in zip(item.labels["raw"].flat, item.labels["SCC"].flat, strict=True)
    ]
    assert found.images == 4
    assert found.pixels == len(pairs)
    assert found.before.tolist() == [sum(old == k for old, _ in pairs) for k in range(3)]
    assert found.after.tolist() == [sum(new == k for _, new in pairs) for k in range(3)]
    assert found.ignored == sum(old == new == IGNORE for old, new in pairs)
    assert found.dropped == sum(old != IGNORE and new == IGNORE for old, new in pairs)
    assert found.relabelled == sum(old != new and IGNORE not in (old, new) for old, new in pairs)
    shares = {item.name: (item.before != item.after).mean() for item in steps}
    order = sorted(shares, key=lambda name: -shares[name])  # stable: of equals the first
    assert [item.name for item in found.largest] == order[:shown]

    with_truth = [item for item in steps if item.truth is not None]
    assert found.compared == len(with_truth)
    assert list(found.quality) == (["raw", "PSA", "SCC"] if with_truth else [])
    for name, quality in found.quality.items():
        pooled = sum(
            (measure_labels(item.labels[name], item.truth, SPACE) for item in with_truth),
            LabelQuality.zero(SPACE),
        )
        assert quality.numbers(SPACE) == pooled.numbers(SPACE)


def test_decisions_are_counted_by_regions_and_by_pixels():
    ids = [[1, 1, 1, 2, 0], [3, 3, 4, 4, 4]]
    item = judgement(ids, [0, 1, 2, 0], [KEEP, DROP, CORRECT, KEEP], [0, 1, 1, 0])
    label = np.zeros((2, 5), int)
    steps = [ImageSteps(n, no_image, {"PSA": label, "SCC": label}, item, label) for n in "xy"]
    found = summarise(steps, SPACE, shown=0)
    assert found.actions.tolist() == [[4, 12], [2, 4], [2, 2]]
    assert len(found.connectivities) == 8
    assert found.connectivities.noisy.sum() == 4
    assert found.largest == []


def test_without_truth_or_judgement_there_is_nothing_to_compare():
    label = np.zeros((1, 2), int)
    item = judgement([[1, 1]], [0], [KEEP], [0])
    for steps in (
        [],
        [ImageSteps("x", no_image, {"raw": label}, item)],
        [ImageSteps("x", no_image, {"raw": label}, None, label)],
    ):
        found = summarise(steps, SPACE)
        assert found.connectivities is None
        assert found.images == len(steps)


def test_only_what_is_shown_stays_in_memory():
    import gc
    import weakref

    kept = []

    def images():
        for index in range(6):
            after = np.zeros((4, 4), int)
            after.flat[:index] = 1
            kept.append(weakref.ref(after))
            yield ImageSteps(str(index), no_image, {"raw": np.zeros((4, 4), int), "SCC": after})

    found = summarise(images(), SPACE, shown=2)
    gc.collect()
    assert [item.name for item in found.largest] == ["5", "4"]
    assert [reference() is not None for reference in kept] == [False] * 4 + [True] * 2


def test_errors_name_the_image():
    label = np.zeros((2, 2), int)
    good = ImageSteps("good", no_image, {"raw": label})
    wrong = ImageSteps("bad <1>", no_image, {"raw": label}, truth=label[:1])
    with pytest.raises(ValueError, match=r"bad <1>: truth: expected shape \(2, 2\)"):
        summarise([good, wrong], SPACE)
    with pytest.raises(ValueError, match=r"other: expected the steps raw as .* got raw, SCC"):
        summarise([good, ImageSteps("other", no_image, {"raw": label, "SCC": label})], SPACE)
    with pytest.raises(TypeError, match=r"floats: .*expected an integer dtype"):
        summarise([ImageSteps("floats", no_image, {"raw": label / 2})], SPACE)
