"""The shared decoder against segment_anything's own forward, on random weights and prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

import seco.sam.segment_anything
from seco.sam.segment_anything import SegmentAnythingBackend
from seco.sam.shared_decoder import CPU_BATCH, decode_shared, is_shared_decoder
from seco.sam.tiny import load_tiny_sam


def make_decoder(*, channels: int, heads: int, depth: int, outputs: int, rate: int) -> Any:
    transformer = TwoWayTransformer(depth, channels, heads, 2 * channels, nn.ReLU, rate)
    decoder = MaskDecoder(
        transformer_dim=channels,
        transformer=transformer,
        num_multimask_outputs=outputs,
        iou_head_hidden_dim=16,
    )
    for parameter in decoder.parameters():  # norms and biases must matter too
        parameter.data += 0.2 * torch.randn_like(parameter)
    return decoder.eval()


def both(
    decoder: Any, size: tuple[int, int], prompts: int, tokens: int, multimask: bool
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    channels, dtype = decoder.transformer_dim, decoder.iou_token.weight.dtype
    image, place = torch.randn(2, 1, channels, *size, dtype=dtype)
    no_mask = torch.randn(1, channels, 1, 1, dtype=dtype)
    sparse = torch.randn(prompts, tokens, channels, dtype=dtype)
    with torch.no_grad():
        stock = decoder(
            image_embeddings=image,
            image_pe=place,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=no_mask.expand(prompts, -1, *size),
            multimask_output=multimask,
        )
        chosen = slice(1, None) if multimask else slice(0, 1)
        shared = decode_shared(decoder, image + no_mask, place, sparse, chosen=chosen)
    return stock, shared


@given(
    channels=st.sampled_from([16, 32]),
    heads=st.sampled_from([1, 2, 4]),
    depth=st.integers(1, 3),
    outputs=st.integers(1, 3),
    rate=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    prompts=st.integers(1, 2 * CPU_BATCH + 1),
    tokens=st.integers(1, 4),
    multimask=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_equals_stock_forward(
    channels: int,
    heads: int,
    depth: int,
    outputs: int,
    rate: int,
    size: tuple[int, int],
    prompts: int,
    tokens: int,
    multimask: bool,
    seed: int,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = make_decoder(
            channels=channels, heads=heads, depth=depth, outputs=outputs, rate=rate
        ).double()
        stock, shared = both(decoder, size, prompts, tokens, multimask)
    assert is_shared_decoder(decoder)
    for expected, found in zip(stock, shared, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(
    counts=st.lists(st.integers(0, CPU_BATCH + 3), min_size=1, max_size=4).filter(any),
    depth=st.integers(1, 3),
    multimask=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_several_images_are_each_alone(
    counts: list[int], depth: int, multimask: bool, seed: int
) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        decoder = make_decoder(channels=16, heads=2, depth=depth, outputs=2, rate=2).double()
        images = torch.randn(len(counts), 16, 3, 4, dtype=torch.float64)
        place = torch.randn(1, 16, 3, 4, dtype=torch.float64)
        sparse = torch.randn(sum(counts), 2, 16, dtype=torch.float64)
        chosen = slice(1, None) if multimask else slice(0, 1)
        together = decode_shared(decoder, images, place, sparse, counts=counts, chosen=chosen)
        alone = [
            decode_shared(decoder, image[None], place, some, chosen=chosen)
            for image, some in zip(images, sparse.split(counts), strict=True)
            if len(some)
        ]
    for found, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_real_size() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = make_decoder(channels=256, heads=8, depth=2, outputs=3, rate=2)
        stock, shared = both(decoder, (16, 16), 3, 2, True)
    for expected, found in zip(stock, shared, strict=True):
        assert float((found - expected).abs().mean() / expected.abs().mean()) < 1e-4


def bfloat16_errors(seed: int) -> Tensor:
    """(2, 2): of masks and of predicted IoUs, the mean error of ours and of the stock forward."""
    torch.manual_seed(seed)
    decoder = make_decoder(channels=64, heads=4, depth=2, outputs=3, rate=2).bfloat16()
    drawn = torch.get_rng_state()
    stock, shared = both(decoder, (8, 8), 16, 2, True)
    torch.set_rng_state(drawn)
    image, place = torch.randn(2, 1, 64, 8, 8, dtype=torch.bfloat16).float()
    no_mask = torch.randn(1, 64, 1, 1, dtype=torch.bfloat16).float()
    sparse = torch.randn(16, 2, 64, dtype=torch.bfloat16).float()
    with torch.no_grad():
        exact = decode_shared(
            decoder.float(), image + no_mask, place, sparse, chosen=slice(1, None)
        )
    assert all(one.dtype == torch.bfloat16 for one in shared)
    return torch.stack(
        [
            torch.stack([(found.float() - expected).abs().mean() for found in pair])
            for expected, *pair in zip(exact, shared, stock, strict=True)
        ]
    )


def test_bfloat16_is_no_less_exact_than_the_stock_forward() -> None:
    with torch.random.fork_rng():  # of a single decoder either may be luckier, by a half
        errors = torch.stack([bfloat16_errors(seed) for seed in range(16)]).mean(0)
    assert (errors[:, 0] < 1.05 * errors[:, 1]).all()


def test_gradients_equal_the_stock_forward() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        decoder = make_decoder(channels=16, heads=2, depth=2, outputs=3, rate=2).double()
        image, place = torch.randn(2, 1, 16, 3, 4, dtype=torch.float64)
        sparse = torch.randn(10, 2, 16, dtype=torch.float64)
        weight = torch.randn(10, 4, 12, 16, dtype=torch.float64)
    inputs = [image.requires_grad_(), *decoder.parameters()]
    gradients = []
    for masks, scores in (
        decoder.predict_masks(image, place, sparse, torch.zeros(10, 16, 3, 4)),
        decode_shared(decoder, image, place, sparse),
    ):
        loss = (masks * weight).sum() + scores.square().sum()
        gradients.append(torch.autograd.grad(loss, inputs))
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def lora(decoder: Any) -> None:
    class Adapter(nn.Linear):
        pass

    decoder.transformer.layers[0].self_attn.q_proj = Adapter(16, 16)


def hook(decoder: Any) -> None:
    decoder.transformer.register_forward_hook(lambda *_: None)


def patch(decoder: Any) -> None:
    decoder.forward = lambda **_: None


def other_activation(decoder: Any) -> None:
    decoder.output_upscaling[2] = nn.ReLU()


def approximate(decoder: Any) -> None:
    decoder.output_upscaling[4] = nn.GELU(approximate="tanh")


@pytest.mark.parametrize("change", [lora, hook, patch, other_activation, approximate])
def test_refuses_what_it_does_not_compute(change: Any) -> None:
    decoder = make_decoder(channels=16, heads=2, depth=1, outputs=3, rate=2)
    assert is_shared_decoder(decoder)
    change(decoder)
    assert not is_shared_decoder(decoder)


def test_refuses_other_classes() -> None:
    class Own(MaskDecoder):
        pass

    transformer = TwoWayTransformer(1, 16, 2, 32)
    assert not is_shared_decoder(Own(transformer_dim=16, transformer=transformer))
    assert not is_shared_decoder(nn.Linear(2, 2))


@pytest.mark.parametrize("multimask", [True, False])
def test_back_end_answers_alike(multimask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SegmentAnythingBackend(load_tiny_sam())
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (1, 3, 48, 80), generator=generator).float()
    (embedding,) = backend.encode(image)
    boxes = torch.tensor([[4.0, 5.0, 30.0, 40.0], [0.0, 0.0, 79.0, 47.0], [50.0, 9.0, 60.0, 12.0]])
    shared = backend.decode(embedding, boxes=boxes, multimask=multimask)
    monkeypatch.setattr(seco.sam.segment_anything, "is_shared_decoder", lambda _: False)
    stock = backend.decode(embedding, boxes=boxes, multimask=multimask)
    torch.testing.assert_close(shared.logits, stock.logits, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(shared.scores, stock.scores, rtol=1e-4, atol=1e-4)
    assert shared.extent == stock.extent
