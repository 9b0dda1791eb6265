"""The bundled models: small, whole, and good at what they are there for."""

from __future__ import annotations

import random
import sys
from importlib.resources import files

import numpy as np
import pytest
import torch

import sgg
from seco.common.confusion import confusion
from seco.demo import STREETS
from seco.demo.scenes import DEV_SEEDS, street_scene
from sgg.demo import SIZE, load_diffusion, load_oracle, load_segmenter
from sgg.demo.models import street_batch

WEIGHTS = files("sgg.demo") / "weights"
SEEDS = DEV_SEEDS[50:66]


@pytest.fixture(scope="module")
def diffusion():
    return load_diffusion()


def scenes(domain):
    return street_batch([street_scene(s, size=SIZE, domain=domain) for s in SEEDS])


def mean_iou(model, domain):
    images, labels = scenes(domain)
    with torch.no_grad():
        seen = model(images.float() / 255).argmax(1)
    return confusion(seen, labels.long(), STREETS).mean_iou


def test_files_are_small():
    unet = WEIGHTS / "diffusion" / "unet" / "diffusion_pytorch_model.safetensors"
    assert unet.stat().st_size <= 8e6
    for name in ("segmenter.safetensors", "oracle.safetensors"):
        assert (WEIGHTS / name).stat().st_size <= 1e6


def test_float32_and_frozen(diffusion):
    for module in (diffusion[0], load_segmenter().model, load_oracle()):
        assert {p.dtype for p in module.parameters()} == {torch.float32}
        assert {p.device.type for p in module.parameters()} == {"cpu"}
        assert not any(p.requires_grad for p in module.parameters())
        assert not any(m.training for m in module.modules())


def test_the_denoiser_denoises_unseen_target_scenes(diffusion):
    model = sgg.as_diffusion(diffusion)
    images, _ = scenes("camera")
    x_0 = images.float() / 127.5 - 1
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    spread = x_0.var().item()
    for t, part in ((150, 0.35), (400, 0.3), (700, 0.45)):
        alpha = float(model.alphas_cumprod[t])
        with torch.no_grad():
            found = model.predict(sgg.add_noise(x_0, noise, alpha), t).pred_x0
        # what the best linear guess leaves, which sees each pixel alone
        alone = 1 / (1 / spread + alpha / (1 - alpha))
        assert (found - x_0).square().mean().item() < part * alone


def test_source_segmenter_and_oracle_know_their_own_domains():
    segmenter, oracle = load_segmenter().model, load_oracle()
    assert mean_iou(segmenter, "game") > 0.5
    assert mean_iou(oracle, "camera") > 0.45
    assert mean_iou(segmenter, "camera") < mean_iou(oracle, "camera") - 0.1


def test_global_random_state_is_untouched():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    load_diffusion(), load_segmenter(), load_oracle()
    assert state() == before


def test_says_that_diffusers_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs diffusers: pip install 'seco-sgg\["):
        load_diffusion()
