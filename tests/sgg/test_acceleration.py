"""Faster networks say the same: against autocast as it is, plain layouts, uncompiled modules."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import sgg
from seco.common.compile_modes import COMPILE_MODES
from seco.common.inputs import find_inputs
from seco.common.labels import LabelSpace
from sgg.acceleration import accelerated, in_powers_of_two
from sgg.diffusion.tiling import TiledDiffusion
from sgg.folder import SetLayout, TranslationOptions, translate_folder

SCHEDULE = (1 - torch.linspace(1e-3, 0.25, 24, dtype=torch.float64)).cumprod(0)


class Denoiser(nn.Module):
    """Layers of both kinds, a norm that autocast leaves alone, and one that leaves autocast."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.time = nn.Linear(1, 8)
        self.exact = nn.Linear(8, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x, steps):
        found = self.norm(self.first(x)) + self.time(steps[:, None] / 24)[..., None, None]
        with torch.autocast(x.device.type, enabled=False):
            found = self.exact(found.float().movedim(1, -1)).movedim(-1, 1)
        return self.last(torch.tanh(found))


class Network(nn.Module):
    """A segmenter of four classes that sees neighbours."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        return {"out": self.last(torch.tanh(self.first(x)))}


@pytest.fixture(scope="module")
def models():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(), Network()


def translate(models, seed=0, **options):
    denoiser, network = models
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
    label = rng.integers(0, 3, (16, 24)).astype(np.uint8)
    # Of an array of pixels the last dimension would be that of channels already.
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()[None]
    model = sgg.CallableDiffusion(denoiser, SCHEDULE)
    options = {"num_inference_steps": 4} | options
    found = sgg.translate(pixels, torch.from_numpy(label)[None], model, network, **options)
    return found.numpy()


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


def own_forward(layer):
    plain = layer.forward

    def forward(x):  # as accelerate does
        return plain(x) + 1

    layer.forward = forward
    return layer


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
