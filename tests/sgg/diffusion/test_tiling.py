"""Denoisers asked tile by tile: against whole images, a loop over tiles, and what adapters know."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from halves import Halves
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sgg import CallableDiffusion, DiffusersDiffusion, GuidanceSettings, LatentDiffusion, translate
from sgg.diffusion import GuidedDiffusion
from sgg.diffusion.tiling import TiledDiffusion, check_tile_size, tiled
from sgg.guided_steps import guided_prediction

SCHEDULE = (1 - torch.linspace(1e-3, 0.25, 24, dtype=torch.float64)).cumprod(0)


def pointwise(x_t, steps):
    return torch.sin(3 * x_t) * (1 + steps[0] / 24)


def of_its_tile(x_t, steps):
    """Depends on all of a tile, so that tiles disagree; with a variance."""
    spread = x_t - x_t.mean((2, 3), keepdim=True) + x_t.flip(3)
    return torch.cat([torch.sin(spread), torch.cos(spread)], 1)


def model(denoiser=pointwise, **options):
    return CallableDiffusion(denoiser, SCHEDULE, **options)


def sample(seed: int, *size: int):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, *size, generator=rng, dtype=torch.float64)


@settings(max_examples=40)
@given(
    cells=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    tile=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    overlap=st.integers(0, 5),
    multiple=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 10**6),
)
def test_a_pointwise_denoiser_does_not_notice(cells, tile, overlap, multiple, seed):
    seen = []

    def denoiser(x_t, steps):
        seen.append(tuple(x_t.shape[-2:]))
        return pointwise(x_t, steps)

    whole = model(denoiser, size_multiple=multiple)
    size = tuple(multiple * side for side in tile)
    overlap = min(overlap, min(tile) - 1) * multiple
    x_t = sample(seed, *(multiple * count for count in cells))
    expected = whole.predict(x_t, 7)
    seen.clear()
    found = TiledDiffusion(whole, size, overlap).predict(x_t, 7)
    torch.testing.assert_close(found.pred_x0, expected.pred_x0)
    torch.testing.assert_close(found.epsilon, expected.epsilon)
    assert found.variance_fraction == expected.variance_fraction
    assert set(seen) == {tuple(min(a, b) for a, b in zip(size, x_t.shape[-2:], strict=True))}
    most = [math.ceil(max(1, (n - overlap / multiple) / (t - overlap / multiple)))
            for n, t in zip(cells, tile, strict=True)]  # fmt: skip
    assert len(seen) <= most[0] * most[1]


@pytest.mark.parametrize("order", [1, -1])
def test_tiles_are_averaged_by_a_window_whatever_their_order(order):
    x_t, size, overlap = sample(0, 6, 21), (6, 9), 3
    whole = model(of_its_tile, variance_type="learned_range")
    found = TiledDiffusion(whole, size, overlap).predict(x_t, 7)
    ramp = [math.sin(math.pi / 2 * min(1, (min(i, 8 - i) + 0.5) / 3)) ** 2 for i in range(9)]
    sums, weights = torch.zeros(3, *x_t.shape).double(), torch.zeros(21).double()
    for start in (0, 6, 12)[::order]:
        part = whole.predict(x_t[..., start : start + 9], 7)
        values = torch.stack([part.pred_x0, part.epsilon, part.variance_fraction])
        sums[..., start : start + 9] += torch.tensor(ramp) * values
        weights[start : start + 9] += torch.tensor(ramp).double()
    expected = sums / weights
    for given_, wanted in zip(
        (found.pred_x0, found.epsilon, found.variance_fraction), expected, strict=True
    ):
        torch.testing.assert_close(given_, wanted)
    a = SCHEDULE[7]
    torch.testing.assert_close(a.sqrt() * found.pred_x0 + (1 - a).sqrt() * found.epsilon, x_t)


def test_gradients_go_through_all_tiles_and_hold_one_at_a_time():
    x_t, slopes = sample(0, 5, 13), sample(1, 5, 13)
    layer = nn.Conv2d(3, 3, 3, padding=1).double()
    held = []

    def denoiser(x, steps):
        held.append(torch.is_grad_enabled())
        return torch.tanh(layer(x))

    tiles = TiledDiffusion(model(denoiser), (5, 5), 1)
    _, found = guided_prediction(
        tiles, x_t, 3, lambda images: slopes, guidance_input="pred_x0", differentiate_denoiser=True
    )
    leaf = x_t.clone().requires_grad_(True)
    places = [slice(0, 5), slice(4, 9), slice(8, 13)]
    weights = torch.ones(3, 13).double()
    weights[0, 4] = weights[1, 4] = weights[1, 8] = weights[2, 8] = 0.5
    loss = sum(
        (weights[i, place] * model(denoiser).predict(leaf[..., place], 3).pred_x0
         * slopes[..., place] * (weights[i, place] > 0)).sum()
        for i, place in enumerate(places)
    )  # fmt: skip
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found, expected)
    assert layer.weight.grad is None
    assert layer.weight.requires_grad
    assert len(held) == 3 + 3 + 3  # forward, again in backward, and the loop of this test


def test_what_was_seen_in_inference_mode_is_differentiated_later():
    tiles = TiledDiffusion(model(), (4, 4), 2)
    x_t = sample(0, 4, 7)
    with torch.inference_mode():
        expected = tiles.predict(x_t, 2).pred_x0
    leaf = x_t.requires_grad_(True)
    found = tiles.predict(leaf, 2).pred_x0
    torch.testing.assert_close(found.detach(), expected)
    assert torch.autograd.grad(found.sum(), leaf)[0].abs().min() > 0


@pytest.mark.parametrize("per_batch", [2, 4, 99])
@pytest.mark.parametrize("through", [False, True])
def test_tiles_asked_together_say_what_each_says(per_batch, through):
    x_t, slopes = sample(0, 11, 13), sample(1, 11, 13)  # 3 x 3 tiles
    sizes = []

    def denoiser(x, steps):
        assert len(steps) == len(x)
        sizes.append(len(x))
        return of_its_tile(x, steps)

    def found(tiles):
        return guided_prediction(
            tiles, x_t, 3, lambda images: slopes,
            guidance_input="pred_x0", differentiate_denoiser=through,
        )  # fmt: skip

    options = {"variance_type": "learned_range"}
    together = found(TiledDiffusion(model(denoiser, **options), (5, 5), 1, per_batch=per_batch))
    expected = found(TiledDiffusion(model(of_its_tile, **options), (5, 5), 1))
    for name in ("pred_x0", "epsilon", "variance_fraction"):
        assert torch.equal(getattr(together[0], name), getattr(expected[0], name))
    torch.testing.assert_close(together[1], expected[1], rtol=1e-12, atol=1e-12)
    calls = math.ceil(9 / per_batch)
    assert len(sizes) == calls * (2 if through else 1)
    assert max(sizes) == 2 * min(per_batch, 9)  # of two images
    assert sum(sizes[:calls]) == 2 * 9


def by_colour(x):
    return torch.cat([torch.zeros_like(x[:, :1]), 4 * x - 2], 1)


def scene(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return image, rng.integers(0, 4, size).astype(np.uint8)


def run(image, label, diffusion, **options):
    options = {"seg_normalization": None, "num_inference_steps": 4} | options
    return translate(image, label, diffusion, by_colour, **options)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_translation_of_a_large_image_by_a_small_model(sampler, through):
    """One noise for the whole image: else a pointwise denoiser would give another image."""
    limits = []

    def small(x_t, steps):
        limits.append(x_t.shape[-2] <= 8 and x_t.shape[-1] <= 16)
        return pointwise(x_t, steps)

    image, label = scene((19, 37))
    options = {
        "sampler": sampler,
        "settings": GuidanceSettings(differentiate_denoiser=through),
        "guidance_scale": 0.1,
    }
    whole = run(image, label, model(size_multiple=4), **options)
    tiles = run(image, label, model(small, size_multiple=4), tile_size=(8, 16), **options)
    np.testing.assert_allclose(tiles.astype(int), whole, atol=1)
    assert limits
    assert all(limits)


def test_tiles_of_latents_are_told_in_pixels():
    seen = []

    def denoiser(x_t, steps):
        seen.append(tuple(x_t.shape[-2:]))
        return pointwise(x_t, steps)

    latent = LatentDiffusion(model(denoiser), Halves())
    image, label = scene((20, 41))
    tiles = run(image, label, latent, tile_size=12, tile_overlap=3)
    assert set(seen) == {(6, 6)}
    assert len(seen) == 4 * 2 * 5
    np.testing.assert_allclose(tiles.astype(int), run(image, label, latent), atol=1)


class Attention(nn.Module):
    """By its name."""


class Unet(nn.Module):
    def __init__(self, config, *layers):
        super().__init__()
        self.config, self.layers = config, nn.ModuleList(layers)

    def forward(self, sample, timestep):
        return pointwise(sample, timestep)


def test_what_adapters_know_of_their_size():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler()

    def size(config, *layers):
        return DiffusersDiffusion(Unet(SimpleNamespace(**config), *layers), scheduler).tile_size

    assert size({"sample_size": 64}, Attention()) == (64, 64)
    assert size({"sample_size": [64, 128]}, Attention()) == (64, 128)
    assert size({"sample_size": None}, Attention()) is None
    assert size({}, Attention()) is None
    assert size({"sample_size": 64}, nn.Conv2d(3, 3, 3)) is None
    blocks = {
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2,
        "sample_size": (32, 48),
    }  # fmt: skip
    with torch.random.fork_rng():
        plain = diffusers.UNet2DModel(**blocks, add_attention=False)
        attending = diffusers.UNet2DModel(**blocks)
    assert DiffusersDiffusion(plain, scheduler).tile_size is None
    adapted = DiffusersDiffusion(attending, scheduler)
    assert adapted.tile_size == (32, 48)
    assert LatentDiffusion(adapted, Halves()).tile_size == (64, 96)
    assert LatentDiffusion(model(), Halves()).tile_size is None

    process = SimpleNamespace(
        p_mean_variance=None, alphas_cumprod=SCHEDULE, betas=None,
        model_mean_type=SimpleNamespace(name="EPSILON"),
    )  # fmt: skip
    network = Unet(None, Attention())
    network.image_size = 256
    assert GuidedDiffusion(network, process).tile_size == (256, 256)


def test_the_models_size_is_the_default():
    seen = []

    def denoiser(x_t, steps):
        seen.append(tuple(x_t.shape[-2:]))
        return pointwise(x_t, steps)

    known = model(denoiser)
    known.tile_size = (8, 8)
    image, label = scene((8, 20))
    run(image, label, known)
    assert set(seen) == {(8, 8)}
    assert len(seen) == 4 * 3  # 20 = 8 + 6 + 6: overlaps of 2, a quarter
    seen.clear()
    run(image, label, known, tiles_per_batch=2)
    assert len(seen) == 4 * 2
    seen.clear()
    run(image, label, known, tile_size=None)
    assert set(seen) == {(8, 20)}
    images = torch.zeros(1, 3, 8, 20)
    assert tiled(model(), images, images) is not None
    assert not isinstance(tiled(model(), images, images), TiledDiffusion)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tile_size": "whole"}, ValueError, "tile_size: expected a side"),
        ({"tile_size": (8, 8, 8)}, ValueError, "tile_size: expected a side"),
        ({"tile_size": 0}, ValueError, "tile_size: expected an integer >= 1"),
        ({"tile_size": 8.0}, TypeError, "tile_size: expected an integer"),
        ({"tile_size": 10}, ValueError, "tile_size: expected multiples of 4"),
        ({"tile_size": 8, "tile_overlap": -1}, ValueError, "tile_overlap: expected an integer"),
        ({"tiles_per_batch": 0}, ValueError, "tiles_per_batch: expected an integer >= 1"),
        ({"tile_size": 8, "tile_overlap": 5}, ValueError, "tile_overlap: expected less than 8"),
    ],
)
def test_bad_tiles(options, error, message):
    with pytest.raises(error, match=message):
        run(*scene((20, 20)), model(size_multiple=4), **options)


def test_sides():
    assert check_tile_size([4, 8]) == (4, 8)
    assert check_tile_size("auto") == "auto"
    assert check_tile_size(None) is None
