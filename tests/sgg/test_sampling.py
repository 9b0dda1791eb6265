"""Noising and reverse steps against diffusers' schedulers and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgg.diffusion import Prediction
from sgg.sampling import (
    add_noise,
    ddim_step,
    ddpm_step,
    reverse_process,
    reverse_timesteps,
)

T = 1000
BETAS = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
ALPHAS_CUMPROD = (1 - BETAS).cumprod(0)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (2, 3, 4, 5)), generator=generator, dtype=dtype)


def predict_from(epsilon, x_t, a, fraction=0.0):
    return Prediction((x_t - math.sqrt(1 - a) * epsilon) / math.sqrt(a), epsilon, fraction)


@pytest.mark.parametrize("steps", [[999, 998, 400, 30, 2, 0], [700, 0]])
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned_range"])
def test_ancestral_steps_are_those_of_diffusers(steps, variance_type):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(clip_sample=False, variance_type=variance_type)
    scheduler.set_timesteps(timesteps=steps)
    x_t, epsilon, noise, values = (normal(s, dtype=torch.float32) for s in range(4))
    fraction = {"fixed_small": 0.0, "fixed_large": 1.0, "learned_range": (values + 1) / 2}
    for t, prev in zip(steps, [*steps[1:], -1], strict=True):
        output = torch.cat([epsilon, values], 1) if variance_type == "learned_range" else epsilon
        generator = torch.Generator().manual_seed(2)  # draws what ``noise`` is
        expected = scheduler.step(output, t, x_t, generator=generator).prev_sample
        a = float(scheduler.alphas_cumprod[t])
        a_prev = float(scheduler.alphas_cumprod[prev]) if prev >= 0 else 1.0
        prediction = predict_from(epsilon, x_t, a, fraction[variance_type])
        found = ddpm_step(x_t, prediction, a, a_prev, noise=noise)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1000, 10, 4])
def test_ddim_steps_are_those_of_diffusers(eta, count):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(count)
    x_t, epsilon, noise = (normal(seed, dtype=torch.float32) for seed in range(3))
    steps = scheduler.timesteps.tolist()
    assert steps == reverse_timesteps(T, 1.0, count)
    pairs = list(zip(steps, [*steps[1:], -1], strict=True))
    for t, prev in pairs[:: max(1, count // 10)]:
        expected = scheduler.step(epsilon, t, x_t, eta=eta, variance_noise=noise).prev_sample
        a = float(scheduler.alphas_cumprod[t])
        a_prev = float(scheduler.alphas_cumprod[prev]) if prev >= 0 else 1.0
        found = ddim_step(x_t, predict_from(epsilon, x_t, a), a, a_prev, eta=eta, noise=noise)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_noising_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler()
    x_0, noise = normal(0, dtype=torch.float32), normal(1, dtype=torch.float32)
    for t in (0, 500, 999):
        expected = scheduler.add_noise(x_0, noise, torch.tensor([t]))
        found = add_noise(x_0, noise, float(scheduler.alphas_cumprod[t]))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.3, "learned"])
def test_ancestral_guidance_shifts_the_mean_by_the_covariance(fraction):
    x_t, epsilon, noise, gradient = (normal(seed) for seed in range(4))
    learned = torch.sigmoid(normal(5)) if fraction == "learned" else fraction
    a, a_prev = 0.4, 0.7
    prediction = predict_from(epsilon, x_t, a, learned)
    plain = ddpm_step(x_t, prediction, a, a_prev, noise=noise)
    guided = ddpm_step(x_t, prediction, a, a_prev, noise=noise, gradient=gradient)
    beta = 1 - a / a_prev
    posterior = beta * (1 - a_prev) / (1 - a)
    variance = posterior ** (1 - learned) * beta**learned
    torch.testing.assert_close(plain - guided, variance * gradient)
    # the noise's share, by the same variance
    other = ddpm_step(x_t, prediction, a, a_prev, noise=torch.zeros_like(noise))
    torch.testing.assert_close(plain - other, variance**0.5 * noise)


def test_ddim_guidance_is_a_conditional_score():
    x_t, epsilon, _, gradient = (normal(seed) for seed in range(4))
    a, a_prev = 0.4, 0.7
    # guided-diffusion's condition_score, with grad log p(y | x_t) = -gradient
    shifted = epsilon - math.sqrt(1 - a) * -gradient
    expected = ddim_step(x_t, predict_from(shifted, x_t, a), a, a_prev)
    found = ddim_step(x_t, predict_from(epsilon, x_t, a), a, a_prev, gradient=gradient)
    torch.testing.assert_close(found, expected)


# A target domain in which every value is N(MEAN, STD ** 2), whose best denoiser is known.
MEAN, STD = -0.3, 0.4


def gaussian_predict(x_t, t, to_go):
    a = float(ALPHAS_CUMPROD[t])
    gain = STD**2 * math.sqrt(a) / (STD**2 * a + 1 - a)
    pred_x0 = MEAN + gain * (x_t - math.sqrt(a) * MEAN)
    return Prediction(pred_x0, (x_t - math.sqrt(a) * pred_x0) / math.sqrt(1 - a)), None


@pytest.mark.parametrize("strength", [0.1, 0.4, 1.0])
def test_ddim_translates_to_a_gaussian_domain_in_closed_form(strength):
    source = 0.8
    steps = reverse_timesteps(T, strength)
    a = float(ALPHAS_CUMPROD[steps[0]])
    noise = normal(0, 1, 3, 60, 60)
    x_n = add_noise(torch.full_like(noise, source), noise, a)
    found = reverse_process(x_n, steps, ALPHAS_CUMPROD, gaussian_predict)
    # The probability flow carries Gaussians to Gaussians; 1,000 Euler-like steps come near.
    flow = MEAN + STD / math.sqrt(STD**2 * a + 1 - a) * (x_n - math.sqrt(a) * MEAN)
    torch.testing.assert_close(found, flow, rtol=0, atol=0.02)


@pytest.mark.parametrize("strength", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("count", [None, 20])
def test_ancestral_translation_to_a_gaussian_domain_has_known_moments(strength, count):
    source = 0.8
    steps = reverse_timesteps(T, strength, count)
    values = [float(ALPHAS_CUMPROD[t]) for t in steps]
    mean, variance = math.sqrt(values[0]) * source, 1 - values[0]
    for a, a_prev in zip(values, [*values[1:], 1.0], strict=True):
        gain = STD**2 * math.sqrt(a) / (STD**2 * a + 1 - a)
        signal = math.sqrt(a_prev) * (1 - a / a_prev) / (1 - a)
        keep = math.sqrt(a / a_prev) * (1 - a_prev) / (1 - a)
        slope = signal * gain + keep
        mean = slope * mean + signal * (1 - gain * math.sqrt(a)) * MEAN
        variance = slope**2 * variance + (1 - a / a_prev) * (1 - a_prev) / (1 - a)
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn(1, 3, 50, 50, generator=generator, dtype=torch.float64)

    x_n = add_noise(torch.full((1, 3, 50, 50), source).double(), draw(), values[0])
    found = reverse_process(
        x_n, steps, ALPHAS_CUMPROD, gaussian_predict, sampler="ddpm", draw_noise=draw
    )
    count = found.numel()
    assert found.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / count))
    assert found.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / count))
    if strength == 1:  # and that is the domain itself
        assert mean == pytest.approx(MEAN, abs=0.01)


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.7)])
def test_batch_is_its_images_and_guidance_of_0_is_none(sampler, eta):
    steps = reverse_timesteps(T, 0.5, 7)
    x_n = normal(0)
    noises = [normal(10 + index) for index in range(6)]
    torch.manual_seed(0)
    state = torch.random.get_rng_state()

    def run(rows, gradient):
        def predict(x_t, t, to_go):
            return gaussian_predict(x_t, t, to_go)[0], gradient(x_t)

        drawn = iter(noises)
        return reverse_process(
            x_n[rows],
            steps,
            ALPHAS_CUMPROD,
            predict,
            sampler=sampler,
            eta=eta,
            draw_noise=lambda: next(drawn)[rows],
        )

    together = run(slice(0, 2), torch.sin)
    for index in range(2):
        assert torch.equal(together[index : index + 1], run(slice(index, index + 1), torch.sin))
    plain = run(slice(0, 2), lambda x: None)
    assert torch.equal(plain, run(slice(0, 2), torch.zeros_like))
    assert not torch.equal(plain, together)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_loop_tells_how_many_steps_remain():
    calls = []

    def predict(x_t, t, to_go):
        calls.append((t, to_go))
        return gaussian_predict(x_t, t, to_go)

    reverse_process(normal(0), [9, 4, 1], ALPHAS_CUMPROD, predict)
    assert calls == [(9, 3), (4, 2), (1, 1)]


@given(
    total=st.integers(1, 2000),
    strength=st.floats(1e-6, 1),
    count=st.none() | st.integers(1, 3000),
)
def test_timesteps(total, strength, count):
    steps = reverse_timesteps(total, strength, count)
    n = max(1, round(strength * total))
    assert steps[0] == n - 1
    assert len(steps) == (n if count is None else min(n, count))
    strides = [a - b for a, b in zip(steps, [*steps[1:], -1], strict=True)]
    assert min(strides) >= 1
    assert max(strides) - min(strides) <= 1


def test_a_diverging_sample_is_reported_with_its_step():
    def predict(x_t, t, to_go):
        prediction = gaussian_predict(x_t, t, to_go)[0]
        return prediction, torch.full_like(x_t, math.inf if t == 4 else 0.0)

    with pytest.raises(FloatingPointError, match=r"step t=4 \(2 of 3\): guidance diverges"):
        reverse_process(normal(0), [9, 4, 1], ALPHAS_CUMPROD, predict)
    with pytest.raises(FloatingPointError, match="denoiser's output"):
        reverse_process(normal(0) * math.nan, [9, 4, 1], ALPHAS_CUMPROD, gaussian_predict)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reverse_timesteps(1000, 0), ValueError, r"strength: expected a number in \(0, 1"),
        (lambda: reverse_timesteps(1000, 1.1), ValueError, "strength: expected a number"),
        (lambda: reverse_timesteps(1000, "0.5"), TypeError, "strength: expected a number"),
        (lambda: reverse_timesteps(1000, 0.5, 0), ValueError, "num_inference_steps: expected"),
        (
            lambda: reverse_process(normal(0), [1, 4], ALPHAS_CUMPROD, gaussian_predict),
            ValueError,
            "timesteps: expected descending",
        ),
        (
            lambda: reverse_process(
                normal(0), [4, 1], ALPHAS_CUMPROD, gaussian_predict, sampler="ddpm"
            ),
            ValueError,
            "draw_noise: expected",
        ),
        (
            lambda: reverse_process(
                normal(0), [4], ALPHAS_CUMPROD, gaussian_predict, sampler="euler"
            ),
            ValueError,
            "sampler: expected one of",
        ),
        (
            lambda: reverse_process(
                normal(0), [4], ALPHAS_CUMPROD, gaussian_predict, sampler="ddpm", eta=0.5
            ),
            ValueError,
            "eta: expected 0 with sampler 'ddpm'",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
