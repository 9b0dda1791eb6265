"""What a denoiser's output means: the conversions, against each other and by definition."""

from __future__ import annotations

import math

import pytest
import torch

from sgg.diffusion import CallableDiffusion, DiffusionModel, as_diffusion
from sgg.diffusion.variance import step_variance

SCHEDULE = (1 - torch.linspace(1e-3, 0.2, 20, dtype=torch.float64)).cumprod(0)


def normal(seed: int, channels: int = 3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("t", [0, 7, 19])
def test_all_prediction_types_say_the_same(t):
    a = float(SCHEDULE[t])
    x_0, noise = normal(0), normal(1)
    x_t = math.sqrt(a) * x_0 + math.sqrt(1 - a) * noise
    outputs = {
        "epsilon": noise,
        "sample": x_0,
        "v_prediction": math.sqrt(a) * noise - math.sqrt(1 - a) * x_0,
    }
    for kind, output in outputs.items():
        steps = []
        model = CallableDiffusion(
            lambda x, s, output=output, steps=steps: steps.append(s) or output,
            SCHEDULE,
            prediction_type=kind,
        )
        found = model.predict(x_t, t)
        torch.testing.assert_close(found.pred_x0, x_0)
        torch.testing.assert_close(found.epsilon, noise)
        assert torch.equal(steps[0], torch.tensor([t, t]))


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_clipping_keeps_signal_and_noise_a_pair(kind):
    model = CallableDiffusion(lambda x, s: 3 * x, SCHEDULE, prediction_type=kind, clip_range=0.5)
    x_t, a = normal(0), float(SCHEDULE[9])
    found = model.predict(x_t, 9)
    free = CallableDiffusion(lambda x, s: 3 * x, SCHEDULE, prediction_type=kind).predict(x_t, 9)
    assert free.pred_x0.abs().max() > 0.5
    assert torch.equal(found.pred_x0, free.pred_x0.clamp(-0.5, 0.5))
    pair = math.sqrt(a) * found.pred_x0 + math.sqrt(1 - a) * found.epsilon
    torch.testing.assert_close(pair, x_t)


def test_variances():
    x_t, values = normal(0), torch.rand(2, 3, 4, 5, dtype=torch.float64)
    a, a_prev = float(SCHEDULE[9]), float(SCHEDULE[8])

    def variance(kind, second):
        model = CallableDiffusion(
            lambda x, s: torch.cat([x, second], 1), SCHEDULE, variance_type=kind
        )
        fraction = model.predict(x_t, 9).variance_fraction
        return step_variance(fraction, a, a_prev)

    small, large = variance("fixed_small", values), variance("fixed_large", values)
    beta = 1 - a / a_prev
    assert large == pytest.approx(beta)
    assert small == pytest.approx(beta * (1 - a_prev) / (1 - a))
    torch.testing.assert_close(variance("learned", values), values)
    between = variance("learned_range", 2 * values - 1)
    torch.testing.assert_close(between, small ** (1 - values) * large**values)


def test_differentiable_and_in_the_callers_dtype():
    layer = torch.nn.Conv2d(3, 3, 3, padding=1)
    model = CallableDiffusion(lambda x, s: x.sin(), SCHEDULE, prediction_type="sample")
    x_t = normal(0).requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.predict(x_t, 3).pred_x0.sum(), x_t)
    torch.testing.assert_close(gradient, x_t.detach().cos())

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, steps):
            assert not self.training
            return self.layer(x)

    net = Net()
    found = CallableDiffusion(net, SCHEDULE).predict(x_t, 3)
    assert found.epsilon.dtype == torch.float64
    assert found.epsilon.requires_grad
    assert net.training
    assert layer.weight.requires_grad


def test_satisfies_the_protocol_and_is_passed_through():
    model = CallableDiffusion(lambda x, s: x, SCHEDULE.tolist())
    assert isinstance(model, DiffusionModel)
    assert as_diffusion(model) is model
    assert model.encode(normal(0)) is not None
    assert torch.equal(model.alphas_cumprod, SCHEDULE)


def test_no_signal_at_the_last_step():
    schedule = torch.tensor([0.5, 0.0], dtype=torch.float64)
    x_t = normal(0)
    v = CallableDiffusion(lambda x, s: x, schedule, prediction_type="v_prediction").predict(x_t, 1)
    assert torch.equal(v.pred_x0, -x_t)
    epsilon = CallableDiffusion(lambda x, s: x, schedule).predict(x_t, 1)
    assert not torch.isfinite(epsilon.pred_x0).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"denoiser": 3}, TypeError, "denoiser: expected a callable, got int 3"),
        ({"alphas_cumprod": None}, TypeError, "alphas_cumprod: expected a sequence"),
        ({"alphas_cumprod": [0.5, 0.9]}, ValueError, "expected falling values in"),
        ({"alphas_cumprod": [1.0, 0.9]}, ValueError, "expected falling values in"),
        ({"alphas_cumprod": [0.5, math.nan]}, ValueError, "expected falling values in"),
        ({"alphas_cumprod": [[0.5]]}, ValueError, r"expected shape \(T,\)"),
        ({"prediction_type": "flow"}, ValueError, "prediction_type: expected one of"),
        ({"variance_type": "log"}, ValueError, "variance_type: expected one of"),
        ({"clip_range": 0}, ValueError, "clip_range: expected a number"),
        ({"size_multiple": 0}, ValueError, "size_multiple: expected an integer >= 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        CallableDiffusion(**({"denoiser": lambda x, s: x, "alphas_cumprod": SCHEDULE} | arguments))


@pytest.mark.parametrize(
    ("denoiser", "variance_type", "error"),
    [
        (lambda x, s: None, "fixed_small", TypeError),
        (lambda x, s: x[:, :2], "fixed_small", ValueError),
        (lambda x, s: x, "learned_range", ValueError),
    ],
)
def test_bad_outputs(denoiser, variance_type, error):
    with pytest.raises(error, match="denoiser: expected"):
        CallableDiffusion(denoiser, SCHEDULE, variance_type=variance_type).predict(normal(0), 0)
