"""The accelerated encoder against segment_anything's own, on random and on bundled weights."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeming_gpu import NEEDS_GPU
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

import seco
from seco.demo import STREETS, street_scene
from seco.folder.provenance import describe_model
from seco.sam import relative_attention
from seco.sam.accelerated_encoder import AcceleratedEncoder, accelerate_sam
from seco.sam.protocol import PromptableSegmenter
from seco.sam.relative_attention import ATTENTION_KINDS, RelativeAttention
from seco.sam.segment_anything import SegmentAnythingBackend
from seco.sam.tiny import PROPOSALS, load_tiny_sam

EAGER = ("bias", "channels")  # "flex" is made to be compiled


def make_encoder(**changed: Any) -> Any:
    """A small encoder in float64 whose every weight matters."""
    options: dict[str, Any] = {
        "img_size": 56,
        "patch_size": 8,
        "embed_dim": 16,
        "depth": 3,
        "num_heads": 2,
        "mlp_ratio": 2.0,
        "out_chans": 12,
        "norm_layer": partial(nn.LayerNorm, eps=1e-6),
        "use_rel_pos": True,
        "window_size": 3,
        "global_attn_indexes": (1,),
    }
    encoder = ImageEncoderViT(**(options | changed))
    for parameter in encoder.parameters():  # norms, biases and positions too
        parameter.data += 0.3 * torch.randn_like(parameter)
    return encoder.double().eval()


def accelerate(encoder: Any, **options: Any) -> AcceleratedEncoder:
    usual = {"dtype": None, "global_attention": "bias", "window_attention": "bias"}
    return AcceleratedEncoder(encoder, **(usual | {"compile": False} | options))


def both(encoder: Any, batch: int = 1, **options: Any) -> tuple[Tensor, Tensor]:
    first = encoder.patch_embed.proj
    images = torch.randn(batch, first.in_channels, *[encoder.img_size] * 2, dtype=torch.float64)
    with torch.no_grad():
        return encoder(images.to(first.weight.dtype)), accelerate(encoder, **options)(images)


@given(
    patch=st.sampled_from([4, 5, 8]),
    grid=st.integers(1, 9),
    rest=st.integers(0, 3),
    heads=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([16, 24]),
    depth=st.integers(0, 3),
    window=st.integers(0, 10),
    everywhere=st.sets(st.integers(0, 2)),
    flags=st.fixed_dictionaries(
        {name: st.booleans() for name in ("use_rel_pos", "use_abs_pos", "qkv_bias")}
    ),
    kinds=st.tuples(st.sampled_from(EAGER), st.sampled_from(EAGER)),
    batch=st.integers(1, 3),
    few=st.sampled_from([0, 1000]),
    limit=st.sampled_from([1, 5000, 2**30]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=80)
def test_equals_stock_forward(
    patch: int,
    grid: int,
    rest: int,
    heads: int,
    width: int,
    depth: int,
    window: int,
    everywhere: set[int],
    flags: dict[str, bool],
    kinds: tuple[str, str],
    batch: int,
    few: int,
    limit: int,
    seed: int,
) -> None:
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patched:
        for bytes_at_a_time in ("BIAS_BYTES", "CACHED_BYTES"):
            patched.setattr(relative_attention, bytes_at_a_time, limit)
        patched.setattr(relative_attention, "FEW_TOKENS", few)  # more are not fused on a CPU
        torch.manual_seed(seed)
        encoder = make_encoder(
            img_size=grid * patch + rest,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            window_size=window,
            global_attn_indexes=tuple(everywhere),
            **flags,
        )
        stock, ours = both(encoder, batch, global_attention=kinds[0], window_attention=kinds[1])
    assert ours.dtype == torch.float64
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, stock, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", EAGER)
def test_positions_of_another_size_are_interpolated(kind: str) -> None:
    """As after loading the tables of a model with larger windows or images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = make_encoder()
        for block, lengths in zip(encoder.blocks, [(9, 3), (21, 7), (4, 8)], strict=True):
            for name, length in zip(("rel_pos_h", "rel_pos_w"), lengths, strict=True):
                table = torch.randn(length, 8, dtype=torch.float64)
                setattr(block.attn, name, nn.Parameter(table))
        stock, ours = both(encoder, global_attention=kind, window_attention=kind)
    torch.testing.assert_close(ours, stock, rtol=1e-9, atol=1e-9)


def test_another_activation_and_scale() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = make_encoder(act_layer=partial(nn.GELU, approximate="tanh"))
        encoder.blocks[0].attn.scale = 0.7
        stock, ours = both(encoder)
        encoder.blocks[0].mlp.act.approximate = "none"
        encoder.blocks[0].attn.scale = 8**-0.5
        other, _ = both(encoder)
    torch.testing.assert_close(ours, stock, rtol=1e-9, atol=1e-9)
    assert (other - stock).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("widths", "depth"),
    [
        ({"embed_dim": 768, "num_heads": 12}, 6),
        ({"embed_dim": 1024, "num_heads": 16}, 2),
        ({"embed_dim": 1280, "num_heads": 16}, 2),  # heads of 80, not 64
    ],
    ids=["vit_b", "vit_l", "vit_h"],
)
def test_real_widths(widths: dict[str, int], depth: int) -> None:
    """Not as deep, and at 240 x 240: 15 x 15 tokens, padded windows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ImageEncoderViT(
            img_size=240, norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True,
            window_size=14, global_attn_indexes=(depth // 2 - 1, depth - 1), depth=depth, **widths,
        ).eval()  # fmt: skip
        for block in encoder.blocks:
            nn.init.normal_(block.attn.rel_pos_h, std=0.3)
            nn.init.normal_(block.attn.rel_pos_w, std=0.3)
        images = torch.randn(1, 3, 240, 240)
    with torch.no_grad():
        stock = encoder(images)
        for kind in EAGER:
            exact = accelerate(encoder, global_attention=kind, window_attention=kind)(images)
            torch.testing.assert_close(exact, stock, rtol=1e-4, atol=1e-5)
        rough = accelerate(encoder, dtype=torch.bfloat16)(images)
    assert rough.dtype == torch.bfloat16
    assert float((rough - stock).norm() / stock.norm()) < 0.03


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_less_exact_than_the_stock_forward(dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = make_encoder(depth=6, embed_dim=64, num_heads=4).float()
        images = torch.randn(2, 3, 56, 56)
        with torch.no_grad():
            exact = encoder(images)
            ours = [
                accelerate(encoder, dtype=dtype, global_attention=kind, window_attention=kind)(
                    images
                )
                for kind in EAGER
            ]
            stock = encoder.to(dtype)(images.to(dtype))
    usual = float((stock.float() - exact).norm())
    for found in ours:
        assert found.dtype == dtype
        assert 0 < float((found.float() - exact).norm()) < 1.25 * usual


def oracle(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float) -> Tensor:
    """Attention key by key, as the formula says."""
    width, out = len(columns), torch.empty_like(q)
    for place in np.ndindex(*q.shape[:3]):
        at, query = place[2], q[place]
        logits = torch.stack(
            [
                scale * query @ key
                + query @ rows[at // width, other // width]
                + query @ columns[at % width, other % width]
                for other, key in enumerate(k[place[:2]])
            ]
        )
        out[place] = logits.softmax(0) @ v[place[:2]]
    return out


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize("size", [(3, 4), (4, 2), (1, 5)])
def test_attention_over_a_rectangle(
    size: tuple[int, int], kind: Any, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relative_attention, "FEW_TOKENS", few)
    # Compiling FlexAttention takes a CPU a minute; what is compiled is the same.
    if kind == "flex":
        flex = pytest.importorskip("torch.nn.attention.flex_attention").flex_attention
        monkeypatch.setattr(relative_attention, "_compiled_flex_attention", lambda: flex)
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, size[0] * size[1], 5)
    q, k, v = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    rows, columns = (
        torch.randn(side, side, 5, generator=generator, dtype=torch.float64) for side in size
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        found = RelativeAttention(rows, columns, scale=0.3, kind=kind)(q, k, v)
    torch.testing.assert_close(found, oracle(q, k, v, rows, columns, 0.3), rtol=1e-9, atol=1e-9)


def test_compiled_whole(small_sam: Any, images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced without a break; compiling in earnest takes a CPU minutes and is left to a GPU."""
    asked: list[dict[str, Any]] = []
    compile = torch.compile

    def trace(function: Any, *, mode: str | None, **options: Any) -> Any:
        asked.append({"mode": mode})
        return compile(function, backend="eager", fullgraph=True, **options)

    monkeypatch.setattr(torch, "compile", trace)
    batch = images(2, 40, 30)
    expected = accelerate_sam(small_sam).encode(batch)
    for mode in (True, "reduce-overhead"):
        found = accelerate_sam(small_sam, compile=mode).encode(batch)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.features[0], other.features[0], rtol=0, atol=1e-5)
    assert asked == [{"mode": None}, {"mode": "reduce-overhead"}]
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Those that are traced, while torch by itself would stop after the first size, not the 8th."""
    seen: list[Any] = []
    compile = torch.compile

    def counted(graph: Any, inputs: Any) -> Any:
        seen.append(graph)
        return graph.forward

    def trace(function: Any, *, mode: str | None, **options: Any) -> Any:
        return compile(function, backend=counted, **options)

    monkeypatch.setattr(torch, "compile", trace)
    relative_attention._compiled_flex_attention.cache_clear()
    torch._dynamo.reset()
    with torch._dynamo.config.patch(cache_size_limit=1):
        yield seen
    relative_attention._compiled_flex_attention.cache_clear()
    torch._dynamo.reset()


def test_every_size_of_a_batch_is_compiled(graphs: Any) -> None:
    fast = accelerate(make_encoder(depth=1, global_attn_indexes=()), compile=True)
    for _ in range(2):
        for count in (1, 2, 3):
            with torch.no_grad():
                fast(torch.zeros(count, 3, 56, 56, dtype=torch.float64))
    assert len(graphs) == 3


def test_flex_is_compiled_for_every_shape(graphs: Any) -> None:
    pytest.importorskip("torch.nn.attention.flex_attention")
    for _ in range(2):
        for side in (2, 3, 4):
            tables = torch.zeros(2, side, side, 16)
            attention = RelativeAttention(*tables, scale=0.3, kind="flex")
            with torch.no_grad():
                attention(*torch.zeros(3, 1, 2, side * side, 16))
    assert len(graphs) == 3


@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_steps_of_the_callers_graphs_are_not_marked(
    mode: Any, small_sam: Any, images: Any, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[None] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(None))
    accelerate_sam(small_sam, compile=mode).encode(images(1, 40, 30))
    assert graphs
    assert not marked


@NEEDS_GPU
@pytest.mark.parametrize("compile", [True, "reduce-overhead"])
def test_a_backward_that_the_caller_has_before_them(
    small_sam: Any, images: Any, compile: Any
) -> None:
    """What a student in CUDA graphs has saved is there after SAM was asked."""
    fast = accelerate_sam(small_sam.cuda(), compile=compile)
    layers = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()).cuda()
    student = torch.compile(layers, mode="reduce-overhead")
    x = torch.ones(4, 8, device="cuda")
    layers(x).square().sum().backward()
    expected = layers[0].weight.grad
    for seed in range(4):  # warmed up, recorded, replayed
        layers.zero_grad(set_to_none=True)
        loss = student(x).square().sum()
        for again in range(2):
            fast.encode(images(2, 40, 30, 2 * seed + again))
        loss.backward()
        torch.testing.assert_close(layers[0].weight.grad, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "compile",
    [
        pytest.param(mode, marks=[NEEDS_GPU] * bool(mode))
        for mode in (False, True, "reduce-overhead")
    ],
)
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[NEEDS_GPU] * (kind not in EAGER)) for kind in ATTENTION_KINDS],
)
def test_on_a_gpu(small_sam: Any, images: Any, kind: Any, compile: bool | str) -> None:
    stock = SegmentAnythingBackend(small_sam.cuda())
    fast = accelerate_sam(
        small_sam,
        dtype=torch.float32,
        global_attention=kind,
        window_attention=kind,
        compile=compile,
    )
    batches = [images(2, 40, 30, seed) for seed in range(3)]
    kept = [fast.encode(batch) for batch in batches]  # a graph's memory is not handed out
    for batch, found in zip(batches, kept, strict=True):
        for one, other in zip(found, stock.encode(batch), strict=True):
            torch.testing.assert_close(one.features[0], other.features[0], rtol=0, atol=1e-4)
    assert accelerate_sam(small_sam).encode(batches[0])[0].features[0].dtype == torch.bfloat16


# The back end.


def test_contract(small_sam: Any, check_contract: Any) -> None:
    backend = accelerate_sam(small_sam)
    assert isinstance(backend, PromptableSegmenter)
    check_contract(backend)


def test_the_model_is_left_alone(small_sam: Any, untouched: Any, images: Any) -> None:
    small_sam.train()
    for options in ({}, {"dtype": torch.bfloat16}):
        with untouched(small_sam):
            backend = accelerate_sam(small_sam, **options)
            backend.encode(images(2, 40, 30))
    owner = nn.Sequential(nn.Linear(2, 2))
    owner.sam = backend
    assert len(list(owner.modules())) == 2


def test_exact_weights_are_shared(small_sam: Any) -> None:
    encoder = accelerate(small_sam.image_encoder)
    network: Any = encoder._ready.network
    given = {p.data_ptr() for p in small_sam.image_encoder.parameters()}
    copied = [name for name, p in network.named_parameters() if p.data_ptr() not in given]
    assert copied == []


@pytest.mark.parametrize("wrap", [lambda s: s, SamPredictor, SamAutomaticMaskGenerator])
def test_what_it_takes(small_sam: Any, wrap: Any, images: Any) -> None:
    backend = accelerate_sam(wrap(small_sam))
    assert backend.model is small_sam
    again = accelerate_sam(backend)
    assert torch.equal(*(sam.encode(images(1, 30, 40))[0].features[0] for sam in (backend, again)))


@pytest.fixture(scope="module")
def tiny() -> Any:
    sam = load_tiny_sam()
    sam.proposal_settings = replace(PROPOSALS, points_per_side=8)
    return sam


def refined(sam: Any, seed: int) -> np.ndarray:
    scene = street_scene(seed, size=(128, 256), domain="camera")
    noise = np.random.default_rng(seed).random(scene.label.shape) < 0.2
    label = np.where(noise, STREETS.id_of("road"), scene.label).astype(np.uint8)
    return seco.refine_pseudo_labels(scene.image, label, sam, label_space=STREETS)


def test_labels_are_the_same_in_float32(tiny: Any) -> None:
    fast = accelerate_sam(tiny, dtype=torch.float32)
    assert np.array_equal(refined(tiny, 300_000), refined(fast, 300_000))


def test_masks_agree_in_bfloat16(tiny: Any) -> None:
    """Mean IoU with float32's masks, of boxes around what the scenes show."""
    ious = []
    exact, fast = seco.load_sam(tiny), accelerate_sam(tiny, dtype=torch.bfloat16)
    for seed in (300_000, 300_001):
        scene = street_scene(seed, size=(256, 512), domain="camera")
        found = seco.connected_components(scene.label, min_area=100)
        boxes = torch.as_tensor(found.boxes).float()
        image = torch.from_numpy(scene.image).permute(2, 0, 1)[None]
        masks = [s.decode(s.encode(image)[0], boxes=boxes).logits > 0 for s in (exact, fast)]
        union = (masks[0] | masks[1]).sum((1, 2, 3))
        same = (masks[0] & masks[1]).sum((1, 2, 3))
        ious.append(same[union > 0] / union[union > 0])
    assert sum(map(len, ious)) > 50
    assert not all(bool((iou == 1).all()) for iou in ious)  # it is another precision
    assert float(torch.cat(ious).mean()) >= 0.99


def test_changed_weights_are_seen(small_sam: Any, images: Any) -> None:
    batch = images(1, 40, 40)
    fast = {dtype: accelerate_sam(small_sam, dtype=dtype) for dtype in (None, torch.bfloat16)}
    before = {dtype: sam.encode(batch)[0].features[0] for dtype, sam in fast.items()}

    def check() -> None:
        now = SegmentAnythingBackend(small_sam).encode(batch)[0].features[0].float()
        for dtype, sam in fast.items():
            found = sam.encode(batch)[0].features[0].float()
            error, change = (found - now).norm(), (before[dtype].float() - now).norm()
            assert error < (1e-3 if dtype is None else 0.2) * change
            before[dtype] = found

    with torch.no_grad():  # derived tables too
        small_sam.image_encoder.blocks[1].attn.rel_pos_h.mul_(-50)
    check()
    state = {k: v * 1.7 for k, v in small_sam.image_encoder.state_dict().items()}
    small_sam.image_encoder.load_state_dict(state)
    check()
    state = {k: -v for k, v in state.items()}
    small_sam.image_encoder.load_state_dict(state, assign=True)
    check()


def test_the_weights_own_dtype_is_followed(small_sam: Any, images: Any) -> None:
    fast = accelerate_sam(small_sam)
    small_sam.image_encoder.to(torch.bfloat16)
    found = fast.encode(images(1, 40, 40))[0].features[0]
    assert found.dtype == torch.bfloat16
    network: Any = fast._image_encoder._ready.network
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_a_copy_of_a_back_end_is_its_own(small_sam: Any, images: Any) -> None:
    batch = images(1, 40, 40)
    fast = accelerate_sam(small_sam)
    twin = copy.deepcopy(fast)
    expected = fast.encode(batch)[0].features[0]
    assert torch.equal(twin.encode(batch)[0].features[0], expected)
    with torch.no_grad():
        small_sam.image_encoder.blocks[0].attn.qkv.weight.zero_()
    assert torch.equal(twin.encode(batch)[0].features[0], expected)


def test_under_the_callers_settings(small_sam: Any, images: Any) -> None:
    batch = images(1, 40, 40)
    expected = accelerate_sam(small_sam).encode(batch)[0].features[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(accelerate_sam(small_sam).encode(batch)[0].features[0], expected)
    with torch.inference_mode():
        fast = accelerate_sam(small_sam)
    assert torch.equal(fast.encode(batch)[0].features[0], expected)
    with torch.device("meta"):
        fast = accelerate_sam(small_sam)
    assert torch.equal(fast.encode(batch)[0].features[0], expected)
    loss = nn.Conv2d(32, 1, 1)(fast.encode(batch)[0].features[0]).sum()
    loss.backward()  # its tensors may enter a loss


def test_manifests_tell_precisions_apart(small_sam: Any) -> None:
    stock = describe_model(SegmentAnythingBackend(small_sam))
    assert describe_model(accelerate_sam(small_sam)) == stock
    assert describe_model(accelerate_sam(small_sam, dtype=torch.float32)) == stock
    half = describe_model(accelerate_sam(small_sam, dtype=torch.bfloat16))
    assert half == f"{stock}, image_encoder in torch.bfloat16, accelerated"
    other = accelerate_sam(
        small_sam, dtype=torch.bfloat16, global_attention="channels", compile=True
    )
    said = "accelerated, global_attention channels, compiled"
    assert describe_model(other) == f"{stock}, image_encoder in torch.bfloat16, {said}"
    small_sam.image_encoder.to(torch.bfloat16)
    own = describe_model(SegmentAnythingBackend(small_sam))
    assert own.endswith("image_encoder in torch.bfloat16")
    assert describe_model(accelerate_sam(small_sam)) == f"{own}, accelerated"
