"""The call inside a self-training loop: pseudo-label and weight in, refined ones out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from seco.arguments import (
    check_corrector,
    check_options,
    check_region_source,
    read_arguments,
)
from seco.common.arrays import Array
from seco.common.checks import check_choice, check_integer, check_label_map, describe
from seco.common.images import mask_to_batch
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.correction.corrector import ConnectivityCorrector
from seco.refine import Refinement, refine_batch
from seco.regions import Regions
from seco.sam.loading import as_segmenter
from seco.settings import PSASettings

WeightPolicy = Literal["keep", "zero", "rescale", "agreement"]
RegionsWhenDue = Callable[[], Regions | Sequence[Regions]]
WEIGHT_POLICIES: tuple[WeightPolicy, ...] = ("keep", "zero", "rescale", "agreement")


def refine_in_loop(
    target_img: Tensor | None,
    pseudo_label: Tensor,
    pseudo_weight: Tensor,
    sam: object | None = None,
    *,
    enabled: bool = True,
    normalization: Normalization | None = None,
    valid: Tensor | Array | None = None,
    confidence: Tensor | Array | None = None,
    regions: Regions | Sequence[Regions] | RegionsWhenDue | None = None,
    weight: WeightPolicy = "keep",
    iteration: int | None = None,
    warm_up: int = 0,
    interval: int = 1,
    label_space: LabelSpace = CITYSCAPES,
    keep_fraction: float = 0.5,
    confidence_threshold: float | None = None,
    outside: Literal["ignore", "keep"] = "keep",
    corrector: ConnectivityCorrector | None = None,
    settings: PSASettings = PSASettings(),
) -> tuple[Tensor, Tensor]:
    """Refine the pseudo-label of a training batch, as DAFormer, HRDA, MIC and PiPa have it.

    Call it after the ignore margins are set in the weight and before the classes are mixed.
    Pixels with weight 0 (the margins) and those that are not ``valid`` (padding) neither vote nor
    change. The arguments themselves come back, nothing is computed and no SAM is run, where it is
    switched off, in the iterations that ``warm_up`` and ``interval`` leave out, and while the
    weight is 0 everywhere, as it is early in training.

    No global random state is consumed, nothing is registered in the caller's model, and the
    caller's autocast and gradients stay outside. SAM may be on another device.

    Args:
        target_img: (B, 3, H, W) float, normalised, its channels in the order RGB; may be ``None``
            without ``sam`` and ``corrector``. BGR is no error, but shows SAM wrong colours:
            ``target_img[:, [2, 1, 0]]``, and means and stds turned round, too.
        pseudo_label: (B, H, W) int64 class ids, or the ignore index.
        pseudo_weight: (B, H, W) float32, at least 0: the weight of every pixel in the loss.
        sam: the result of :func:`seco.load_sam`; ``None`` with ``regions``: they alone vote then,
            in milliseconds.
        enabled: ``False``: give back the arguments.
        normalization: (means, stds) of ``target_img``, each (B, 3, 1, 1) or three numbers, on
            the scale 0-255 or 0-1.
        valid: (B, 1, H, W) or (B, H, W), bool or integers, of which 1 is valid; others, 0 and the
            255 that pipelines pad with, are not.
        confidence: (B, H, W) floats in 0-1, the teacher's top softmax (DAFormer's
            ``pseudo_prob``): then only the confident vote.
        regions: one per image, of this crop; see :func:`seco.regions_of`. Or a function of no
            arguments that gives them: ``lambda: seco.regions_of(target_img_metas)`` is called only
            where labels are refined, so that a run without needs none.
        weight: what becomes of the weight. ``"keep"``: nothing. ``"zero"``: 0 where the label
            becomes ignore. ``"rescale"``: that, and the rest of the pixels that could change are
            scaled by one factor so that the sum over the batch stays: the target loss keeps its
            size, however much is ignored. ``"agreement"``: as it was where the class is as it
            was, times the refinement's score (:class:`seco.Refinement`) where it changed, 0 where
            the label becomes ignore.
        iteration: of the training, from 0; needed with ``warm_up`` or ``interval``.
        warm_up: the first iteration in which labels are refined.
        interval: from there on they are refined in every n-th iteration.
        label_space: as for :func:`seco.refine_pseudo_labels`, as are ``keep_fraction``,
            ``confidence_threshold``, ``corrector`` and ``settings``.
        outside: as there; the default here is ``"keep"``, as losses that average over all pixels
            shrink with every ignored one.

    Returns:
        The label, int64, and the weight, of the given dtype, both (B, H, W) on the same device.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range; the message
            names it, what was expected and what was given.

    Warns:
        UserWarning: once, that the batch is on a GPU and SAM on the CPU, or what
            :func:`seco.refine_pseudo_labels` says of the corrector.

    Example:
        >>> label = torch.tensor([[[0, 0, 0, 1], [2, 2, 2, 2]]])
        >>> regions = Regions.from_label_map(torch.tensor([[1, 1, 1, 1], [2, 2, 2, 2]]))
        >>> share = torch.full((1, 2, 4), 0.5)
        >>> refine_in_loop(None, label, share, regions=regions)[0]
        tensor([[[0, 0, 0, 0],
                 [2, 2, 2, 2]]])
        >>> refine_in_loop(None, label, share, regions=regions, enabled=False)[0] is label
        True
    """
    if not isinstance(enabled, (bool, np.bool_)):  # "False", out of a config, would be true
        raise TypeError(f"enabled: expected True or False, got {describe(enabled)}")
    if not enabled:
        return pseudo_label, pseudo_weight
    # Before the iteration is asked for: a mistake shall not show after hours of warming up.
    check_choice("weight", weight, WEIGHT_POLICIES)
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
    if isinstance(sam, nn.Module):
        raise TypeError(
            f"sam: expected what seco.load_sam returns, got the module {type(sam).__name__}, which "
            "an attribute of your model would register with its checkpoint and optimizer; wrap it "
            "once: sam = seco.load_sam(sam)"
        )
    _check_label_and_weight(pseudo_label, pseudo_weight)
    if not _is_due(iteration, warm_up, interval):
        return pseudo_label, pseudo_weight
    low, high = (float(end) for end in torch.aminmax(pseudo_weight.detach()))
    if not low >= 0 or high == float("inf"):  # NaN is not >= 0 either
        raise ValueError(f"pseudo_weight: expected finite numbers >= 0, got {low} to {high}")
    if high == 0:
        return pseudo_label, pseudo_weight
    before = pseudo_weight.detach()
    free = before > 0
    if valid is not None:
        free &= _valid_to_batch(valid, pseudo_label)
    segmenter = None if sam is None else as_segmenter(sam)
    if segmenter is not None and _is_misplaced(segmenter.device, beside=pseudo_label.device):
        _warn_once(
            f"sam: on the CPU while the batch is on {pseudo_label.device}, which makes every "
            "iteration slow; load it with seco.load_sam(..., device=...)"
        )
    if callable(regions):
        regions = regions()
        check_region_source(settings, has_sam=sam is not None, has_regions=regions is not None)
    asked = read_arguments(
        target_img,
        pseudo_label,
        label_space,
        confidence=confidence,
        keep_fraction=keep_fraction,
        confidence_threshold=confidence_threshold,
        valid=free,
        normalization=normalization,
        regions=regions,
        sam=sam,
        corrector=corrector,
        names=("target_img", "pseudo_label"),
    )
    if corrector is not None:
        corrector.warn_if_fitted_otherwise(regions=True)
    found = refine_batch(
        asked,
        label_space,
        settings,
        segmenter=segmenter,
        outside=outside,
        corrector=corrector,
    )
    if weight == "keep":
        return found.labels, pseudo_weight
    ignore = label_space.ignore_index
    factor = _factor(weight, found, pseudo_label, torch.where(free, before, 0), ignore)
    return found.labels, torch.where(free, before * factor, before).to(before.dtype)


def _is_misplaced(sam: torch.device, *, beside: torch.device) -> bool:
    return sam.type == "cpu" and beside.type == "cuda"


@cache
def _warn_once(message: str) -> None:
    """Warn once per process: Python's own memory of that is lost when any filter changes."""
    warnings.warn(message, stacklevel=3)


def _is_due(iteration: int | None, warm_up: int, interval: int) -> bool:
    check_integer("warm_up", warm_up, low=0)
    check_integer("interval", interval, low=1)
    if iteration is None:
        if warm_up or interval > 1:
            raise ValueError("iteration: expected a number with warm_up or interval, got None")
        return True
    after = check_integer("iteration", iteration, low=0) - warm_up
    return after >= 0 and after % interval == 0


def _check_label_and_weight(label: object, weight: object) -> None:
    check_label_map("pseudo_label", label)
    if not isinstance(label, Tensor) or label.dtype != torch.int64 or label.ndim != 3:
        raise TypeError(
            f"pseudo_label: expected an int64 tensor of shape (B, H, W), got {describe(label)}"
        )
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise TypeError(f"pseudo_weight: expected a floating point tensor, got {describe(weight)}")
    if weight.shape != label.shape or weight.device != label.device:
        raise ValueError(
            f"pseudo_weight: expected shape {tuple(label.shape)} on {label.device}, as "
            f"pseudo_label has, got {tuple(weight.shape)} on {weight.device}"
        )


def _valid_to_batch(valid: Tensor | Array, label: Tensor) -> Tensor:
    """Read a mask whose pipeline may have padded it with 255."""
    if isinstance(valid, Tensor):
        valid = valid if valid.is_floating_point() else valid == 1
    elif isinstance(valid, np.ndarray):
        valid = valid if valid.dtype.kind not in "iu" else valid == 1
    return mask_to_batch("valid", valid, label)


def _factor(
    policy: WeightPolicy, refinement: Refinement, before: Tensor, weight: Tensor, ignore: int
) -> Tensor:
    """What the weight of every pixel that could change is multiplied by: (B, H, W)."""
    after = refinement.labels
    labelled = after != ignore
    if policy == "agreement":
        return torch.where(after == before, 1.0, refinement.scores) * labelled
    if policy == "zero":
        return labelled.float()
    had = (weight * (before != ignore)).sum(dtype=torch.float64)
    has = (weight * labelled).sum(dtype=torch.float64)
    return labelled * torch.where(has > 0, had / has, 0.0)
