"""Prompting with a decoder that answers on a coarse, padded grid, against plain loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import seco.aggregation.claims
from seco import Embedding, MaskLogits, PSASettings, connected_components
from seco.aggregation.prompting import ImageComponents, prompt_components
from seco.sam.masks import pixel_cells, upscale


def question(label, components):
    tensor = torch.from_numpy(label)
    return ImageComponents(components, tensor, label, Embedding(None, label.shape))


class Coarse:
    """Random smooth masks on a square grid of which the image fills a fractional part."""

    device = torch.device("cpu")

    def __init__(self, seed: int, size: tuple[int, int], cells: int = 8) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.extent = tuple(cells * side / max(size) for side in size)
        self.cells, self.answers = cells, []

    def decode(self, embedding, *, boxes, points, point_labels, multimask=False):
        assert points.shape == (len(boxes), 1, 2)
        assert (point_labels == 1).all()
        noise = torch.randn(len(boxes), 1, self.cells, self.cells, generator=self.generator)
        scores = torch.rand(len(boxes), 1, generator=self.generator)
        self.answers.append((noise[:, 0], scores[:, 0]))
        return MaskLogits(noise, scores, self.extent)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(3, 30),
    st.integers(3, 30),
    st.sampled_from(["component", "drop", "keep"]),
    st.sampled_from([1, 3, 64]),
    st.sampled_from([40, 1 << 21]),
)
def test_equals_plain_loops(seed, height, width, rejected, batch, pixels_per_pass):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (height // 3 + 1, width // 3 + 1)).repeat(3, 0).repeat(3, 1)
    label = label[:height, :width].copy()
    label[rng.random(label.shape) < 0.1] = 255
    components = connected_components(label, classes=(1, 2), min_area=2)
    options = PSASettings(
        prompts_per_batch=batch,
        thing_iou_thresh=0.3,
        thing_agreement=0.2,
        thing_coverage=0.3,
        rejected_things=rejected,
    )
    coarse = Coarse(seed, label.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seco.aggregation.claims, "PIXELS_PER_PASS", pixels_per_pass)
        (claims,) = prompt_components([question(label, components)], 4, coarse, options, 255)
    assert claims.classes.tolist() == components.classes.tolist()
    if not len(components):
        assert len(claims.pixel) == 0
        return
    logits = torch.cat([answer[0] for answer in coarse.answers])
    scores = torch.cat([answer[1] for answer in coarse.answers])
    cells = pixel_cells(coarse.extent, label.shape, torch.device("cpu")).numpy()
    columns = int(np.ceil(coarse.extent[1]))
    for index in range(len(components)):
        inside = np.zeros(label.shape, bool)
        for y in range(height):
            for x in range(width):
                row, column = divmod(int(cells[y, x]), columns)
                inside[y, x] = logits[index, row, column] > 0
        kind = components.classes[index]
        votes = label[inside & (label < 4)]
        agreement = (votes == kind).sum() / max(len(votes), 1)
        own = components.ids == index + 1
        coverage = (inside & own).sum() / own.sum()
        believed = scores[index] >= 0.3 and agreement >= 0.2 and coverage >= 0.3
        found = np.zeros(label.shape, bool)
        pixels = claims.pixel[claims.owner == index].numpy()
        found.flat[pixels] = True
        assert found.sum() == len(pixels)
        if believed:
            assert claims.agreements[index] == pytest.approx(agreement)
            strips = upscale(logits[index : index + 1], coarse.extent, label.shape)
            whole = torch.cat(list(strips), dim=1)[0].numpy()
            clear = np.abs(whole) > 1e-4
            np.testing.assert_array_equal(found[clear], (whole > 0)[clear])
        else:
            assert claims.agreements[index] == 0.5
            np.testing.assert_array_equal(found, own if rejected == "component" else own & False)
        kept = np.zeros(label.shape, bool)
        kept.flat[claims.kept_pixel[claims.kept_owner == index].numpy()] = True
        stays = rejected == "keep" and not believed
        np.testing.assert_array_equal(kept, own if stays else own & False)


class Everywhere(Coarse):
    """The whole image, whatever is asked."""

    def decode(self, embedding, *, boxes, points, point_labels, multimask=False):
        ones = torch.ones(len(boxes), 1, self.cells, self.cells)
        return MaskLogits(ones, ones[..., 0, 0], self.extent)


def test_claims_that_another_mask_outdoes_are_dropped(monkeypatch):
    """Speckles of one object get one mask: memory follows the image, not their number."""
    rng = np.random.default_rng(0)
    label = np.where(rng.random((40, 40)) < 0.3, rng.integers(0, 3, (40, 40)), 255)
    components = connected_components(label, connectivity=4)
    options = PSASettings(thing_agreement=0.0, thing_coverage=0.0, prompts_per_batch=16)

    def claims():
        asked = [question(label, components)]
        (found,) = prompt_components(asked, 3, Everywhere(0, label.shape), options, 255)
        return found

    def best(found):
        order = sorted(
            zip(found.pixel.tolist(), found.owner.tolist(), strict=True),
            key=lambda pair: (-found.agreements[pair[1]].item(), pair[1]),
        )
        winners = {}
        for pixel, owner in order:
            winners.setdefault((pixel, found.classes[owner].item()), owner)
        return winners

    everything = claims()
    assert len(everything.pixel) == len(components) * label.size
    monkeypatch.setattr(seco.aggregation.claims, "MOST_CLAIMS", 5000)
    monkeypatch.setattr(seco.aggregation.claims, "PIXELS_PER_PASS", 4000)
    reduced = claims()
    # Three classes claim every pixel; twice that may wait, and one more pass.
    assert len(reduced.pixel) <= 2 * 3 * label.size + 4000
    assert best(reduced) == best(everything)


def test_box_and_points_are_sams(monkeypatch):
    """The box in pixel indices, 1.5 times the area; the point on the component."""
    label = np.full((20, 20), 255)
    label[4:8, 10:12] = 1
    seen = {}

    class Listening(Coarse):
        def decode(self, embedding, **prompts):
            seen.update(prompts)
            return super().decode(embedding, **prompts)

    prompt_components(
        [question(label, connected_components(label))],
        2,
        Listening(0, (20, 20)),
        dataclasses.replace(PSASettings(), box_enlargement=4.0, point="centre"),
        255,
    )
    assert seen["boxes"].tolist() == [[8.5, 1.5, 12.5, 9.5]]
    assert seen["points"].tolist() == [[[10.5, 5.5]]]


class Answering(Coarse):
    """An answer that the image and the prompt decide, whoever else is asked beside it."""

    def decode(self, embedding, *, boxes, points, point_labels, multimask=False):
        self.answers.append(len(boxes))
        low, high = boxes[:, :2, None] / self.cells, boxes[:, 2:, None] / self.cells
        steps = torch.arange(self.cells) + embedding.features
        x, y = (((low[:, i] - steps).cos() + (high[:, i] * steps).sin()) for i in (0, 1))
        masks = x[:, None, :] + y[:, :, None]
        return MaskLogits(masks[:, None], masks.abs().mean(dim=(1, 2))[:, None], self.extent)


class AnsweringSeveral(Answering):
    """The same, for several images at a time."""

    def decode_several(self, embeddings, counts, *, boxes, points, point_labels, multimask=False):
        assert sum(counts) == len(boxes) == len(points) == len(point_labels)
        assert min(counts) > 0
        chunks = zip(
            embeddings, boxes.split(counts), points.split(counts), point_labels.split(counts),
            strict=True,
        )  # fmt: skip
        self.together = [*getattr(self, "together", []), list(counts)]
        answers = [
            super(AnsweringSeveral, self).decode(e, boxes=b, points=p, point_labels=n)
            for e, b, p, n in chunks
        ]
        return MaskLogits(
            torch.cat([answer.logits for answer in answers]),
            torch.cat([answer.scores for answer in answers]),
            self.extent,
        )


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from([1, 2, 7, 64]),
    st.sampled_from([Answering, AnsweringSeveral]),
)
def test_several_images_together_are_each_alone(seed, count, batch, kind):
    rng = np.random.default_rng(seed)
    options = PSASettings(
        prompts_per_batch=batch,
        thing_iou_thresh=0.5,
        thing_agreement=0.2,
        thing_coverage=0.2,
        rejected_things="keep",
    )
    questions = []
    for number in range(count):
        label = rng.integers(0, 4, (6, 9)).repeat(3, 0).repeat(3, 1)
        label[rng.random(label.shape) < rng.random()] = 255
        components = connected_components(label, classes=(1, 2) if number else (), min_area=2)
        tensor, place = torch.from_numpy(label), Embedding(float(number), label.shape)
        questions.append(ImageComponents(components, tensor, label, place))
    segmenter = kind(0, (18, 27))
    together = prompt_components(questions, 4, segmenter, options, 255)
    asked = [len(each.components) for each in questions]
    if kind is AnsweringSeveral and sum(asked) <= batch and np.count_nonzero(asked) > 1:
        assert segmenter.together == [[number for number in asked if number]]
    assert len(together) == count
    for each, found in zip(questions, together, strict=True):
        (alone,) = prompt_components([each], 4, Answering(0, (18, 27)), options, 255)
        for name, value in vars(alone).items():
            torch.testing.assert_close(getattr(found, name), value, rtol=0, atol=0)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 5))
def test_no_image_is_asked_about_more_often_than_alone(counts, batch):
    """A segmenter that answers about one image at a time has no more to do for a batch."""

    class Counting(Answering):
        def decode(self, embedding, **prompts):
            calls.append((embedding.features, len(prompts["boxes"])))
            return super().decode(embedding, **prompts)

    calls: list[tuple[float, int]] = []
    questions = []
    for number, count in enumerate(counts):
        label = np.full((3, 20), 255)
        label[1, 1 : 2 * count : 2] = 1
        components = connected_components(label, connectivity=4)
        assert len(components) == count
        place = Embedding(float(number), label.shape)
        questions.append(ImageComponents(components, torch.from_numpy(label), label, place))
    options = PSASettings(prompts_per_batch=batch, min_component_area=1)
    prompt_components(questions, 2, Counting(0, (3, 20)), options, 255)
    for number, count in enumerate(counts):
        own = [size for image, size in calls if image == number]
        assert own == [min(batch, count - start) for start in range(0, count, batch)]
