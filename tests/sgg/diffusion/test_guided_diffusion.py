"""guided-diffusion's interface, with a small process of the same formulas (Nichol and Dhariwal)."""

from __future__ import annotations

import enum

import numpy as np
import pytest
import torch
from torch import nn

from sgg.diffusion import GuidedDiffusion, as_diffusion
from sgg.sampling import ddim_step, ddpm_step

MeanType = enum.Enum("MeanType", ["PREVIOUS_X", "START_X", "EPSILON"])
VarType = enum.Enum("VarType", ["LEARNED", "FIXED_SMALL", "FIXED_LARGE", "LEARNED_RANGE"])


class Process:
    """What is public of a ``GaussianDiffusion``, and of a ``SpacedDiffusion`` with ``kept``."""

    def __init__(self, mean="EPSILON", variance="LEARNED_RANGE", kept=None, steps=40):
        alphas_cumprod = np.cumprod(1 - np.linspace(1e-3, 0.2, steps))
        self.kept = np.arange(steps) if kept is None else np.array(kept)
        self.alphas_cumprod = alphas_cumprod[self.kept]
        self.previous = np.append(1.0, self.alphas_cumprod[:-1])
        self.betas = 1 - self.alphas_cumprod / self.previous
        self.num_timesteps = len(self.betas)
        self.posterior_variance = self.betas * (1 - self.previous) / (1 - self.alphas_cumprod)
        self.posterior_log_variance_clipped = np.log(
            np.append(self.posterior_variance[1], self.posterior_variance[1:])
        )
        self.model_mean_type = MeanType[mean]
        self.model_var_type = VarType[variance]
        self.rescale_timesteps = False

    def p_mean_variance(self, model, x, t, clip_denoised=True, denoised_fn=None, model_kwargs=None):
        assert t.shape == (len(x),)
        assert denoised_fn is None
        step = int(t[0])
        output = model(x, torch.from_numpy(self.kept)[t], **(model_kwargs or {}))
        a, prev, beta = (float(v[step]) for v in (self.alphas_cumprod, self.previous, self.betas))
        kind = self.model_var_type
        if kind in (VarType.LEARNED, VarType.LEARNED_RANGE):
            output, values = output.chunk(2, 1)
            low = float(self.posterior_log_variance_clipped[step])
            log_variance = values
            if kind is VarType.LEARNED_RANGE:
                share = (values + 1) / 2
                log_variance = share * np.log(beta) + (1 - share) * low
        else:
            large = np.append(self.posterior_variance[1], self.betas[1:])
            table = self.posterior_variance if kind is VarType.FIXED_SMALL else large
            log_variance = torch.full_like(x, float(table[step])).log()
        x_0 = (
            output
            if self.model_mean_type is MeanType.START_X
            else ((x - (1 - a) ** 0.5 * output) / a**0.5)
        )
        if clip_denoised:
            x_0 = x_0.clamp(-1, 1)
        mean = (prev**0.5 * beta * x_0 + (1 - prev) * (1 - beta) ** 0.5 * x) / (1 - a)
        return {
            "mean": mean,
            "variance": log_variance.exp(),
            "log_variance": log_variance,
            "pred_xstart": x_0,
        }


class Net(nn.Module):
    """A model of the step, twice the channels, with its class if it has classes."""

    channel_mult = (1, 2, 2)

    def __init__(self, outputs=6, num_classes=None):
        super().__init__()
        self.num_classes = num_classes
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Conv2d(3, outputs, 3, padding=1)
        self.steps = []

    def forward(self, x, timesteps, y=None):
        assert not self.training
        self.steps.append(timesteps)
        shift = 0 if y is None else y.float()[:, None, None, None]
        return torch.tanh(self.body(x) + timesteps.float()[:, None, None, None] / 40 + shift)


def normal(seed: int):
    return torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mean", ["EPSILON", "START_X"])
@pytest.mark.parametrize("variance", ["LEARNED_RANGE", "LEARNED", "FIXED_SMALL", "FIXED_LARGE"])
@pytest.mark.parametrize("kept", [None, [0, 3, 9, 10, 25, 39]])
def test_ancestral_steps(mean, variance, kept):
    process = Process(mean, variance, kept)
    net = Net(6 if variance.startswith("LEARNED") else 3)
    model = as_diffusion((net, process))
    assert len(model.alphas_cumprod) == process.num_timesteps
    x_t, noise, gradient = (normal(seed) for seed in range(3))
    for t in (process.num_timesteps - 1, 2, 1):
        with torch.no_grad():
            expected = process.p_mean_variance(net.eval(), x_t, torch.tensor([t, t]))
            net.train()
            found = model.predict(x_t, t)
        a, prev = float(model.alphas_cumprod[t]), float(model.alphas_cumprod[t - 1])
        stepped = ddpm_step(x_t, found, a, prev, noise=noise, gradient=gradient)
        # as its condition_mean does it, with the gradient of log p(y | x_t)
        mean_ = expected["mean"] + expected["variance"] * -gradient
        sampled = mean_ + (0.5 * expected["log_variance"]).exp() * noise
        torch.testing.assert_close(stepped, sampled, rtol=1e-4, atol=1e-5)
        assert net.steps[-1].tolist() == [process.kept[t]] * 2
        assert net.training


def test_ddim_steps():
    process, net = Process(), Net()
    model = as_diffusion((net, process))
    x_t = normal(0)
    with torch.no_grad():
        expected = process.p_mean_variance(net.eval(), x_t, torch.tensor([20, 20]))["pred_xstart"]
        found = model.predict(x_t, 20)
    a, prev = float(process.alphas_cumprod[20]), float(process.alphas_cumprod[7])
    epsilon = (x_t / a**0.5 - expected) / (1 / a - 1) ** 0.5
    torch.testing.assert_close(
        ddim_step(x_t, found, a, prev), prev**0.5 * expected + (1 - prev) ** 0.5 * epsilon
    )


def test_clipping_can_be_left_out():
    free = GuidedDiffusion(Net(), Process(), clip_denoised=False)
    x_t = 5 * normal(0)
    assert free.predict(x_t, 30).pred_x0.abs().max() > 1
    assert as_diffusion((Net(), Process())).predict(x_t, 30).pred_x0.abs().max() == 1


def test_differentiable_with_frozen_weights():
    net = Net()
    x_t = normal(0).requires_grad_(True)
    found = GuidedDiffusion(net, Process(), clip_denoised=False).predict(x_t, 5)
    found.pred_x0.sum().backward()
    assert x_t.grad.abs().sum() > 0
    assert net.body.weight.grad is None
    assert net.body.weight.requires_grad


def test_classes():
    with pytest.raises(ValueError, match=r"condition: expected a class.*model of 4 classes"):
        as_diffusion((Net(num_classes=4), Process()))
    models = [
        GuidedDiffusion(Net(num_classes=4), Process(), condition={"y": torch.tensor([c])})
        for c in (0, 3)
    ]
    first, second = (model.predict(normal(0), 9).pred_x0 for model in models)
    assert not torch.equal(first, second)


def test_sizes():
    assert as_diffusion((Net(), Process())).size_multiple == 4
    assert GuidedDiffusion(Net(), Process(), size_multiple=32).size_multiple == 32
    assert GuidedDiffusion(lambda x, t: x, Process()).size_multiple == 1


def test_refuses_other_kinds():
    with pytest.raises(ValueError, match="predicts EPSILON or START_X, got PREVIOUS_X"):
        as_diffusion((Net(), Process(mean="PREVIOUS_X")))
    with pytest.raises(TypeError, match="guided-diffusion's model and GaussianDiffusion"):
        GuidedDiffusion(Net(), object())
    with pytest.raises(TypeError, match="guided-diffusion's model and GaussianDiffusion"):
        GuidedDiffusion(None, Process())
