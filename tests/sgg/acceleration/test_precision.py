"""Converted weights say what autocast says, and other layouts what plain ones do."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import SCHEDULE, Denoiser, own_forward, translate
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import sgg
from seco.common.inputs import find_inputs
from seco.common.labels import LabelSpace
from sgg.acceleration import accelerated
from sgg.diffusion.tiling import TiledDiffusion
from sgg.folder import SetLayout, TranslationOptions, translate_folder


class Conversions(TorchDispatchMode):
    """How often the weights of modules are converted to another dtype."""

    def __init__(self, *modules):
        super().__init__()
        weights = [weight for module in modules for weight in module.named_parameters()]
        self.names = {weight.data_ptr(): name for name, weight in weights}
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.names:
            self.counts[self.names[args[0].data_ptr()]] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_converted_once_and_the_image_is_that_of_autocast(models, dtype, monkeypatch):
    with Conversions(*models) as once:
        found = translate(models, dtype=dtype)
    monkeypatch.setattr("sgg.translation.accelerated", lambda *args, **kwargs: nullcontext())
    with Conversions(*models) as always:
        expected = translate(models, dtype=dtype)
    np.testing.assert_array_equal(found, expected)
    layers = {
        f"{layer}.{kind}" for layer in ("first", "time", "last") for kind in ("weight", "bias")
    }
    assert {name: once.counts[name] for name in layers} == dict.fromkeys(layers, 1) | {
        name: 2
        for name in layers
        if not name.startswith("time")  # both networks have one
    }
    assert min(always.counts[name] for name in layers) >= 4
    plain = translate(models)
    assert (found != plain).any()  # it makes a difference


def test_a_folder_converts_weights_once(models, tmp_path):
    rng = np.random.default_rng(0)
    for kind, size in (("images", (16, 24, 3)), ("labels", (16, 24))):
        (tmp_path / kind).mkdir()
        for name in ("1", "2"):
            picture = rng.integers(0, 4, size).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / kind / f"{name}.png")
    denoiser, network = models
    images, labels = tmp_path / "images", tmp_path / "labels"
    with Conversions(denoiser) as counted:
        made = translate_folder(
            find_inputs(images, labels),
            SetLayout(images, labels, tmp_path / "out"),
            sgg.CallableDiffusion(denoiser, SCHEDULE),
            network,
            label_space=LabelSpace(names=tuple("abcd")),
            translation=TranslationOptions(num_inference_steps=2, dtype="bfloat16"),
        )
    assert len(made.summary.of("written")) == 2
    assert set(counted.counts.values()) == {1}
    assert "last.weight" in counted.counts


LAYERS = [
    (nn.Linear(5, 4), (2, 3, 5)),
    (nn.Linear(5, 4, bias=False), (2, 3, 5)),
    (nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 9)),
    (nn.Conv2d(4, 6, 3, groups=2, dilation=2), (2, 4, 9, 9)),
    (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2), (2, 4, 9)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 5)),
    (nn.ConvTranspose3d(2, 3, 2), (1, 2, 3, 3, 3)),
]


@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=[type(one).__name__ for one, _ in LAYERS])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_kind_of_layer_is_what_it_is_in_autocast(layer, size, channels_last):
    module = nn.Sequential(layer).requires_grad_(False)
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))

    def run(dtype):
        seen = x.clone().requires_grad_(True)
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            found = module(seen)
        (slope,) = torch.autograd.grad(found.float().square().sum(), seen)
        return found.detach(), slope

    model = sgg.CallableDiffusion(module, SCHEDULE)
    expected, exact, other = run(torch.bfloat16), run(None), run(torch.float16)
    with accelerated(model, None, dtype=torch.bfloat16, channels_last=channels_last):
        with Conversions(module) as counted:
            found = run(torch.bfloat16)
        assert not counted.counts
        for one, plain in ((run(None), exact), (run(torch.float16), other)):  # as they came
            assert all(torch.equal(*pair) for pair in zip(one, plain, strict=True))
    for one, wanted in zip(found, expected, strict=True):
        assert one.dtype == wanted.dtype
        if channels_last:
            torch.testing.assert_close(one, wanted, rtol=0.02, atol=0.02)
        else:
            assert torch.equal(one, wanted)


def test_modules_are_left_as_they_were(models):
    denoiser, network = models
    model = sgg.CallableDiffusion(denoiser, SCHEDULE)
    segmenter = sgg.Segmenter(network, normalization=None)
    before = [dict(vars(module)) for one in models for module in one.modules()]
    weights = [(weight, weight.data_ptr(), weight.stride()) for weight in denoiser.parameters()]
    options = {"dtype": torch.bfloat16, "channels_last": True, "compile": True}
    with suppress(KeyError), accelerated(model, segmenter, **options):
        assert "forward" in vars(denoiser.first)
        assert "forward" in vars(network)
        raise KeyError
    assert [dict(vars(module)) for one in models for module in one.modules()] == before
    for (weight, place, stride), now in zip(weights, denoiser.parameters(), strict=True):
        assert now is weight
        assert (now.data_ptr(), now.stride()) == (place, stride)


def double(layer):
    return layer.double()


class Parametrized(nn.Module):
    def forward(self, weight):
        return 2 * weight


def parametrized(layer):
    return nn.utils.parametrizations.spectral_norm(layer)


def normalised(layer):
    return nn.utils.weight_norm(layer)  # of old: a hook makes the weight before every call


def pruned(layer):
    return prune.identity(layer, "weight")


class Subclass(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + self.weight.sum()


class Quantised(torch.Tensor):
    """Another type computes with it."""


def quantised(layer):
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Quantised))
    return layer


def compiled(layer):
    return torch.compile(layer, backend="eager")


def compiled_in_place(layer):
    layer.compile(backend="eager")
    return layer


@pytest.mark.parametrize(
    "change",
    [
        own_forward, double, parametrized, normalised, pruned, quantised, compiled,
        compiled_in_place,
        nn.DataParallel, torch.jit.script, lambda layer: Subclass(3, 3, 3),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_cannot_be_converted_for_sure_is_left_alone(change):
    layer = change(nn.Conv2d(3, 3, 3))
    model = sgg.CallableDiffusion(nn.Sequential(layer), SCHEDULE)
    before = [vars(module).get("forward") for module in model.denoiser.modules()]
    with accelerated(model, None, dtype=torch.bfloat16, channels_last=True):
        assert [vars(module).get("forward") for module in model.denoiser.modules()] == before


def test_weights_put_in_the_place_of_others_count():
    network = nn.Sequential(nn.Linear(3, 3))
    averages = {name: 3 * weight.detach() for name, weight in network.named_parameters()}
    x = torch.ones(1, 3)

    def said():
        with torch.autocast("cpu", torch.bfloat16):
            return torch.func.functional_call(network, averages, (x,))

    expected = said()
    with accelerated(sgg.CallableDiffusion(network, SCHEDULE), None, dtype=torch.bfloat16):
        assert torch.equal(said(), expected)


def test_networks_are_found_wherever_a_model_holds_them(models):
    class Own:
        alphas_cumprod, size_multiple, device = SCHEDULE, 1, torch.device("cpu")
        predict = encode = decode = print

        def __init__(self, **held):
            vars(self).update(held)

    denoiser, _ = models
    plain = sgg.CallableDiffusion(denoiser, SCHEDULE)
    inner = Own(network=denoiser)
    inner.outer = Own(inner=inner)
    for model in (
        inner.outer,
        plain,
        TiledDiffusion(plain, (8, 8), 2),
        Own(network=denoiser, kind=Denoiser, alphas=SCHEDULE),
        Own(inner=Own(network=denoiser)),
        sgg.CallableDiffusion(denoiser.forward, SCHEDULE),
    ):
        with accelerated(model, None, dtype=torch.bfloat16):
            assert "forward" in vars(denoiser.first)
        assert "forward" not in vars(denoiser.first)


@pytest.mark.parametrize("guidance", ["local", "global"])
def test_channels_last_changes_rounding_only(models, guidance):
    layouts = set()
    hooks = [
        module.first.register_forward_hook(
            lambda *said: layouts.add(said[2].is_contiguous(memory_format=torch.channels_last))
        )
        for module in models
    ]
    options = {"guidance": guidance, "strength": 0.3}
    plain = translate(models, **options)
    assert layouts == {False}
    layouts.clear()
    found = translate(models, channels_last=True, **options)
    for hook in hooks:
        hook.remove()
    assert layouts == {True}
    assert np.abs(found.astype(int) - plain).max() <= 1
