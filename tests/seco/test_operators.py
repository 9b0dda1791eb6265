"""Nothing is done component by component: launches and looks at the device are as many for few.

Counted on the CPU, where what a GPU would wait for is called by the same names.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from operators import Launches
from torch import Tensor

import seco
import seco.aggregation.aggregating
from seco import LabelSpace, ProposalSettings, PSASettings, Regions
from seco.components import connected_components
from seco.sam import masks
from seco.sam.protocol import Embedding, MaskLogits

SPACE = LabelSpace(names=("road", "sky", "car", "person"), things=("car", "person"))
SIDE = 96
ONE_CHUNK = PSASettings(prompts_per_batch=1000, min_component_area=1)
EVERY_POINT = ProposalSettings(points_per_batch=1000, skip_covered=False)


class Squares:
    """A segmenter that answers with boxes; what it does itself is not counted."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.launches: Launches | None = None
        self.decoded: list[int] = []

    def encode(self, images: Tensor) -> list[Embedding]:
        height, width = images.shape[-2:]
        return [Embedding(None, (height, width)) for _ in images]

    def decode(
        self, embedding, *, boxes=None, points=None, point_labels=None, multimask=False
    ) -> MaskLogits:
        with nullcontext() if self.launches is None else self.launches.paused():
            if boxes is None:
                boxes = torch.cat([points[:, 0] - 3, points[:, 0] + 3], dim=1)
            self.decoded.append(len(boxes))
            cells = (torch.arange(64) + 0.5) * (SIDE / 64)
            across = (cells > boxes[:, :1]) & (cells < boxes[:, 2:3])
            down = (cells > boxes[:, 1:2]) & (cells < boxes[:, 3:])
            inside = down[:, :, None] & across[:, None, :]
            logits = torch.where(inside, 9.0, -9.0)[:, None]
            return MaskLogits(logits, torch.ones(len(boxes), 1), (64.0, 64.0))


def label_of(count: int) -> Tensor:
    """So many small things on a road."""
    label = np.zeros((SIDE, SIDE), np.uint8)
    places = [(y, x) for y in range(2, SIDE - 4, 5) for x in range(2, SIDE - 4, 5)]
    for number, (y, x) in enumerate(places[:count]):
        label[y : y + 3, x : x + 3] = 2 + number % 2
    return torch.from_numpy(label)


def vote(count: int, sam: Squares) -> None:
    label = label_of(count)
    regions = Regions.from_label_map(torch.from_numpy(connected_components(label.numpy()).ids))
    assert len(regions) == count + 1
    with counted(sam):
        seco.refine_pseudo_labels(None, label, regions=regions, label_space=SPACE)


def prompt(count: int, sam: Squares) -> None:
    regions = Regions.from_label_map(torch.ones(SIDE, SIDE, dtype=torch.int64))
    image, label = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), label_of(count)
    with counted(sam):
        refined = seco.refine_pseudo_labels(
            image, label, sam, regions=regions, label_space=SPACE, settings=ONE_CHUNK
        )
    assert sam.decoded == [count]
    assert int((refined > 1).sum()) > 0


def propose(count: int, sam: Squares) -> None:
    image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    settings = replace(EVERY_POINT, points_per_side=round(count**0.5))
    with counted(sam):
        regions = seco.propose_regions(image, sam, settings=settings)
    assert len(regions) == count
    assert sam.decoded == [count]


def counted(sam: Squares):
    sam.launches = Launches()
    return sam.launches.counting()


def measured(call, count: int) -> Launches:
    sam = Squares()
    call(count, sam)
    assert sam.launches is not None
    return sam.launches


@pytest.mark.parametrize(
    ("call", "few", "many", "waits"),
    [(vote, 10, 250, 5), (prompt, 10, 250, 21), (propose, 16, 64, 8)],
)
def test_many_components_cost_no_more_launches_than_few(call, few, many, waits, monkeypatch):
    monkeypatch.setattr(masks, "PIXELS_PER_STRIP", 1 << 24)  # all masks in one pass
    for count in (few, many):  # imports and caches of the first call
        measured(call, count)
    less, more = (measured(call, count) for count in (few, many))
    assert more.operators == less.operators
    assert more.lines == less.lines
    assert more.waits == less.waits
    assert more.waits.total() <= waits


def test_sorting_atoms_costs_more_only_by_the_logarithm(monkeypatch):
    """Sixty-four regions make a word, and words are ranked in pairs."""
    monkeypatch.setattr(masks, "PIXELS_PER_STRIP", 1 << 24)
    once, twice, thrice = (measured(propose, count) for count in (81, 196, 324))
    steps = [
        (b.operators - a.operators).total() for a, b in ((once, twice), (twice, thrice))
    ]  # of 2, 4 and 6 words
    assert 0 < steps[0] < 40
    assert 0 < steps[1] < 40
    assert once.waits == thrice.waits


def test_a_decode_is_waited_for_twice():
    """Are the prompts numbers, and is the answer?"""
    sam = seco.load_sam("tiny")
    embedding = sam.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))[0]
    points = torch.ones(5, 1, 2)
    prompts = {"points": points, "point_labels": torch.ones(5, 1, dtype=torch.int64)}
    for more in ({}, {"boxes": torch.tensor([[1.0, 2, 9, 9]]).expand(5, 4)}):
        launches = Launches()
        with launches.counting():
            sam.decode(embedding, **prompts, **more)
        assert launches.waits.total() == 2


class SquaresOfSeveral(Squares):
    """The same, for several images at a time."""

    def decode_several(self, embeddings, counts, **prompts) -> MaskLogits:
        assert len(embeddings) == len(counts)
        return self.decode(embeddings[0], **prompts)


def test_the_things_of_a_batch_are_asked_in_one_pass(monkeypatch):
    counts = (3, 0, 12, 1)
    labels = torch.stack([label_of(count) for count in counts])
    regions = [Regions.from_label_map(torch.ones(SIDE, SIDE, dtype=torch.int64))] * len(counts)
    images = torch.zeros(len(counts), 3, SIDE, SIDE, dtype=torch.uint8)

    def refine(sam: Squares) -> Tensor:
        return seco.refine_pseudo_labels(
            images, labels, sam, regions=regions, label_space=SPACE, settings=ONE_CHUNK
        )

    one_by_one, together = Squares(), SquaresOfSeveral()
    expected = refine(one_by_one)
    assert one_by_one.decoded == [3, 12, 1]
    monkeypatch.setattr(seco.aggregation.aggregating, "images_at_once", lambda *_: len(counts))
    assert torch.equal(refine(together), expected)
    assert together.decoded == [16]
