from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from seco.correction.decision import CORRECT, DROP, KEEP, adjust_for_noise, decide
from seco.correction.mixture import NoiseModel, NoNoiseFoundWarning, fit_noise_model


def losses_of(seed=0, clean=300, noisy=60):
    rng = np.random.default_rng(seed)
    losses = np.concatenate([rng.gamma(2, 0.1, clean), rng.normal(3.5, 0.6, noisy)])
    return losses.clip(0), np.repeat([False, True], [clean, noisy])


def fit(losses, classes=None, areas=None, **options):
    classes = np.zeros(len(losses), int) if classes is None else classes
    return fit_noise_model(
        losses, classes, np.ones(len(losses)) if areas is None else areas, **options
    )


def test_noise_is_what_has_the_larger_mean():
    losses, noisy = losses_of()
    found = fit(losses).noise_probability(losses, np.zeros(len(losses), int))
    assert ((found >= 0.6) == noisy).mean() > 0.97


def test_the_mixture_is_scikit_learns():
    losses, _ = losses_of(1)
    model = fit(losses)
    low, high = losses.min(), losses.max()
    values = ((losses - low) / (high - low))[:, None]
    reference = GaussianMixture(2, reg_covar=5e-4, tol=1e-4, max_iter=1000, random_state=7)
    posterior = reference.fit(values).predict_proba(values)[:, reference.means_.argmax()]
    between = (values[:, 0] > reference.means_.min()) & (values[:, 0] < reference.means_.max())
    found = model.noise_probability(losses, np.zeros(len(losses), int))
    np.testing.assert_allclose(found[between], posterior[between], atol=0.02)
    assert model.overall.bic_two == pytest.approx(reference.bic(values), rel=1e-3)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.01, 3), st.floats(0, 4))
def test_more_loss_is_never_cleaner(seed, width, shift):
    rng = np.random.default_rng(seed)
    losses = np.concatenate([rng.random(50), rng.normal(shift, width, 30)]).clip(0)
    losses = np.concatenate([losses, [0.0, 9.0]])
    model = fit_quietly(losses)
    found = model.overall.noise_probability(np.linspace(-1, 20, 200))
    assert (np.diff(found) >= -1e-12).all()
    assert 0 <= found.min() <= found.max() <= 1


def fit_quietly(losses, **options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        return fit(losses, **options)


@pytest.mark.parametrize(
    "losses",
    [
        np.random.default_rng(0).normal(1, 0.1, 400),
        np.full(100, 0.7),
        np.array([0.1]),
        np.array([0.0, 5.0, 5.0]),
    ],
    ids=["one bell", "all the same", "one loss", "three losses"],
)
def test_without_support_for_two_nothing_is_noise_and_the_caller_is_told(losses):
    with pytest.warns(NoNoiseFoundWarning, match="do not support two components"):
        model = fit(losses)
    assert not model.overall.supported
    assert not model.noise_probability(np.array([0.0, 99.0]), np.zeros(2, int)).any()


def test_a_mixture_per_class():
    easy, noisy_easy = losses_of(2)
    hard = np.random.default_rng(3).normal(3.5, 0.1, 100)  # one bell where the other's noise is
    few = np.array([0.1, 4.0])
    losses = np.concatenate([easy, hard, few])
    classes = np.repeat([0, 1, 2], [len(easy), len(hard), len(few)])
    with pytest.warns(NoNoiseFoundWarning, match="of class 1 do not support"):
        model = fit(losses, classes, mixture="per_class")
    assert set(model.per_class) == {0, 1}
    found = model.noise_probability(losses, classes)
    assert ((found[classes == 0] >= 0.6) == noisy_easy).mean() > 0.97
    assert not found[classes == 1].any()
    overall = model.overall.noise_probability(few)
    np.testing.assert_array_equal(found[classes == 2], overall)
    everything = fit(losses, classes).noise_probability(losses, classes)
    assert (everything[classes == 1] > 0.9).all()


def test_extreme_losses_count_as_the_largest():
    losses, noisy = losses_of(6)
    stretched = np.where(losses > losses[noisy].mean(), losses + 40, losses)
    assert not np.array_equal(stretched, losses)
    limit = float(losses[noisy].mean())
    model = fit(stretched, max_loss=limit)
    assert model == fit(np.minimum(losses, limit))
    found = model.noise_probability(stretched, np.zeros(len(losses), int))
    assert ((found >= 0.6) == noisy).mean() > 0.97
    without = fit_quietly(stretched).noise_probability(stretched, np.zeros(len(losses), int))
    assert (without[noisy] >= 0.6).mean() < 0.7


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_of_each_class_no_more_than_the_share_is_noise(seed, share):
    rng = np.random.default_rng(seed)
    losses, _ = losses_of(seed, clean=120, noisy=120)
    classes = rng.integers(0, 4, len(losses))
    everything = fit(losses, classes).noise_probability(losses, classes)
    found = fit(losses, classes, max_noise_share=share)
    limited = found.noise_probability(losses, classes)
    for number in range(4):
        own = classes == number
        noisy = np.flatnonzero(own & (limited > 0))
        most = int(share * own.sum())
        assert len(noisy) <= most
        # Those of most loss, and as many as may be.
        wanted = np.flatnonzero(own)[np.argsort(-losses[own], kind="stable")[:most]]
        np.testing.assert_array_equal(noisy, np.sort(wanted[everything[wanted] > 0]))
        np.testing.assert_array_equal(limited[noisy], everything[noisy])
    assert NoiseModel.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_areas_count_as_repetitions():
    losses, noisy = losses_of(4, clean=80, noisy=40)
    areas = np.where(noisy, 1, 5)
    weighted = fit(losses, areas=areas, area_weighting=True).overall
    repeated = fit(np.repeat(losses, areas)).overall
    plain = fit(losses, areas=areas).overall
    assert weighted.weights[1] == pytest.approx(repeated.weights[1], abs=0.01)
    assert weighted.means == pytest.approx(repeated.means, abs=0.01)
    assert plain.weights[1] > weighted.weights[1] + 0.15


def test_it_is_deterministic_and_leaves_the_global_state_alone():
    losses, _ = losses_of(5)
    states = random.getstate(), np.random.get_state()[1].tolist()
    assert fit(losses) == fit(losses)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_as_json_and_back():
    losses, _ = losses_of(6)
    model = fit(losses, mixture="per_class")
    assert NoiseModel.from_json(json.loads(json.dumps(model.to_json()))) == model


@pytest.mark.parametrize("losses", [np.array([]), np.array([1.0, np.nan])])
def test_bad_losses(losses):
    with pytest.raises(ValueError, match="losses: expected finite numbers, at least one"):
        fit(losses)


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 5))
def test_decisions_follow_the_rule(seed, count, num_classes):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes, count)
    noise = rng.choice([0, 0.59, 0.6, 0.61, 1.0], count)
    probabilities = (
        rng.dirichlet(np.full(num_classes, 0.05), count) if count else np.zeros((0, num_classes))
    )
    decided = decide(*(torch.from_numpy(a) for a in (classes, noise, probabilities)))
    for index in range(count):
        best = probabilities[index].argmax()
        if noise[index] < 0.6:
            expected = KEEP, classes[index], 1 - noise[index]
        elif probabilities[index, best] > 0.95:
            expected = CORRECT if best != classes[index] else KEEP, best, probabilities[index, best]
        else:
            expected = DROP, classes[index], 0
        got = (decided.actions[index], decided.classes[index], decided.confidences[index])
        assert [float(g) for g in got] == pytest.approx([float(e) for e in expected])


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 19), st.floats(0, 0.49))
def test_adjusting_undoes_symmetric_noise(seed, num_classes, rate):
    clean = np.random.default_rng(seed).dirichlet(np.full(num_classes, 0.2), 5)
    transition = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(transition, 1 - rate)
    found = adjust_for_noise(torch.from_numpy(clean @ transition), rate)
    np.testing.assert_allclose(found, clean, atol=1e-9)


def test_adjusting_never_leaves_the_simplex_and_refuses_to_guess():
    given = torch.tensor([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0], [0.34, 0.33, 0.33]])
    for rate in (0.0, 0.3, 0.6, 2 / 3, 1.0):
        found = adjust_for_noise(given, rate)
        assert ((found >= 0) & (found <= 1)).all()
        torch.testing.assert_close(found.sum(1), torch.ones(3))
        assert torch.equal(found.argmax(1), given.argmax(1))
    assert torch.equal(adjust_for_noise(given, 2 / 3), given)


def test_the_thresholds_are_the_papers():
    classes = torch.tensor([0, 0, 0, 0])
    noise = torch.tensor([0.599, 0.6, 0.6, 0.6], dtype=torch.float64)
    sure = torch.tensor([0.99, 0.96, 0.95, 0.94], dtype=torch.float64)
    decided = decide(classes, noise, torch.stack([1 - sure, sure], dim=1))
    assert decided.actions.tolist() == [KEEP, CORRECT, DROP, DROP]
