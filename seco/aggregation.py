"""Pixel Semantic Aggregation (PSA) of one image: align stuff, prompt things, merge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seco.alignment import NamedRegions, name_regions
from seco.common.labels import LabelSpace
from seco.common.tables import take_rows
from seco.components import connected_components
from seco.merging import Merged, merge
from seco.prompting import Claims, prompt_components
from seco.regions import Regions
from seco.sam.proposals import regions_of_image
from seco.sam.protocol import Embedding, PromptableSegmenter
from seco.settings import PSASettings


@dataclass(frozen=True)
class Connectivities:
    """Whole regions of one class each: what PSA makes of the speckle, and what SCC judges.

    Args:
        ids: (H, W) int32, the connectivity of every pixel; 0 is none: no label, or one that
            neither a region nor a mask supports, only the pixel's own.
        classes: (N,) int64, the class of connectivity n at n - 1.
        scores: (N,) float32 in [0, 1], the share of its class among its labelled pixels (of a
            region see :func:`seco.alignment.name_regions`); 0.5 for a component that stands for
            itself because its mask was not believed.
    """

    ids: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def only(self, kept: Tensor) -> Connectivities:
        """Those for which ``kept``, (N,) bool, holds, numbered anew; the others' pixels get 0."""
        number = torch.cat([kept.new_zeros(1), kept]).long()
        number = number.cumsum(0) * number
        left = kept.nonzero()[:, 0]
        return Connectivities(
            ids=take_rows(number.to(torch.int32), self.ids),
            classes=self.classes[left],
            scores=self.scores[left],
        )

    def with_pixels(self) -> Connectivities:
        """Those that have a pixel, numbered anew."""
        present = torch.zeros(len(self) + 1, dtype=torch.bool, device=self.ids.device)
        return self.only(present.index_fill_(0, self.ids.flatten().long(), True)[1:])


@dataclass(frozen=True)
class Aggregated:
    """The aggregation of one image; see :class:`seco.Refinement` for the fields."""

    label: Tensor
    score: Tensor
    decided: Tensor
    connectivities: Connectivities


def aggregate(
    selected: Tensor,
    own: Tensor,
    confidence: Tensor | None,
    label_space: LabelSpace,
    settings: PSASettings,
    *,
    regions: Regions | None,
    image: Tensor | None,
    embedding: Embedding | None,
    segmenter: PromptableSegmenter | None,
) -> Aggregated:
    """Aggregate one image.

    Args:
        selected: (H, W) int64, the confident pixels' labels, which vote and prompt; the others
            hold ``label_space.ignore_index``.
        own: (H, W) int64, every pixel's own label.
        confidence: (H, W) float32 in [0, 1] of ``own``, if known.
        label_space: the classes, and which are things.
        settings: see :class:`seco.PSASettings`.
        regions: known regions; found with the segmenter if ``None``.
        image: (3, H, W), as it was encoded.
        embedding: of the image; ``None`` where :func:`needs_embedding` says so.
        segmenter: that made the embedding; without one the regions name things too, since there
            is nobody to prompt.

    Source: SeCo, section 3.2.
    """
    device, num_classes = selected.device, label_space.num_classes
    named, prompted = _roles(label_space, settings, can_prompt=segmenter is not None)
    if (
        named
        and regions is None
        and image is not None
        and embedding is not None
        and segmenter is not None
    ):
        regions = regions_of_image(image, embedding, segmenter, settings.proposals)
    if not named or regions is None:
        regions = Regions.from_masks(torch.zeros(0, *selected.shape, dtype=torch.bool))
    regions = regions.to(device)
    aligned = name_regions(
        regions,
        selected,
        num_classes,
        classes=named,
        min_share=settings.stuff_share,
        everyone=None if confidence is None else own,  # without one, everyone votes
    )
    claims = _prompt(
        selected, prompted, label_space, settings, embedding=embedding, segmenter=segmenter
    ).to(device)
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
        selected: as in :func:`aggregate`.
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


def _prompt(
    selected: Tensor,
    classes: tuple[int, ...],
    label_space: LabelSpace,
    settings: PSASettings,
    *,
    embedding: Embedding | None,
    segmenter: PromptableSegmenter | None,
) -> Claims:
    if embedding is None or segmenter is None or not classes:
        return Claims.none()
    array = selected.cpu().numpy()
    components = connected_components(
        array,
        ignore_index=label_space.ignore_index,
        connectivity=settings.connectivity,
        classes=classes,
        min_area=settings.min_component_area,
    )
    return prompt_components(
        components,
        selected,
        label_space.num_classes,
        embedding,
        segmenter,
        settings,
        label_space.ignore_index,
        array=array,
    )


def _connectivities(
    merged: Merged, aligned: NamedRegions, claims: Claims, size: torch.Size
) -> Connectivities:
    """Number, 1.., the regions and masks that won a pixel."""
    return Connectivities(
        ids=merged.source.reshape(size),
        classes=torch.cat([aligned.classes, claims.classes]),
        scores=torch.cat([aligned.shares, claims.agreements]).float(),
    ).with_pixels()
