"""Prompting: every component asks SAM for its object with a box and reliable points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seco.aggregation.claims import ClaimCollector, Claims
from seco.aggregation.prompts import enlarge_boxes, representative_points
from seco.common.arrays import Array
from seco.components import Components
from seco.sam.inference import decode_several
from seco.sam.protocol import Embedding, PromptableSegmenter
from seco.settings import PSASettings


@dataclass(frozen=True)
class ImageComponents:
    """The components of an image that ask for their objects.

    Args:
        components: N connected components of ``label``.
        label: (H, W) int64; ids outside the classes do not vote.
        array: ``label`` as an array: it is not fetched again.
        embedding: of the image.
    """

    components: Components
    label: Tensor
    array: Array
    embedding: Embedding


def prompt_components(
    images: Sequence[ImageComponents],
    num_classes: int,
    segmenter: PromptableSegmenter,
    settings: PSASettings,
    ignore_index: int,
) -> list[Claims]:
    """Turn components into SAM's masks of the same objects.

    One box (the component's, enlarged) and its points make one prompt; all prompts, those about
    several images together, go through the decoder in chunks and are judged at its resolution: see
    :class:`seco.aggregation.claims.ClaimCollector`. What becomes of a component whose mask is not
    believed says :class:`seco.PSASettings`; its own pixels count as half in agreement.

    Args:
        images: one per image, of images of one size.
        num_classes: K.
        segmenter: that made the embeddings.
        settings: of the aggregation.
        ignore_index: the id of unlabelled pixels.

    Returns:
        Of each image, claims of its N masks, on the segmenter's device.

    Source: SeCo, section 3.2, interactions with box and point prompts.
    """
    chunks = _chunks([len(each.components) for each in images], settings.prompts_per_batch)
    prompts = [_prompts(each, segmenter.device, settings, ignore_index) for each in images]
    collected = [
        ClaimCollector(
            torch.from_numpy(image.components.ids).to(segmenter.device),
            asked.classes,
            asked.areas,
            image.label.to(segmenter.device),
            num_classes=num_classes,
            settings=settings,
        )
        for image, asked in zip(images, prompts, strict=True)
    ]
    for chunk in chunks:
        boxes = torch.cat([prompts[number].boxes[some] for number, some in chunk])
        points = torch.cat([prompts[number].points[some] for number, some in chunk])
        counts = [some.stop - some.start for _, some in chunk]
        answer = decode_several(
            segmenter,
            [images[number].embedding for number, _ in chunk],
            counts,
            boxes=boxes,
            points=points,
            point_labels=torch.ones(points.shape[:2], dtype=torch.int64, device=points.device),
        )
        masks = torch.split(answer.logits[:, 0], counts), torch.split(answer.scores[:, 0], counts)
        for (number, some), logits, scores in zip(chunk, *masks, strict=True):
            collected[number].take(some, logits, scores, answer.extent)
    return [each.claims() for each in collected]


class _Prompts(NamedTuple):
    """One image's prompts, as tensors of N rows, and what is known of their components."""

    boxes: Tensor
    points: Tensor
    classes: Tensor
    areas: Tensor


def _prompts(
    image: ImageComponents, device: torch.device, settings: PSASettings, ignore_index: int
) -> _Prompts:
    components, size = image.components, image.embedding.size
    boxes = torch.from_numpy(enlarge_boxes(components.boxes, settings.box_enlargement, size))
    points = torch.from_numpy(
        representative_points(
            components,
            image.array,
            method=settings.point,
            count=settings.points_per_prompt,
            ignore_index=ignore_index,
        )
    )
    # Edges of pixels become pixel indices, which is how SAM counts.
    limit = torch.tensor([size[1] - 1, size[0] - 1] * 2)
    boxes = (boxes - 0.5).clamp(min=0).minimum(limit)
    # One table, for every transfer waits for the device; float64 holds all of it exactly.
    numbers = torch.from_numpy(np.stack([components.classes, components.areas], axis=1))
    table = torch.cat([boxes, points.flatten(1), numbers.double()], dim=1).to(device)
    classes, areas = table[:, -2:].long().T.contiguous()
    return _Prompts(table[:, :4].float(), table[:, 4:-2].float().view(points.shape), classes, areas)


def _chunks(counts: Sequence[int], most: int) -> list[list[tuple[int, slice]]]:
    """Which prompts of which images are asked together: at most so many, in order.

    An image has no more passes than it would have alone, for there are segmenters that answer
    about one image at a time. Its own parts begin at multiples of ``most``.
    """
    chunks: list[list[tuple[int, slice]]] = []
    room = 0
    for image, count in enumerate(counts):
        if count > room:
            room = 0
        for start in range(0, count, most):
            some = slice(start, min(start + most, count))
            if not room:
                chunks.append([])
                room = most
            chunks[-1].append((image, some))
            room -= some.stop - some.start
    return chunks
