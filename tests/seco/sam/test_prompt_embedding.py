"""Prompts embedded without looking at them, against segment_anything's own prompt encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from seco.sam.inputs import Prompts
from seco.sam.prompt_embedding import embed_prompts, is_stock_prompt_encoder
from seco.sam.segment_anything import SegmentAnythingBackend


def prompts_of(count: int, points: int, boxes: bool) -> Prompts:
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 4, generator=generator) * 60
    places = torch.rand(count, points, 2, generator=generator) * 60
    labels = torch.randint(0, 2, (count, points), generator=generator)
    return Prompts(corners if boxes else None, *((places, labels) if points else (None, None)))


@pytest.mark.parametrize(
    ("points", "boxes"), [(1, True), (3, True), (1, False), (2, False), (0, True)]
)
@torch.no_grad()
def test_equals_the_modules_own_forward(small_sam: Any, points: int, boxes: bool) -> None:
    encoder = small_sam.prompt_encoder
    for weight in encoder.parameters():
        weight.normal_(generator=torch.Generator().manual_seed(weight.numel()))
    prompts = prompts_of(5, points, boxes)
    given = (prompts.points, prompts.point_labels) if points else None
    expected = encoder(points=given, boxes=prompts.boxes, masks=None)
    assert is_stock_prompt_encoder(encoder)
    for found, other in zip(embed_prompts(encoder, prompts), expected, strict=True):
        assert torch.equal(found, other)


def another_class(encoder: Any) -> None:
    encoder.__class__ = type("Own", (type(encoder),), {})


def another_layer(encoder: Any) -> None:
    encoder.point_embeddings[1] = type("LoRA", (nn.Embedding,), {})(1, encoder.embed_dim)


def hooked(encoder: Any) -> None:
    encoder.pe_layer.register_forward_hook(lambda *given: None)


def own_forward(encoder: Any) -> None:
    own = encoder.forward
    encoder.forward = lambda **given: own(**given)


def own_places(encoder: Any) -> None:
    own = encoder.pe_layer._pe_encoding
    encoder.pe_layer._pe_encoding = lambda places: own(places)


def own_points(encoder: Any) -> None:
    own = encoder._embed_points
    encoder._embed_points = lambda *given, **named: own(*given, **named)


@pytest.mark.parametrize(
    "change", [another_class, another_layer, hooked, own_forward, own_places, own_points]
)
def test_others_run_their_own(small_sam: Any, change: Any) -> None:
    embedding = SegmentAnythingBackend(small_sam).encode(torch.zeros(1, 3, 16, 16))[0]
    points, labels = torch.ones(2, 1, 2), torch.ones(2, 1, dtype=torch.int64)
    backend = SegmentAnythingBackend(small_sam)
    expected = backend.decode(embedding, points=points, point_labels=labels)
    change(small_sam.prompt_encoder)
    assert not is_stock_prompt_encoder(small_sam.prompt_encoder)
    called = []
    own = small_sam.prompt_encoder.forward
    small_sam.prompt_encoder.forward = lambda **given: called.append(1) or own(**given)
    found = backend.decode(embedding, points=points, point_labels=labels)
    assert called
    if change is not another_layer:
        assert torch.equal(found.logits, expected.logits)
