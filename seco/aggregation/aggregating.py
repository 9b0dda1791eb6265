"""Pixel Semantic Aggregation (PSA) of images: align stuff, prompt things, merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.aggregation.alignment import NamedRegions, name_regions
from seco.aggregation.claims import Claims
from seco.aggregation.merging import Merged, merge
from seco.aggregation.prompting import ImageComponents, prompt_components
from seco.common.labels import LabelSpace
from seco.common.tables import join
from seco.components import connected_components
from seco.connectivities import Connectivities
from seco.regions import Regions
from seco.sam.inference import images_at_once
from seco.sam.proposals import regions_of_image
from seco.sam.protocol import Embedding, PromptableSegmenter
from seco.settings import PSASettings


@dataclass(frozen=True)
class Aggregated:
    """The aggregation of one image; see :class:`seco.Refinement` for the fields."""

    label: Tensor
    score: Tensor
    decided: Tensor
    connectivities: Connectivities


@dataclass(frozen=True)
class ToAggregate:
    """One image, and what is known about it.

    Args:
        selected: (H, W) int64, the confident pixels' labels, which vote and prompt; the others
            hold the label space's ``ignore_index``.
        own: (H, W) int64, every pixel's own label.
        confidence: (H, W) float32 in [0, 1] of ``own``, if known.
        regions: known regions; found with the segmenter if ``None``.
        image: (3, H, W), as it was encoded.
        embedding: of the image; ``None`` where :func:`needs_embedding` says so.
    """

    selected: Tensor
    own: Tensor
    confidence: Tensor | None
    regions: Regions | None
    image: Tensor | None
    embedding: Embedding | None


def aggregate(
    images: Sequence[ToAggregate],
    label_space: LabelSpace,
    settings: PSASettings,
    *,
    segmenter: PromptableSegmenter | None,
) -> list[Aggregated]:
    """Aggregate images; on a GPU the prompts about several are answered together.

    Args:
        images: of one size and device.
        label_space: the classes, and which are things.
        settings: see :class:`seco.PSASettings`.
        segmenter: that made the embeddings; without one the regions name things too, since there
            is nobody to prompt.

    Source: SeCo, section 3.2.
    """
    step = 1 if segmenter is None else images_at_once(segmenter, settings.images_per_batch)
    parts = [images[start : start + step] for start in range(0, len(images), step)]
    return [
        aggregated
        for part in parts
        for aggregated in _aggregate_together(part, label_space, settings, segmenter)
    ]


def _aggregate_together(
    images: Sequence[ToAggregate],
    label_space: LabelSpace,
    settings: PSASettings,
    segmenter: PromptableSegmenter | None,
) -> list[Aggregated]:
    named, prompted = _roles(label_space, settings, can_prompt=segmenter is not None)
    regions = [_regions(image, named, settings, segmenter) for image in images]
    claims = _prompt(images, prompted, label_space, settings, segmenter)
    return [
        _merge(image, of_image, named, claimed, label_space.num_classes, settings)
        for image, of_image, claimed in zip(images, regions, claims, strict=True)
    ]


def _regions(
    image: ToAggregate,
    named: tuple[int, ...],
    settings: PSASettings,
    segmenter: PromptableSegmenter | None,
) -> Regions:
    """The regions that may be named: known ones, or what the segmenter finds."""
    if named and image.regions is not None:
        return image.regions
    if named and image.image is not None and image.embedding is not None and segmenter is not None:
        return regions_of_image(
            image.image,
            image.embedding,
            segmenter,
            settings.proposals,
            images_per_batch=settings.images_per_batch,
        )
    return Regions.from_masks(torch.zeros(0, *image.own.shape, dtype=torch.bool))


def _prompt(
    images: Sequence[ToAggregate],
    classes: tuple[int, ...],
    label_space: LabelSpace,
    settings: PSASettings,
    segmenter: PromptableSegmenter | None,
) -> list[Claims]:
    """What the components of some classes claim, image by image, on the images' device."""
    claims = [Claims.none(image.own.device) for image in images]
    if segmenter is None or not classes:
        return claims
    asking = {n: image.embedding for n, image in enumerate(images) if image.embedding is not None}
    if not asking:
        return claims
    # One transfer for all: each would wait for the device.
    arrays = join([images[number].selected[None] for number in asking]).cpu().numpy()
    questions = []
    for (number, embedding), array in zip(asking.items(), arrays, strict=True):
        components = connected_components(
            array,
            ignore_index=label_space.ignore_index,
            connectivity=settings.connectivity,
            classes=classes,
            min_area=settings.min_component_area,
        )
        questions.append(ImageComponents(components, images[number].selected, array, embedding))
    answers = prompt_components(
        questions,
        label_space.num_classes,
        segmenter,
        settings,
        label_space.ignore_index,
    )
    for number, answer in zip(asking, answers, strict=True):
        claims[number] = answer.to(images[number].own.device)
    return claims


def _merge(
    image: ToAggregate,
    regions: Regions,
    named: tuple[int, ...],
    claims: Claims,
    num_classes: int,
    settings: PSASettings,
) -> Aggregated:
    """Name the regions, and let them, the claims and the pixels' own labels vote."""
    own, confidence = image.own, image.confidence
    regions = regions.to(own.device)
    aligned = name_regions(
        regions,
        image.selected,
        num_classes,
        classes=named,
        min_share=settings.stuff_share,
        everyone=None if confidence is None else own,  # without one, everyone votes
    )
    merged = merge(
        own.flatten(),
        settings.unknown_confidence if confidence is None else confidence.flatten(),
        regions.atoms.flatten(),
        aligned,
        claims,
        num_classes,
        thing_weight=settings.thing_weight,
        prior_weight=settings.prior_weight,
    )
    return Aggregated(
        label=merged.label.reshape(own.shape),
        score=merged.score.reshape(own.shape),
        decided=(merged.label >= 0).reshape(own.shape),
        connectivities=_connectivities(merged, aligned, claims, own.shape),
    )


def needs_embedding(
    selected: Tensor, label_space: LabelSpace, settings: PSASettings, *, has_regions: bool
) -> Tensor:
    """Whether the segmenter can tell anything about an image: early in training it often cannot.

    Args:
        selected: as in :class:`ToAggregate`.
        label_space: the classes.
        settings: of the aggregation.
        has_regions: whether the image's regions are known.

    Returns:
        () bool, on the label's device.
    """
    named, prompted = _roles(label_space, settings, can_prompt=True)
    if named and not has_regions:
        return (selected != label_space.ignore_index).any()
    asks = torch.zeros(label_space.num_classes + 1, dtype=torch.bool, device=selected.device)
    asks[list(prompted)] = True
    unlabelled = selected == label_space.ignore_index
    return asks[torch.where(unlabelled, label_space.num_classes, selected)].any()


def _roles(
    label_space: LabelSpace, settings: PSASettings, *, can_prompt: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes that may name regions, and those whose components prompt."""
    every = tuple(range(label_space.num_classes))
    if not can_prompt or settings.method == "alignment":
        return every, ()
    if settings.method == "prompts":
        return (), every
    return every if settings.align_things else label_space.stuff_ids, label_space.thing_ids


def _connectivities(
    merged: Merged, aligned: NamedRegions, claims: Claims, size: torch.Size
) -> Connectivities:
    """Number, 1.., the regions and masks that won a pixel."""
    return Connectivities(
        ids=merged.source.reshape(size),
        classes=torch.cat([aligned.classes, claims.classes]),
        scores=torch.cat([aligned.shares, claims.agreements]).float(),
    ).with_pixels()
