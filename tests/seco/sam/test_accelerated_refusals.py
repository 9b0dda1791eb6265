"""What the accelerated encoder refuses: whatever it would leave out of a changed encoder."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from seco.sam import accelerated_encoder
from seco.sam.accelerated_encoder import accelerate_sam


def subclass(encoder: Any) -> None:
    encoder.blocks[1].attn.__class__ = type("Own", (type(encoder.blocks[1].attn),), {})


def adapter(encoder: Any) -> None:
    encoder.blocks[0].attn.qkv = type("LoRA", (nn.Linear,), {})(32, 96)


def added_module(encoder: Any) -> None:
    encoder.blocks[0].side = nn.Linear(32, 32)


def added_weight(encoder: Any) -> None:
    encoder.blocks[0].gamma = nn.Parameter(torch.ones(32))


def added_buffer(encoder: Any) -> None:
    encoder.blocks[0].mlp.lin1.register_buffer("scale", torch.ones(1))


def hook(encoder: Any) -> None:
    encoder.neck[2].register_forward_hook(lambda *_: None)


def pre_hook(encoder: Any) -> None:
    encoder.register_forward_pre_hook(lambda *_: None)


def own_forward(encoder: Any) -> None:
    encoder.patch_embed.forward = lambda x: x


def parametrised(encoder: Any) -> None:
    nn.utils.parametrizations.weight_norm(encoder.blocks[0].mlp.lin2)


def other_activation(encoder: Any) -> None:
    encoder.blocks[0].mlp.act = nn.ReLU()


def other_norm(encoder: Any) -> None:
    encoder.blocks[0].norm1 = nn.Identity()


def overlapping(encoder: Any) -> None:
    encoder.patch_embed.proj.stride = (4, 4)


def dilated(encoder: Any) -> None:
    encoder.neck[2].dilation = (2, 2)


REFUSED = [
    (subclass, r"blocks\.1\.attn: expected segment_anything's own Attention, got .*Own"),
    (adapter, r"blocks\.0\.attn\.qkv: .*own Linear, got .*LoRA"),
    (added_module, r"blocks\.0: expected a plain Block, got one with side added"),
    (added_weight, r"blocks\.0: .*gamma added"),
    (added_buffer, r"blocks\.0\.mlp\.lin1: .*scale added"),
    (hook, r"neck\.2: expected a plain Conv2d, got one with a forward hook"),
    (pre_hook, r"sam\.image_encoder: .*ImageEncoderViT, got one with a forward hook"),
    (own_forward, r"patch_embed: .*a forward of its own"),
    (parametrised, r"lin2: .*ParametrizedLinear"),
    (other_activation, r"act: .*GELU, got ReLU"),
    (other_norm, r"norm1: .*LayerNorm, got Identity"),
    (overlapping, r"patch_embed\.proj: .*stride \(8, 8\), got \(4, 4\)"),
    (dilated, r"neck\.2: .*dilation \(1, 1\), got \(2, 2\)"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[c.__name__ for c, _ in REFUSED])
def test_refuses_what_it_would_leave_out(small_sam: Any, change: Any, message: str) -> None:
    change(small_sam.image_encoder)
    with pytest.raises(TypeError, match=message):
        accelerate_sam(small_sam)


LATER = [row for row in REFUSED if row[0] not in (overlapping, dilated)]  # these are no parts


@pytest.mark.parametrize(("change", "message"), LATER, ids=[c.__name__ for c, _ in LATER])
def test_refuses_what_comes_later(small_sam: Any, images: Any, change: Any, message: str) -> None:
    ready = accelerate_sam(small_sam)
    change(small_sam.image_encoder)
    with pytest.raises(TypeError, match=message):
        ready.encode(images(1, 20, 20))


def test_refuses_an_encoder_that_returns_more(
    small_sam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HQ-SAM's fork goes by the same names."""
    stock = ImageEncoderViT.forward
    monkeypatch.setattr(ImageEncoderViT, "forward", lambda self, x: (stock(self, x), []))
    with pytest.raises(TypeError, match=r"returns a tensor, got one that returns tuple"):
        accelerate_sam(small_sam)


def test_refuses_other_encoders(small_sam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = copy.deepcopy(small_sam)
    wrapped.image_encoder = nn.DataParallel(wrapped.image_encoder)
    wrapped.image_encoder.img_size = 64
    with pytest.raises(TypeError, match=r"own ImageEncoderViT, got DataParallel"):
        accelerate_sam(wrapped)
    monkeypatch.delitem(sys.modules, "segment_anything")
    with pytest.raises(TypeError, match=r"ImageEncoderViT, got segment_anything\.model"):
        accelerate_sam(small_sam)


class Own:
    device = torch.device("cpu")

    def encode(self, images: Tensor) -> Any: ...

    def decode(
        self,
        embedding: Any,
        *,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        multimask: bool = False,
    ) -> Any: ...


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": torch.int8}, ValueError, r"dtype: expected None or one of .*got .*int8"),
        ({"dtype": "bfloat16"}, ValueError, "dtype: .*'bfloat16'"),
        ({"global_attention": "flash"}, ValueError, "global_attention: .*'channels'.*'flash'"),
        ({"window_attention": None}, ValueError, "window_attention: .*None"),
        ({"compile": "fast"}, ValueError, "compile: .*'max-autotune'.*'fast'"),
        ({"compile": 1}, ValueError, "compile: .*got 1"),
    ],
)
def test_bad_options(
    small_sam: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        accelerate_sam(small_sam, **options)


def test_flex_needs_a_newer_torch(small_sam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated_encoder, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"'flex' needs torch 2\.5, got"):
        accelerate_sam(small_sam, window_attention="flex")


def test_refuses_other_kinds() -> None:
    with pytest.raises(TypeError, match="sam: expected a segment_anything Sam"):
        accelerate_sam(Own())
    with pytest.raises(TypeError, match="sam: expected a segment_anything Sam"):
        accelerate_sam("vit_h")
