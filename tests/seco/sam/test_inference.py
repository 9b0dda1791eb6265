"""How a batch goes through an encoder."""

from __future__ import annotations

import pytest
import torch
from psa_oracle import ExactSegmenter
from torch import Tensor

import seco
from seco.sam.inference import decode_several, encode
from seco.sam.protocol import Embedding, MaskLogits


class Counting(ExactSegmenter):
    """Says that it is on some device, and counts the images of every pass."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.kind, self.passes = device, list[int]()

    @property
    def device(self) -> torch.device:
        return torch.device(self.kind)

    def encode(self, images: Tensor) -> list[Embedding]:
        self.passes.append(len(images))
        return list(super().encode(images))


@pytest.mark.parametrize(
    ("device", "bound", "passes"),
    [
        ("cpu", {"images_per_batch": 4}, [1, 1, 1, 1, 1]),
        ("cuda", {}, [4, 1]),
        ("cuda", {"images_per_batch": 2}, [2, 2, 1]),
        ("cuda", {"images_per_batch": 9}, [5]),
    ],
)
def test_a_pass_is_bounded(device: str, bound: dict[str, int], passes: list[int]) -> None:
    images = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
    segmenter = Counting(device)
    found = encode(images, segmenter, **bound)
    assert segmenter.passes == passes
    for embedding, image in zip(found, images, strict=True):
        assert torch.equal(embedding.features, image[0].long())
    assert encode(images[:0], segmenter, **bound) == []


class Reached(Exception):
    pass


def test_the_bound_of_a_call_reaches_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def spy(images: Tensor, segmenter: object, *, images_per_batch: int) -> list[Embedding]:
        raise Reached(images_per_batch)

    monkeypatch.setattr("seco.refine.encode", spy)
    monkeypatch.setattr("seco.sam.proposals.encode", spy)
    images, labels = torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    sam, settings = ExactSegmenter(), seco.PSASettings(images_per_batch=3)
    with pytest.raises(Reached, match="3"):
        seco.refine_pseudo_labels(images, labels, sam, settings=settings)
    with pytest.raises(Reached, match="2"):
        seco.propose_regions(images, sam, images_per_batch=2)
    with pytest.raises(ValueError, match="images_per_batch: expected"):
        seco.propose_regions(images, sam, images_per_batch=0)


def test_the_callers_default_device_changes_nothing():
    sam = seco.load_sam("tiny")
    image = torch.arange(3 * 24 * 40, dtype=torch.uint8).view(1, 3, 24, 40)
    label = (torch.arange(24 * 40) % 3).view(1, 24, 40)
    (plain,) = encode(image, sam)
    expected = seco.refine_pseudo_labels(image, label, sam, outside="keep")
    torch.set_default_device("meta")  # as "cuda": not the device of anything here
    try:
        (found,) = encode(image, sam)
        refined = seco.refine_pseudo_labels(image, label, sam, outside="keep")
    finally:
        torch.set_default_device(None)
    for one, other in zip(found.features, plain.features, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(refined, expected)


class Telling:
    """Answers with who was asked."""

    device = torch.device("cpu")

    def encode(self, images: Tensor) -> list[Embedding]:
        return [Embedding(float(number), (4, 4)) for number in range(len(images))]

    def decode(self, embedding: Embedding, *, boxes: Tensor, **_: object) -> MaskLogits:
        return self.answer(len(boxes), embedding.features)

    @staticmethod
    def answer(count: int, said: float) -> MaskLogits:
        return MaskLogits(torch.full((count, 1, 2, 2), said), torch.ones(count, 1), (2.0, 2.0))


class TellingOfSeveral(Telling):
    def decode_several(
        self, embeddings: list[Embedding], counts: list[int], *, boxes: Tensor, **_: object
    ) -> MaskLogits:
        return self.answer(len(boxes), 99.0)


class Changed(TellingOfSeveral):
    def decode(self, embedding: Embedding, *, boxes: Tensor, **_: object) -> MaskLogits:
        return self.answer(len(boxes), -1.0)


class Wrapped:
    """Passes on what it does not know."""

    def __init__(self) -> None:
        self.inner = TellingOfSeveral()

    def decode(self, embedding: Embedding, **prompts: Tensor) -> MaskLogits:
        return self.inner.decode(embedding, **prompts)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class ChangedAgain(Changed, TellingOfSeveral):
    decode_several = TellingOfSeveral.decode_several


def patched() -> TellingOfSeveral:
    own = TellingOfSeveral()
    own.decode = Telling().decode
    return own


@pytest.mark.parametrize(
    ("segmenter", "said"),
    [
        (Telling(), [0, 0, 2]),
        (TellingOfSeveral(), [99, 99, 99]),
        (ChangedAgain(), [99, 99, 99]),
        (Changed(), [-1, -1, -1]),
        (Wrapped(), [0, 0, 2]),
        (patched(), [0, 0, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_several_images_are_asked_at_once_where_nothing_is_left_out(
    segmenter: Telling, said: list[int]
) -> None:
    embeddings, boxes = Telling().encode(torch.zeros(3)), torch.zeros(3, 4)
    answer = decode_several(segmenter, embeddings, [2, 0, 1], boxes=boxes)
    assert answer.logits[:, 0, 0, 0].tolist() == said
    assert answer.scores.shape == (3, 1)
    alone = decode_several(segmenter, embeddings[2:], [3], boxes=boxes)
    assert alone.logits[:, 0, 0, 0].unique().tolist() == [
        -1 if isinstance(segmenter, Changed) else 2
    ]
    with pytest.raises(ValueError, match=r"counts: .* 3, none negative, 3 in all, got \[2, 0, 2\]"):
        decode_several(segmenter, embeddings, [2, 0, 2], boxes=boxes)
    for wrong in ({}, {"boxes": boxes, "points": torch.zeros(2, 1, 2)}):
        with pytest.raises(ValueError, match="boxes, points: expected at least one of them"):
            decode_several(segmenter, embeddings, [2, 0, 1], **wrong)
