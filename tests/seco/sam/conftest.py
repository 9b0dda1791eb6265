"""Small models of the real architectures, and what every back end must leave alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.sam.inference import decode_several

SIDE = 64


def _small_sam() -> Any:
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = Sam(
            image_encoder=ImageEncoderViT(
                img_size=SIDE,
                patch_size=8,
                embed_dim=32,
                depth=2,
                num_heads=2,
                out_chans=32,
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=3,
                global_attn_indexes=(1,),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=32,
                image_embedding_size=(8, 8),
                input_image_size=(SIDE, SIDE),
                mask_in_chans=4,
            ),
            mask_decoder=MaskDecoder(
                num_multimask_outputs=3,
                transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
                transformer_dim=32,
                iou_head_depth=2,
                iou_head_hidden_dim=32,
            ),
        )
        _enliven(sam)
    return sam.eval()


def _enliven(model: nn.Module) -> None:
    """Draw weights that carry signal through; usual initial ones answer almost nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel() if "embed" not in name else 1
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise / fan_in**0.5)


@pytest.fixture(scope="session")
def enliven() -> Callable[[nn.Module], None]:
    return _enliven


@pytest.fixture(scope="session")
def small_sam_once() -> Any:
    return _small_sam()


@pytest.fixture
def small_sam(small_sam_once: Any) -> Any:
    return copy.deepcopy(small_sam_once)


@pytest.fixture
def images() -> Callable[..., torch.Tensor]:
    """Seeded uint8 batches with structure at several scales."""

    def make(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (batch, 3, height // 7 + 1, width // 7 + 1))
        image = coarse.repeat(7, axis=2).repeat(7, axis=3)[:, :, :height, :width]
        image = image + rng.integers(-20, 21, image.shape)
        return torch.from_numpy(image.clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture
def prompts() -> Callable[..., dict[str, torch.Tensor]]:
    """Seeded prompts inside an image: ``kind`` is boxes, points or both."""

    def make(kind: str, count: int, height: int, width: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(1)
        corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * [width, height]
        points = rng.uniform(0, 1, (count, 2, 2)) * [width, height]
        made: dict[str, torch.Tensor] = {}
        if kind in ("boxes", "both"):
            made["boxes"] = torch.from_numpy(corners.reshape(count, 4)).float()
        if kind in ("points", "both"):
            made["points"] = torch.from_numpy(points).float()
            made["point_labels"] = torch.tensor([[1, 0]] * count)
        return made

    return make


def _snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything an inattentive wrapper could change about a model."""
    return {
        "flags": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "leaves": [
            (k, p.requires_grad, p.dtype, p.data_ptr()) for k, p in model.named_parameters()
        ],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
    }


@pytest.fixture
def untouched() -> Callable[[nn.Module], Any]:
    """Context in which neither a model nor the global random state may change."""

    @contextmanager
    def check(model: nn.Module) -> Any:
        before, rng = _snapshot(model), (torch.get_rng_state(), random.getstate())
        yield
        after = _snapshot(model)
        for key in ("flags", "attributes", "leaves", "hooks"):
            assert before[key] == after[key], key
        for name, value in before["state"].items():
            assert torch.equal(value, after["state"][name]), name
        assert torch.equal(torch.get_rng_state(), rng[0])
        assert random.getstate() == rng[1]
        assert all(p.grad is None for p in model.parameters())

    return check


def _contract(backend: Any, make_images: Any, make_prompts: Any, untouched: Any) -> None:
    height, width = 45, 70
    batch = make_images(3, height, width)
    given = make_prompts("both", 4, height, width)
    with untouched(backend.model):
        together = backend.encode(batch)
        plain = [backend.decode(e, **given, multimask=True) for e in together]
    assert [e.size for e in together] == [(height, width)] * 3

    # A batch is its images, one after the other.
    for image, answer in zip(batch, plain, strict=True):
        alone = backend.decode(backend.encode(image[None])[0], **given, multimask=True)
        torch.testing.assert_close(alone.logits, answer.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.scores, answer.scores, atol=1e-5, rtol=1e-4)
    # Prompts about several images are those about each.
    counts = [3, 0, 1]
    joined = decode_several(backend, together, counts, **given, multimask=True)
    parts = [slice(0, 3), slice(0, 0), slice(3, 4)]
    for index, some in enumerate(parts):
        if counts[index]:
            own = {name: value[some] for name, value in given.items()}
            alone = backend.decode(together[index], **own, multimask=True)
            torch.testing.assert_close(joined.logits[some], alone.logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(joined.scores[some], alone.scores, atol=1e-5, rtol=1e-4)
            assert joined.extent == alone.extent

    # Different pictures and prompts, different answers: comparisons here can fail.
    assert plain[0].logits.std() > 0.1
    assert (plain[0].logits - plain[1].logits).std() > 0.02
    assert plain[0].logits.std(dim=0).mean() > 0.02

    # Shapes, dtypes, and tensors that may enter a loss.
    answer = plain[0]
    count, masks, *_ = answer.logits.shape
    assert count == 4
    assert answer.scores.shape == (count, masks)
    assert answer.logits.dtype == answer.scores.dtype == torch.float32
    assert not answer.logits.requires_grad
    assert not answer.scores.is_inference()
    assert all(
        0 < e <= side for e, side in zip(answer.extent, answer.logits.shape[2:], strict=True)
    )

    # The image's dtype does not matter, and nor does autocast or the training flag.
    def run(images: torch.Tensor) -> Any:
        return backend.decode(backend.encode(images)[0], **given, multimask=True)

    reference = run(batch[:1])
    assert torch.equal(run(batch[:1].float()).logits, reference.logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(batch[:1]).logits, reference.logits)
        assert torch.is_autocast_enabled("cpu")
    children = list(backend.model.children())
    backend.model.train()
    children[0].eval()  # a partly frozen model must come back partly frozen
    with untouched(backend.model):
        assert torch.equal(run(batch[:1]).logits, reference.logits)
    backend.model.eval()
    assert torch.is_grad_enabled()

    # Its embedding serves as features for the correction: of this image alone, alike every time.
    extractor = SegmenterExtractor(backend)
    with untouched(backend.model):
        level, again, other = (extractor(batch[index])[0] for index in (0, 0, 1))
    assert torch.equal(level.values, again.values)
    assert (level.values - other.values).std() > 0.02
    assert not level.values.requires_grad
    _, rows, columns = level.values.shape
    shown = level.extent[0] / rows, level.extent[1] / columns
    padded, squeezed = (round(SIDE * height / width) / SIDE, 1), (1, 1)
    assert any(shown == pytest.approx(expected) for expected in (padded, squeezed))

    # Half the precision: the answer stays float32 and close.
    backend.model.bfloat16()
    with untouched(backend.model):
        rough = run(batch[:1])
    assert rough.logits.dtype == torch.float32
    agreement = ((rough.logits > 0) == (reference.logits > 0)).float().mean()
    assert agreement > 0.9
    backend.model.float()


@pytest.fixture
def check_contract(images: Any, prompts: Any, untouched: Any) -> Callable[[Any], None]:
    """What the protocol asks of every back end, checked on one of them."""
    return lambda backend: _contract(backend, images, prompts, untouched)
