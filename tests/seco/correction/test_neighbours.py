"""The classes of the most similar regions, against loops, and what they do to a fit."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patches import SPACE, Colour, patches

from seco import SCC_PAPER, ConnectivityCorrector, LabelSpace, NoNoiseFoundWarning, SCCSettings
from seco.correction import neighbours
from seco.correction.neighbours import (
    Drawn,
    NeighbourBank,
    make_bank,
    neighbour_classes,
    winners,
)

QUICK = SCCSettings(iterations=60, batch_size=32, learning_rate=0.05, neighbours=7)


def normalised(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def random_bank(rng, size, channels, classes):
    features = torch.from_numpy(rng.normal(size=(size, channels)))
    return make_bank([Drawn.of(features.float(), torch.from_numpy(classes), 0, 0)])


def slowly(features, classes, bank, count, num_classes):
    """One region after the other; an entry of its class and direction is itself, once."""
    rows = np.zeros((len(features), num_classes))
    for row, feature, own in zip(rows, normalised(features.double().numpy()), classes, strict=True):
        similar = bank.features.double().numpy() @ feature
        left = 1
        taken = 0
        for place in np.argsort(-similar):
            if left and similar[place] > 0.999 and bank.classes[place] == own:
                left = 0
            elif taken < count:
                row[bank.classes[place]] += 1
                taken += 1
        row /= max(taken, 1)
    return rows


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 40),
    fresh=st.integers(0, 6),
    count=st.integers(1, 30),
    num_classes=st.integers(2, 5),
    channels=st.integers(3, 8),
)
def test_shares_are_those_of_loops(seed, size, fresh, count, num_classes, channels):
    """Of regions in the bank, with the class they have there or another, and of others."""
    rng = np.random.default_rng(seed)
    bank = random_bank(rng, size, channels, rng.integers(0, num_classes, size))
    known = bank.features[rng.integers(0, size, 6)] * 3
    others = torch.from_numpy(rng.normal(size=(fresh, channels))).float()
    features = torch.cat([known, others])
    classes = torch.from_numpy(rng.integers(0, num_classes, len(features)))
    shares, any_found = neighbour_classes(features, classes, bank, count, num_classes)
    expected = slowly(features, classes, bank, count, num_classes)
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(any_found.numpy(), expected.any(axis=1))


def test_a_region_does_not_vote_for_itself():
    bank = NeighbourBank(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 1, 1]))
    features, classes = torch.eye(3)[[0, 0, 2]], torch.tensor([0, 1, 0])
    shares, _ = neighbour_classes(features, classes, bank, 1, 2)
    assert shares[:2].tolist() == [[0, 1], [1, 0]]
    alone = NeighbourBank(torch.eye(3)[:1], torch.tensor([0]))
    shares, any_found = neighbour_classes(features, classes, alone, 4, 2)
    assert shares.tolist() == [[0, 0], [1, 0], [1, 0]]
    assert any_found.tolist() == [False, True, True]


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    bank = random_bank(rng, 50, 5, rng.integers(0, 4, 50))
    features, classes = torch.from_numpy(rng.normal(size=(31, 5))).float(), torch.zeros(31).long()
    whole, _ = neighbour_classes(features, classes, bank, 9, 4)
    for chunk in (1, 150):
        monkeypatch.setattr(neighbours, "_CHUNK", chunk)
        assert torch.equal(neighbour_classes(features, classes, bank, 9, 4)[0], whole)


def test_a_bank_is_a_random_subset_however_it_is_drawn():
    rng = np.random.default_rng(0)
    images = [
        (torch.from_numpy(rng.normal(size=(n, 3))).float(), torch.full((n,), index))
        for index, n in enumerate([30, 1, 0, 25, 40, 4])
    ]
    drawn = [Drawn.of(f, c, 5, index) for index, (f, c) in enumerate(images)]
    lots = torch.cat([item.lots for item in drawn])
    assert len(lots.unique()) == len(lots)
    rows = torch.cat([torch.nn.functional.normalize(f, dim=1).half() for f, _ in images])
    classes = torch.cat([c for _, c in images])
    for limit in (1, 12, 100, 101):
        best = sorted(range(100), key=lambda place: float(lots[place]))[:limit]
        bank = make_bank(drawn, limit)
        assert torch.equal(bank.features, rows[best].float())
        assert torch.equal(bank.classes, classes[best])
        shared = make_bank([*winners(drawn[1::2], limit), *winners(drawn[::2], limit)], limit)
        assert torch.equal(shared.features, bank.features)
    assert winners([]) == []
    share = (make_bank(drawn, 50).classes == 4).float().mean()
    assert 0.2 < share < 0.6  # of 40 %
    other = Drawn.of(*images[0], 6, 0)
    assert not torch.equal(other.lots, drawn[0].lots)


def data(count=8):
    return [patches(seed, wrong=0.2)[:2] for seed in range(count)]


def fit(space=SPACE, samples=None, **changed):
    corrector = ConnectivityCorrector(space, Colour(), settings=replace(QUICK, **changed), seed=3)
    return corrector.fit(data() if samples is None else samples)


def test_losses_are_of_the_mean_of_classifier_and_neighbours():
    """Each region apart, its own entry left out by its place, in double precision."""
    corrector, alone = fit(), fit(neighbours=0)
    assert alone.record.bank is None
    classifier, record = corrector._fitted
    rows, given_classes = [], record.classes
    for img, label in data():
        (judged,) = corrector.correct_with_details(img, label).judgements
        image = torch.from_numpy(img).permute(2, 0, 1)
        with torch.no_grad():
            ids = judged.connectivities.ids
            rows.append(classifier.features(image, ids, len(judged.connectivities)))
    features = torch.cat(rows)
    unit = normalised(features.double().numpy())
    with torch.no_grad():
        probabilities = classifier.classify(features).double().softmax(1).numpy()
    similar = unit @ unit.astype(np.float16).astype(float).T
    assert len(record.bank.classes) == len(similar) == 8 * 24
    losses = []
    for place, own in enumerate(given_classes.tolist()):
        order = [other for other in np.argsort(-similar[place]) if other != place][:7]
        share = np.mean([int(given_classes[other]) == own for other in order])
        losses.append(-np.log((probabilities[place, own] + share) / 2))
    # Where many are nearly alike, rounding may put more than seven before a region itself.
    near = np.isclose(record.losses.numpy(), losses, atol=1e-4)
    assert near.mean() > 0.95
    expected = -np.log(probabilities[range(len(losses)), given_classes])
    np.testing.assert_allclose(alone.record.losses.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("encoder", [Colour, lambda: None])
def test_fitted_images_are_judged_as_in_the_fit(encoder):
    quick = replace(QUICK, iterations=10)
    corrector = ConnectivityCorrector(SPACE, encoder(), settings=quick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        corrector.fit(data())
    again = torch.cat([corrector.losses(img, label) for img, label in data()])
    torch.testing.assert_close(again, corrector.record.losses)


def test_small_connectivities_are_not_compared_with():
    samples = data()
    for _, label in samples:
        label[:8, :8] = 255
        label[1:3, 1:3] = 0  # 4 pixels
    assert len(fit(samples=samples).record.bank.classes) == 8 * 23
    assert len(fit(samples=samples, min_area=4).record.bank.classes) == 8 * 24


@pytest.mark.parametrize("kept", [0, 7])
def test_saved_with_its_bank_or_without(tmp_path, kept):
    corrector = fit(neighbours=kept)
    corrector.save(tmp_path)
    loaded = ConnectivityCorrector.load(tmp_path, encoder=Colour())
    img, label, _ = patches(60, wrong=0.3)
    assert torch.equal(loaded.losses(img, label), corrector.losses(img, label))
    if kept:
        assert torch.equal(loaded.record.bank.features, corrector.record.bank.features)
        assert torch.equal(loaded.record.bank.classes, corrector.record.bank.classes)
    else:
        assert loaded.record.bank is None


def test_two_classes_and_fewer_regions_than_neighbours():
    two = LabelSpace(names=SPACE.names[:2])
    samples = [(img, np.where(label == 2, 255, label)) for img, label in data(2)]
    corrector = fit(space=two, samples=samples, neighbours=1000)
    record = corrector.record
    share = torch.bincount(record.classes, minlength=2).float() / len(record.classes)
    img, label, _ = patches(60, wrong=0.3)
    label = np.where(label == 2, 255, label)
    (judged,) = corrector.correct_with_details(img, label).judgements
    # Everything fitted is a neighbour, whatever it looks like: no loss exceeds that of its share.
    assert (judged.losses <= -(share[judged.connectivities.classes] / 2).log() + 1e-5).all()
    assert (judged.losses >= -((1 + share[judged.connectivities.classes]) / 2).log() - 1e-5).all()


def test_the_settings():
    assert SCC_PAPER.neighbours == 0
    for wrong, error in ((-1, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="neighbours: expected an integer"):
            SCCSettings(neighbours=wrong)
