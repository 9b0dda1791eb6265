from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seco import LabelSpace
from seco.connectivities import Connectivities
from seco.correction.decision import CORRECT, DROP, KEEP, Decisions
from seco.correction.judging import Judgement
from seco.evaluation import (
    TrueConnectivities,
    compare_with_truth,
    recognition,
    repair,
    true_classes,
)
from seco.evaluation.connectivities import DROPPED

SPACE = LabelSpace(names=("a", "b", "c"), ignore_index=255)


def draw(seed, pixels=60, count=8):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, count + 1, (1, pixels))
    truth = rng.choice([0, 1, 2, 255], (1, pixels))
    before, after = rng.integers(0, 3, count), rng.integers(DROPPED, 3, count)
    return ids, before, after, rng.integers(0, 5, count) / 4, truth


def judged(ids, before, after, noise, truth):
    """The drawn values as correction gives them, with losses 1, 2, ..."""
    before, after, noise = map(torch.from_numpy, (before, after, noise.astype(np.float32)))
    actions = torch.where(after == DROPPED, DROP, torch.where(after == before, KEEP, CORRECT))
    decisions = Decisions(actions, torch.where(actions == DROP, before, after), noise)
    losses = torch.arange(1.0, len(before) + 1)
    known = Connectivities(torch.from_numpy(ids), before, noise)
    return Judgement(known, losses, noise, before, noise, decisions), truth


def rows_by_loops(ids, before, after, noise, truth):
    rows = []
    for n in range(1, len(before) + 1):
        votes = Counter(truth[ids == n].tolist())
        del votes[255]
        if not votes:
            continue
        most = max(votes.values())
        best = [k for k in sorted(votes) if votes[k] == most]
        true = before[n - 1] if before[n - 1] in best else best[0]
        rows.append((before[n - 1], after[n - 1], true, n, noise[n - 1], sum(votes.values())))
    return rows


def mean(values, weights):
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_equals_loops(seed, by_area):
    drawn = draw(seed)
    rows = rows_by_loops(*drawn)
    found = compare_with_truth(*judged(*drawn), SPACE)
    assert [tuple(row) for row in zip(*astuple(found), strict=True)] == rows

    weight = [row[5] if by_area else 1 for row in rows]
    noisy = [n for n, row in enumerate(rows) if row[0] != row[2]]
    clean = [n for n, row in enumerate(rows) if row[0] == row[2]]
    measured = recognition(found, threshold=0.5, by_area=by_area)
    if noisy and clean:
        # The probability that a wrong one looks noisier than a right one, ties counting half.
        pairs = [(a, b) for a in noisy for b in clean]
        for name, column in (("auroc_of_loss", 3), ("auroc_of_noise_probability", 4)):
            ranked = [(rows[a][column], rows[b][column]) for a, b in pairs]
            wins = [(wrong > right) + 0.5 * (wrong == right) for wrong, right in ranked]
            auroc = mean(wins, [weight[a] * weight[b] for a, b in pairs])
            assert getattr(measured, name) == pytest.approx(auroc)
    else:
        assert np.isnan(measured.auroc_of_loss)
        assert np.isnan(measured.auroc_of_noise_probability)
    wrong = [n in noisy for n in range(len(rows))]
    assert measured.noise_rate == pytest.approx(mean(wrong, weight))
    for name, side in (("noise_rate_below", False), ("noise_rate_above", True)):
        members = [n for n in range(len(rows)) if (rows[n][4] >= 0.5) == side]
        value = getattr(measured, name)
        if members:
            assert value == pytest.approx(
                mean([wrong[n] for n in members], [weight[n] for n in members])
            )
        else:
            assert np.isnan(value)
    assert measured.share_above == pytest.approx(mean([row[4] >= 0.5 for row in rows], weight))

    outcome = repair(found, by_area=by_area)
    groups = {"noisy": noisy, "clean": clean}
    fates = {
        "noisy_corrected": lambda b, a, t: a == t,
        "noisy_miscorrected": lambda b, a, t: a not in (b, t, DROPPED),
        "noisy_dropped": lambda b, a, t: a == DROPPED,
        "noisy_kept": lambda b, a, t: a == b,
        "clean_kept": lambda b, a, t: a == b,
        "clean_harmed": lambda b, a, t: a not in (b, DROPPED),
        "clean_dropped": lambda b, a, t: a == DROPPED,
    }
    for name, holds in fates.items():
        members = groups[name.partition("_")[0]]
        if members:
            shares = [holds(*rows[n][:3]) for n in members]
            expected = mean(shares, [weight[n] for n in members])
            assert getattr(outcome, name) == pytest.approx(expected)
        else:
            assert np.isnan(getattr(outcome, name))


def test_shares_of_each_group_sum_to_one():
    outcome = repair(compare_with_truth(*judged(*draw(3, pixels=300, count=40)), SPACE))
    shares = astuple(outcome)
    assert sum(shares[:4]) == pytest.approx(1)
    assert sum(shares[4:]) == pytest.approx(1)


def test_pooling_joins_the_rows():
    parts = [compare_with_truth(*judged(*draw(seed)), SPACE) for seed in range(4)]
    pooled = TrueConnectivities.pool(parts)
    assert len(pooled) == sum(map(len, parts))
    np.testing.assert_array_equal(pooled.true, np.concatenate([part.true for part in parts]))
    np.testing.assert_array_equal(pooled.areas, np.concatenate([part.areas for part in parts]))


def test_of_no_connectivity_nothing_is_said():
    empty = TrueConnectivities.pool([])
    assert len(empty) == 0
    assert np.isnan(astuple(recognition(empty))).all()
    assert np.isnan(astuple(repair(empty))).all()
    nowhere, none = np.zeros((2, 2), int), np.zeros(0, int)
    assert [len(column) for column in true_classes(nowhere, none, nowhere, SPACE)] == [0, 0]


def test_where_truth_is_unknown_nothing_is_said():
    ids, before, after, noise, truth = draw(1)
    unknown = np.full_like(truth, 255)
    assert len(compare_with_truth(*judged(ids, before, after, noise, unknown), SPACE)) == 0
    assert set(true_classes(ids, before, unknown, SPACE)[0]) == {-1}


def test_wrong_arguments():
    ids, before, _, _, truth = draw(0)
    with pytest.raises(ValueError, match=r"truth: expected shape \(1, 60\) as ids has"):
        true_classes(ids, before, truth[:, :-1], SPACE)
    with pytest.raises(ValueError, match=r"classes: expected one for each of the ids 1\.\.8"):
        true_classes(ids, before[:-1], truth, SPACE)
    with pytest.raises(ValueError, match="threshold: expected a number"):
        recognition(TrueConnectivities.pool([]), threshold=2)
