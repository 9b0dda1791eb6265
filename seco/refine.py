"""The one call users make: a noisy pseudo-label in, clean regions out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from seco.aggregation import (
    Aggregated,
    ToAggregate,
    aggregate,
    needs_embedding,
)
from seco.common.arrays import Array
from seco.common.checks import check_choice, check_labels, check_number, describe
from seco.common.images import (
    Map,
    check_pair,
    confidence_to_batch,
    labels_to_batch,
    mask_to_batch,
    restore,
    to_batch,
)
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
from seco.sam.protocol import Embedding
from seco.selection import select_confident
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
    images = segmenter = None
    for name, value in (("sam", sam), ("corrector", corrector)):
        if value is not None and img is None:
            raise ValueError(f"img: expected an image where {name} is given, got None")
    if corrector is not None:
        check_corrector(corrector, label_space)
    if img is not None and (sam is not None or corrector is not None):
        images = to_batch(img, normalization=normalization)
    if sam is not None:
        segmenter = as_segmenter(sam)
    check_labels("pl", pl, label_space)
    own = labels_to_batch(pl)
    if img is not None:
        check_pair(img, pl)
    known = _regions_per_image(regions, own)
    ignore = label_space.ignore_index
    inside = None if valid is None else mask_to_batch("valid", valid, own)
    asked = own if inside is None else torch.where(inside, own, ignore)
    certainty = None
    selected = asked
    if confidence is not None:
        certainty = confidence_to_batch("confidence", confidence, own)
        selected = select_confident(
            asked,
            certainty,
            fraction=keep_fraction,
            threshold=confidence_threshold,
            ignore_index=ignore,
        )
    if outside == "keep" and settings.rejected_things == "keep":
        # all that nothing decides keeps its label then, in no connectivity
        settings = replace(settings, rejected_things="drop")
    if corrector is not None:
        corrector.warn_if_fitted_otherwise(regions=True)
    embeddings: list[Embedding | None] = [None] * len(own)
    if segmenter is not None and images is not None:
        needed = [
            needs_embedding(label, label_space, settings, has_regions=known is not None)
            for label in selected
        ]
        asking = [index for index, asks in enumerate(torch.stack(needed).tolist()) if asks]
        encoded = encode(images[asking], segmenter, images_per_batch=settings.images_per_batch)
        for index, embedding in zip(asking, encoded, strict=True):
            embeddings[index] = embedding
    to_aggregate = [
        ToAggregate(
            selected=selected[index],
            own=asked[index],
            confidence=None if certainty is None else certainty[index],
            regions=None if known is None else known[index],
            image=None if images is None else images[index],
            embedding=embeddings[index],
        )
        for index in range(len(own))
    ]
    with exact(own.device, own.device if segmenter is None else segmenter.device):
        aggregated = aggregate(to_aggregate, label_space, settings, segmenter=segmenter)
    refined = _assemble(aggregated, own, certainty, inside, ignore, outside, settings)
    if corrector is None or images is None:
        return refined
    corrected = corrector.correct_batch(
        images,
        refined.labels,
        connectivities=refined.connectivities,
        scores=refined.scores,
        valid=inside,
        segmenter=segmenter,
        embeddings=embeddings,
    )
    judged = corrected.judgements
    left = [judgement.corrected() for judgement in judged]
    return Refinement(corrected.labels, corrected.scores, left, judged)


def check_corrector(corrector: ConnectivityCorrector, label_space: LabelSpace) -> None:
    """Raise unless a corrector is fitted, and for the classes of a label space.

    Raises:
        TypeError: something else.
        ValueError: not fitted, or for other classes.
    """
    if not isinstance(corrector, ConnectivityCorrector):
        raise TypeError(
            f"corrector: expected a seco.ConnectivityCorrector, got {describe(corrector)}"
        )
    own = corrector.label_space
    if (own.names, own.ignore_index) != (label_space.names, label_space.ignore_index):
        raise ValueError(
            f"corrector: expected one for label_space, {label_space.num_classes} classes with "
            f"ignore_index {label_space.ignore_index}, got one for {own.num_classes} classes "
            f"({', '.join(own.names[:3])}, ...) with ignore_index {own.ignore_index}"
        )
    _ = corrector.record  # raises if not fitted, before SAM has worked for nothing


def check_options(
    label_space: LabelSpace,
    settings: PSASettings,
    outside: str,
    keep_fraction: float,
    confidence_threshold: float | None,
    *,
    has_sam: bool,
    has_regions: bool,
    has_confidence: bool = True,
) -> None:
    """Raise for options of :func:`refine_pseudo_labels` that are wrong whatever the image.

    Raises:
        TypeError: a label space or settings of another kind.
        ValueError: a value out of its range, a threshold of no confidence, or nothing that finds
            regions or answers prompts.
    """
    check_choice("outside", outside, ("ignore", "keep"))
    if not isinstance(label_space, LabelSpace):
        raise TypeError(f"label_space: expected seco.LabelSpace, got {describe(label_space)}")
    if not isinstance(settings, PSASettings):
        raise TypeError(f"settings: expected seco.PSASettings, got {describe(settings)}")
    check_number("keep_fraction", keep_fraction, low=0, high=1, low_open=True)
    if confidence_threshold is not None:
        check_number("confidence_threshold", confidence_threshold, low=0, high=1)
        if not has_confidence:
            raise ValueError("confidence: expected with confidence_threshold, got None")
    if has_sam:
        return
    if not has_regions:
        raise ValueError("sam: expected a segmenter where no regions are given, got None")
    if settings.method == "prompts":
        raise ValueError("sam: expected a segmenter with method 'prompts', got None")


def _regions_per_image(
    regions: Regions | Sequence[Regions] | None, labels: Tensor
) -> Sequence[Regions] | None:
    if regions is None:
        return None
    listed = list(regions) if isinstance(regions, Iterable) else [regions]
    for item in listed:
        if not isinstance(item, Regions):
            raise TypeError(f"regions: expected seco.Regions, got {describe(item)}")
        if item.size != tuple(labels.shape[1:]):
            raise ValueError(
                f"regions: expected the size {tuple(labels.shape[1:])} of pl, got {item.size}"
            )
    if len(listed) != len(labels):
        raise ValueError(f"regions: expected one per image, {len(labels)}, got {len(listed)}")
    return listed


def _assemble(
    images: list[Aggregated],
    own: Tensor,
    certainty: Tensor | None,
    inside: Tensor | None,
    ignore: int,
    outside: str,
    settings: PSASettings,
) -> Refinement:
    labels = torch.stack([image.label for image in images])
    scores = torch.stack([image.score for image in images])
    decided = torch.stack([image.decided for image in images])
    if outside == "keep":
        prior = settings.unknown_confidence if certainty is None else certainty
        labels = torch.where(decided, labels, own)
        scores = torch.where(decided, scores, torch.where(own == ignore, 0.0, prior))
    else:
        labels = torch.where(decided, labels, ignore)
    connectivities = [image.connectivities for image in images]
    if inside is not None:
        labels = torch.where(inside, labels, own)
        scores = torch.where(inside, scores, 1.0)
        connectivities = [
            replace(item, ids=torch.where(mask, item.ids, 0)).with_pixels()
            for item, mask in zip(connectivities, inside, strict=True)
        ]
    return Refinement(labels, scores, connectivities)
