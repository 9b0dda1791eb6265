"""The one call users make: a noisy pseudo-label in, clean regions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from seco.aggregation.aggregating import Aggregated, ToAggregate, aggregate, needs_embedding
from seco.arguments import ToRefine, check_corrector, check_options, read_arguments
from seco.common.arrays import Array
from seco.common.images import Map, restore
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.common.precision import exact
from seco.connectivities import Connectivities
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.judging import Judgement
from seco.regions import Regions
from seco.sam.inference import encode
from seco.sam.loading import as_segmenter
from seco.sam.protocol import Embedding, PromptableSegmenter
from seco.settings import PSASettings


@dataclass(frozen=True)
class Refinement:
    """All that refining found out about a batch of B images.

    Args:
        labels: (B, H, W) int64, the refined labels.
        scores: (B, H, W) float32 in [0, 1], how much of what spoke about a pixel agrees with its
            label: a loss weight. 0 where the label is ignore; 1 where ``valid`` is false. After
            correction: that times the probability that the pixel's connectivity is not noise (or
            that its class is right, if it is kept because the classifier is sure of it), or, if it
            was given another class, the classifier's probability of that class alone.
        connectivities: one per image, the regions that the labels consist of.
        judgements: one per image, what correction found out about the regions before it;
            ``None`` without a corrector.
    """

    labels: Tensor
    scores: Tensor
    connectivities: list[Connectivities]
    judgements: list[Judgement] | None = None


def refine_pseudo_labels(
    img: Array | Tensor | None,
    pl: Map,
    sam: object | None = None,
    *,
    label_space: LabelSpace = CITYSCAPES,
    confidence: Array | Tensor | None = None,
    keep_fraction: float = 0.5,
    confidence_threshold: float | None = None,
    valid: Array | Tensor | None = None,
    normalization: Normalization | None = None,
    regions: Regions | Sequence[Regions] | None = None,
    outside: Literal["ignore", "keep"] = "ignore",
    corrector: ConnectivityCorrector | None = None,
    settings: PSASettings = PSASettings(),
) -> Map:
    """Turn a speckled, noisy pseudo-label into clean regions (PSA), and correct them (SCC).

    Args:
        img: RGB image(s): (H, W, 3) uint8 array, or (3, H, W) / (B, 3, H, W) tensor, uint8 or
            floats in 0-1 (or normalised, with ``normalization``). May be ``None`` without ``sam``
            and ``corrector``.
        pl: pseudo-label(s), (H, W) or (B, H, W), integer class ids or the ignore index; the same
            kind of array as ``img``. Its device is where the vote is done (of arrays, the CPU),
            whatever SAM's is.
        sam: whatever segments by prompts: the result of :func:`seco.load_sam`, or your own
            segment-anything, sam2 or transformers object. May be ``None`` with ``regions``: then
            the regions vote on every class and the call costs milliseconds.
        label_space: names, things, ignore index of the classes.
        confidence: (H, W) or (B, H, W) floats in 0-1: the labelling model's top softmax.
        keep_fraction: with ``confidence``, only this most confident share of each class's pixels
            votes and prompts (paper: 0.5).
        confidence_threshold: with ``confidence`` (an error without), take the pixels at least
            this confident instead.
        valid: (H, W) or (B, H, W) bool; pixels where it is false neither vote nor change.
        normalization: (mean, std) if ``img`` is normalised; see :mod:`seco.common.images`.
        regions: what :func:`seco.propose_regions` found in the image(s), one per image; spares
            "segment everything".
        outside: pixels outside every region become ``"ignore"`` (paper) or ``"keep"`` their label.
        corrector: a fitted one of the same label space: the regions (and the components of what
            ``outside="keep"`` leaves) whose class is probably wrong get another or become ignore.
        settings: every threshold of the aggregation; ``seco.PAPER`` for the paper's own.

    Returns:
        Labels with the kind, shape, dtype and device of ``pl``. Classes are among those in
        ``pl``, or with a corrector among those of the label space.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range; the message
            names it, what was expected and what was given.

    Warns:
        UserWarning: once, that the corrector was fitted to connected components, and not to
            :class:`seco.Connectivities`.

    Example:
        >>> from seco import load_sam
        >>> from seco.demo import STREETS, street_scene
        >>> scene = street_scene(0, size=(64, 128))
        >>> refined = refine_pseudo_labels(
        ...     scene.image, scene.label, load_sam("tiny"), label_space=STREETS
        ... )
        >>> refined.shape, refined.dtype
        ((64, 128), dtype('uint8'))

    Source: Zhao et al., "Connectivity-Driven Pseudo-Labeling Makes Stronger Cross-Domain
    Segmenters", NeurIPS 2024, sections 3.2 and 3.3.
    """
    found = refine_with_details(
        img,
        pl,
        sam,
        label_space=label_space,
        confidence=confidence,
        keep_fraction=keep_fraction,
        confidence_threshold=confidence_threshold,
        valid=valid,
        normalization=normalization,
        regions=regions,
        outside=outside,
        corrector=corrector,
        settings=settings,
    )
    return restore(found.labels, like=pl)


def refine_with_details(
    img: Array | Tensor | None,
    pl: Array | Tensor,
    sam: object | None = None,
    *,
    label_space: LabelSpace = CITYSCAPES,
    confidence: Array | Tensor | None = None,
    keep_fraction: float = 0.5,
    confidence_threshold: float | None = None,
    valid: Array | Tensor | None = None,
    normalization: Normalization | None = None,
    regions: Regions | Sequence[Regions] | None = None,
    outside: Literal["ignore", "keep"] = "ignore",
    corrector: ConnectivityCorrector | None = None,
    settings: PSASettings = PSASettings(),
) -> Refinement:
    """Refine, and tell how sure each pixel is and which connectivity it belongs to.

    Arguments and errors are those of :func:`refine_pseudo_labels`, which is this function's
    ``labels`` alone.

    Returns:
        Tensors on the device of ``pl``.
    """
    check_options(
        label_space,
        settings,
        outside,
        keep_fraction,
        confidence_threshold,
        has_sam=sam is not None,
        has_regions=regions is not None,
        has_confidence=confidence is not None,
    )
    if corrector is not None:
        check_corrector(corrector, label_space)
    segmenter = None if sam is None else as_segmenter(sam)
    asked = read_arguments(
        img,
        pl,
        label_space,
        confidence=confidence,
        keep_fraction=keep_fraction,
        confidence_threshold=confidence_threshold,
        valid=valid,
        normalization=normalization,
        regions=regions,
        sam=sam,
        corrector=corrector,
    )
    if corrector is not None:
        corrector.warn_if_fitted_otherwise(regions=True)
    return refine_batch(
        asked,
        label_space,
        settings,
        segmenter=segmenter,
        outside=outside,
        corrector=corrector,
    )


def refine_batch(
    asked: ToRefine,
    label_space: LabelSpace,
    settings: PSASettings,
    *,
    segmenter: PromptableSegmenter | None,
    outside: Literal["ignore", "keep"],
    corrector: ConnectivityCorrector | None,
) -> Refinement:
    """Refine what is known to be right; :func:`refine_with_details` takes everything else."""
    if outside == "keep" and settings.rejected_things == "keep":
        # all that nothing decides keeps its label then, in no connectivity
        settings = replace(settings, rejected_things="drop")
    own, images = asked.own, asked.images
    embeddings: list[Embedding | None] = [None] * len(own)
    if segmenter is not None and images is not None:
        needed = [
            needs_embedding(label, label_space, settings, has_regions=asked.regions is not None)
            for label in asked.selected
        ]
        asking = [index for index, asks in enumerate(torch.stack(needed).tolist()) if asks]
        encoded = encode(images[asking], segmenter, images_per_batch=settings.images_per_batch)
        for index, embedding in zip(asking, encoded, strict=True):
            embeddings[index] = embedding
    to_aggregate = [
        ToAggregate(
            selected=asked.selected[index],
            own=own[index],
            confidence=None if asked.confidence is None else asked.confidence[index],
            regions=None if asked.regions is None else asked.regions[index],
            image=None if images is None else images[index],
            embedding=embeddings[index],
        )
        for index in range(len(own))
    ]
    with exact(own.device, own.device if segmenter is None else segmenter.device):
        aggregated = aggregate(to_aggregate, label_space, settings, segmenter=segmenter)
    refined = _assemble(aggregated, asked, label_space.ignore_index, outside, settings)
    if corrector is None or images is None:
        return refined
    corrected = corrector.correct_batch(
        images,
        refined.labels,
        connectivities=refined.connectivities,
        scores=refined.scores,
        valid=asked.valid,
        segmenter=segmenter,
        embeddings=embeddings,
    )
    judged = corrected.judgements
    left = [judgement.corrected() for judgement in judged]
    return Refinement(corrected.labels, corrected.scores, left, judged)


def _assemble(
    images: list[Aggregated], asked: ToRefine, ignore: int, outside: str, settings: PSASettings
) -> Refinement:
    labels = torch.stack([image.label for image in images])
    scores = torch.stack([image.score for image in images])
    decided = torch.stack([image.decided for image in images])
    if outside == "keep":
        prior = settings.unknown_confidence if asked.confidence is None else asked.confidence
        labels = torch.where(decided, labels, asked.labels)
        scores = torch.where(decided, scores, torch.where(asked.labels == ignore, 0.0, prior))
    else:
        labels = torch.where(decided, labels, ignore)
    connectivities = [image.connectivities for image in images]
    if asked.valid is not None:
        labels = torch.where(asked.valid, labels, asked.labels)
        scores = torch.where(asked.valid, scores, 1.0)
        connectivities = [
            replace(item, ids=torch.where(mask, item.ids, 0)).with_pixels()
            for item, mask in zip(connectivities, asked.valid, strict=True)
        ]
    return Refinement(labels, scores, connectivities)
