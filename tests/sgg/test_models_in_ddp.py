"""Models in ``DistributedDataParallel``: each process asks as often as its own images need."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import sgg
from sgg.diffusion import DiffusersDiffusion, GuidedDiffusion, as_diffusion, from_diffusers

SCHEDULE = (1 - np.linspace(1e-3, 0.2, 20)).cumprod()


class Network(nn.Module):
    """A denoiser, or a segmenter of three classes, with statistics that DDP keeps the same."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.config = SimpleNamespace(in_channels=3, block_out_channels=(8, 16))
        self.channel_mult = (1, 2)

    def forward(self, x, steps=None):
        return self.norm(self.layer(x))


class Segmentor(Network):
    """mmseg's."""

    def forward(self, *args):
        raise AssertionError("a segmentor's forward is not for logits")

    def encode_decode(self, x, metas):
        return super().forward(x)


class Process:
    """guided-diffusion's."""

    model_mean_type = SimpleNamespace(name="EPSILON")
    model_var_type = SimpleNamespace(name="FIXED_SMALL")
    alphas_cumprod, betas = SCHEDULE, SCHEDULE

    def p_mean_variance(self, model, x, steps, clip_denoised, model_kwargs):
        return {"pred_xstart": x - model(x, steps)}


class Scheduler:
    """diffusers'."""

    config, alphas_cumprod = SimpleNamespace(), SCHEDULE


@pytest.fixture
def wait(monkeypatch):
    """A group of one process, in which a forward of DDP's is an error: it waits for others."""

    def forward(self, *args, **options):
        raise AssertionError("it waits for the other processes")

    monkeypatch.setattr(DistributedDataParallel, "forward", forward)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled(module):
    return torch.compile(module, backend="eager")


WRAPPED = [DistributedDataParallel, lambda module: compiled(DistributedDataParallel(module))]


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("kind", [Network, Segmentor])
def test_a_segmenter(kind, wrap, wait):
    network, x = kind(), torch.rand(2, 3, 4, 5, requires_grad=True)
    expected, found = sgg.Segmenter(network), sgg.Segmenter(wrap(network))
    assert found.model is network
    assert torch.equal(found(x), expected(x))
    assert found.called == expected.called


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize(
    "make",
    [
        lambda network: sgg.CallableDiffusion(network, SCHEDULE),
        lambda network: DiffusersDiffusion(network, Scheduler()),
        lambda network: from_diffusers((network, Scheduler())),
        lambda network: as_diffusion(SimpleNamespace(unet=network, scheduler=Scheduler())),
        lambda network: GuidedDiffusion(network, Process()),
    ],
)
def test_a_denoiser(make, wrap, wait):
    network, x = Network(), torch.rand(2, 3, 4, 6, requires_grad=True)
    expected, found = make(network), make(wrap(network))
    assert torch.equal(found.predict(x, 3).pred_x0, expected.predict(x, 3).pred_x0)
    assert found.size_multiple == expected.size_multiple  # it is read from the module


def test_in_data_parallel_it_stays(wait):
    network = nn.DataParallel(Network())
    assert sgg.Segmenter(network).model is network
    assert sgg.CallableDiffusion(network, SCHEDULE).denoiser is network
