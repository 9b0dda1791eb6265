"""Compiled networks say the same, and are compiled once."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from small_networks import SCHEDULE, Denoiser, own_forward, translate
from torch import nn

import sgg
from seco.common.compile_modes import COMPILE_MODES
from sgg.acceleration import accelerated, in_powers_of_two


@pytest.fixture
def compilations(monkeypatch):
    """What is given to ``torch.compile``, which then runs it as it is."""
    seen = []

    def compile(function, **options):
        called = []
        seen.append((function.__self__, options, called))

        def run(*args, **kwargs):
            called.append(tuple(args[0].shape))
            return function(*args, **kwargs)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    return seen


@pytest.mark.parametrize("mode", [True, *COMPILE_MODES])
def test_denoiser_and_segmenter_are_compiled(models, mode, compilations):
    found = translate(models, compile=mode, guidance="local")
    np.testing.assert_array_equal(found, translate(models, guidance="local"))
    compilations = [one for one in compilations if one[2]]  # what was called at all
    assert [module for module, _, _ in compilations] == list(models)
    (_, one, denoised), (_, other, segmented) = compilations
    assert one == other == {"dynamic": False, "mode": None if mode is True else mode}
    assert denoised == [(1, 3, 16, 24)] * 4
    assert segmented == [(4, 3, 16, 24)] * 4  # 3 classes; and not the look that counts them


GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}


@pytest.mark.parametrize("mode", COMPILE_MODES)
def test_a_denoiser_that_is_differentiated_has_no_cuda_graphs(models, mode, compilations):
    """They forget what it has saved once the segmenter's first chunk went backward."""
    settings = sgg.GuidanceSettings(differentiate_denoiser=True, interval=2, max_copies=2)
    options = {"guidance": "local", "settings": settings}
    found = translate(models, compile=mode, **options)
    np.testing.assert_array_equal(found, translate(models, **options))
    calls = {
        (module, options["mode"]): len(called) for module, options, called in compilations if called
    }
    denoiser, network = models
    if mode in GRAPHS:  # of four steps, two are guided; with two chunks each
        assert calls == {(denoiser, mode): 2, (denoiser, GRAPHS[mode]): 2, (network, mode): 4}
    else:
        assert calls == {(denoiser, mode): 4, (network, mode): 4}


def test_what_is_compiled_is_not_again(models, compilations):
    model = sgg.CallableDiffusion(models[0], SCHEDULE)
    segmenter = sgg.Segmenter(models[1])
    with accelerated(model, segmenter, compile=True):
        translate(models, compile=True)
        assert len(compilations) == 2
    denoiser = sgg.CallableDiffusion(Denoiser(), SCHEDULE)
    denoiser.denoiser.compile(backend="eager")
    compilations.clear()
    with accelerated(denoiser, segmenter, compile=True):
        assert [module for module, _, _ in compilations] == [models[1]]


def test_two_threads_leave_nothing_behind(models):
    """One opens while the other is open, and closes after it."""
    model = sgg.CallableDiffusion(models[0], SCHEDULE)
    one, other = (accelerated(model, None, dtype=torch.bfloat16) for _ in range(2))
    one.__enter__()
    mine = {module: vars(module).pop("forward") for module in (models[0].first, models[0].last)}
    other.__enter__()  # as if it had looked before
    assert all(vars(module)["forward"] is not mine[module] for module in mine)
    one.__exit__(None, None, None)
    assert all("forward" in vars(module) for module in mine)
    other.__exit__(None, None, None)
    assert not any("forward" in vars(module) for module in models[0].modules())


def test_what_a_module_had_as_forward_is_compiled_and_put_back(compilations):
    layer = own_forward(nn.Conv2d(3, 3, 1))
    own = layer.forward
    own.__self__ = layer
    with accelerated(sgg.CallableDiffusion(layer, SCHEDULE), None, compile=True):
        layer(torch.zeros(1, 3, 2, 2))
    assert layer.forward is own
    assert [called for _, _, called in compilations] == [[(1, 3, 2, 2)]]


class Mmseg(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.backbone, self.decode_head = network.first, network.last

    def encode_decode(self, x, metas):
        return self.decode_head(self.backbone(x))


class Whole(nn.Module):
    """A diffusion model that is a module itself."""

    def __init__(self, denoiser):
        super().__init__()
        self.unet = denoiser
        self.alphas_cumprod, self.size_multiple = SCHEDULE, 1
        self.device = torch.device("cpu")

    def predict(self, x_t, t):
        return sgg.CallableDiffusion(self.unet, SCHEDULE).predict(x_t, t)

    def encode(self, images):
        return images

    decode = encode


def test_of_what_is_not_called_itself_the_parts_are_compiled(models, compilations):
    denoiser, network = models
    for segmentor in (Mmseg(network), nn.DataParallel(Mmseg(network))):
        with accelerated(Whole(denoiser), sgg.Segmenter(segmentor), compile=True):
            pass
        assert [module for module, _, _ in compilations] == [denoiser, network.first, network.last]
        compilations.clear()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_cannot_be_compiled_is_refused(models):
    denoiser, _ = models
    said = "compile: expected a model made of torch modules, got "
    function = sgg.CallableDiffusion(lambda x_t, t: denoiser(x_t, t), SCHEDULE)
    for model, segmenter, name in (
        (function, None, "CallableDiffusion"),
        (sgg.CallableDiffusion(denoiser.forward, SCHEDULE), None, "CallableDiffusion"),
        (sgg.CallableDiffusion(denoiser, SCHEDULE), lambda x: x, "function"),
        (sgg.CallableDiffusion(denoiser, SCHEDULE), torch.jit.script(nn.Conv2d(3, 2, 1)), "Rec"),
    ):
        guide = None if segmenter is None else sgg.Segmenter(segmenter)
        with pytest.raises(ValueError, match=said + name), accelerated(model, guide, compile=True):
            pass
    # A segmenter that is not asked need not be.
    translate((denoiser, None), guidance="none", num_inference_steps=1)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_batches_are_filled_up(count):
    seen = []
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def segment(x):
        seen.append(len(x))
        return torch.einsum("kc,bchw->bkhw", weight, x)

    images = torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    slopes = []
    for one in (segment, in_powers_of_two(segment)):
        leaf = images.clone().requires_grad_(True)
        found = one(leaf)
        assert found.shape == (count, 4, 4, 5)
        slopes.append(torch.autograd.grad(found.square().sum(), leaf)[0])
    torch.testing.assert_close(*slopes)
    assert seen == [count, {1: 1, 2: 2, 3: 4, 5: 8, 8: 8}[count]]


@pytest.fixture
def compiler():
    """Dynamo, which keeps what it has compiled for all that follows."""
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch, compiler):
    """Those that are traced."""
    seen = []

    def counted(graph, inputs):
        seen.append(graph)
        return graph.forward

    compile = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, *, mode, **options: compile(
            function, backend=counted, fullgraph=True, **options
        ),
    )
    return seen


# torch hides it from users.
of_no_leaf = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@of_no_leaf
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_networks_are_traced_once_whatever_the_call(models, dtype, graphs):
    options = {"dtype": dtype, "num_inference_steps": 2, "channels_last": True}
    expected = translate(models, **options)
    sizes = []
    for _ in range(3):
        found = translate(models, compile=True, **options)
        np.testing.assert_array_equal(found, expected)
        sizes.append(len(graphs))
    assert sizes == [3, 3, 3]  # the denoiser's; the segmenter's of four copies and of one image


@of_no_leaf
def test_every_size_is_traced_beyond_the_limit_of_torch(models, graphs):
    denoiser, network = models
    model, segmenter = sgg.CallableDiffusion(denoiser, SCHEDULE), sgg.Segmenter(network)
    # A limit of 1 for those of 8, to be quick: torch would run the second size as it is.
    limited = torch._dynamo.config.patch(cache_size_limit=1)
    with limited, accelerated(model, segmenter, compile=True):
        for _ in range(2):
            for height in (4, 6, 8):
                x = torch.zeros(1, 3, height, 4)
                with torch.no_grad():
                    model.predict(x, 3)
                segmenter(x.requires_grad_(True))
        assert torch._dynamo.config.cache_size_limit == 1
    assert len(graphs) == 6


@of_no_leaf
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_networks_say_the_same(compiler):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
    model = sgg.CallableDiffusion(network, SCHEDULE)
    segmenter = sgg.Segmenter(network, normalization=None)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def said():
        leaf = x.clone().requires_grad_(True)
        logits = segmenter(leaf)
        return logits.detach(), torch.autograd.grad(logits.square().sum(), leaf)[0]

    expected = said()
    with accelerated(model, segmenter, compile=True):
        found = said()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
