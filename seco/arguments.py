"""What refining was given: checked, and as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_choice, check_labels, check_number, describe
from seco.common.images import (
    check_pair,
    confidence_to_batch,
    labels_to_batch,
    mask_to_batch,
    to_batch,
)
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.correction.corrector import ConnectivityCorrector
from seco.regions import Regions
from seco.selection import select_confident
from seco.settings import PSASettings


@dataclass(frozen=True)
class ToRefine:
    """B labels, and what is known about them.

    Args:
        labels: (B, H, W) int64, as given.
        own: the same where they are valid; elsewhere the ignore index.
        selected: those of ``own`` that vote and prompt; the others hold the ignore index.
        confidence: (B, H, W) float32 in [0, 1] of ``labels``, if known.
        valid: (B, H, W) bool; ``None``: everywhere.
        regions: one per image; ``None``: to be found.
        images: (B, 3, H, W), as :func:`seco.common.images.to_batch` gives them; ``None`` where
            nothing looks at them.
    """

    labels: Tensor
    own: Tensor
    selected: Tensor
    confidence: Tensor | None
    valid: Tensor | None
    regions: Sequence[Regions] | None
    images: Tensor | None


def read_arguments(
    img: Array | Tensor | None,
    pl: Array | Tensor,
    label_space: LabelSpace,
    *,
    confidence: Array | Tensor | None,
    keep_fraction: float,
    confidence_threshold: float | None,
    valid: Array | Tensor | None,
    normalization: Normalization | None,
    regions: Regions | Sequence[Regions] | None,
    sam: object | None,
    corrector: ConnectivityCorrector | None,
    names: tuple[str, str] = ("img", "pl"),
) -> ToRefine:
    """Read what :func:`seco.refine_pseudo_labels` was given with an image and its label.

    Args:
        sam: looks at the image, as does ``corrector``; with neither it is not read.
        names: what the caller's caller calls image and label, for messages.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.
    """
    name, label_name = names
    images = None
    for looking, value in (("sam", sam), ("corrector", corrector)):
        if value is not None and img is None:
            raise ValueError(f"{name}: expected an image where {looking} is given, got None")
    if img is not None and (sam is not None or corrector is not None):
        images = to_batch(img, normalization=normalization, name=name)
    check_labels(label_name, pl, label_space)
    labels = labels_to_batch(pl, name=label_name)
    if img is not None:
        check_pair(img, pl, names=names)
    known = _regions_per_image(regions, labels, label_name)
    inside = None if valid is None else mask_to_batch("valid", valid, labels)
    own = labels if inside is None else torch.where(inside, labels, label_space.ignore_index)
    certainty, selected = None, own
    if confidence is not None:
        certainty = confidence_to_batch("confidence", confidence, labels)
        selected = select_confident(
            own,
            certainty,
            fraction=keep_fraction,
            threshold=confidence_threshold,
            ignore_index=label_space.ignore_index,
        )
    return ToRefine(labels, own, selected, certainty, inside, known, images)


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
    """Raise for options of :func:`seco.refine_pseudo_labels` that are wrong whatever the image.

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
    check_region_source(settings, has_sam=has_sam, has_regions=has_regions)


def check_region_source(settings: PSASettings, *, has_sam: bool, has_regions: bool) -> None:
    """Raise where nothing finds regions or answers prompts.

    Raises:
        ValueError: no segmenter where one is needed.
    """
    if has_sam:
        return
    if not has_regions:
        raise ValueError("sam: expected a segmenter where no regions are given, got None")
    if settings.method == "prompts":
        raise ValueError("sam: expected a segmenter with method 'prompts', got None")


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


def _regions_per_image(
    regions: Regions | Sequence[Regions] | None, labels: Tensor, label_name: str
) -> Sequence[Regions] | None:
    if regions is None:
        return None
    listed = list(regions) if isinstance(regions, Iterable) else [regions]
    for item in listed:
        if not isinstance(item, Regions):
            raise TypeError(f"regions: expected seco.Regions, got {describe(item)}")
        if item.size != tuple(labels.shape[1:]):
            raise ValueError(
                f"regions: expected the size {tuple(labels.shape[1:])} of {label_name}, "
                f"got {item.size}"
            )
    if len(listed) != len(labels):
        raise ValueError(f"regions: expected one per image, {len(labels)}, got {len(listed)}")
    return listed
