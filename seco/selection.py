"""Which pixels of a pseudo-label are confident enough to take part."""

from __future__ import annotations

import torch
from torch import Tensor

from seco.common.checks import (
    check_holds_ignore,
    check_integer,
    check_label_map,
    check_number,
    describe,
)
from seco.common.images import confidence_to_batch, mask_to_batch


def select_confident(
    label: Tensor,
    confidence: Tensor,
    *,
    fraction: float = 0.5,
    threshold: float | None = None,
    valid: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Set the less confident pixels of a pseudo-label to ignore.

    By default class-balanced, as in the SeCo paper and the methods it builds on: of the n pixels
    that an image gives to a class, the ``ceil(fraction * n)`` most confident stay, so every class
    that is there keeps at least one pixel. Pixels as confident as the last of them stay too: the
    choice does not depend on where a pixel lies. Confidences are compared in float32.

    Args:
        label: (H, W) or (B, H, W) integer class ids, at least 0.
        confidence: the same shape, floating point in 0-1.
        fraction: share to keep of each predicted class in each image, in (0, 1]; 0.5 in the paper.
        threshold: keep the pixels with at least this confidence, whatever their class; used
            instead of ``fraction``.
        valid: the same shape, bool or 0 and 1; pixels where it is false are not counted and
            become ignore.
        ignore_index: the id of unlabelled pixels, in and out.

    Returns:
        A new label with the shape, dtype and device of ``label``.

    Raises:
        TypeError: another kind of object or dtype.
        ValueError: the shapes differ, NaN, or a value outside its range.

    Example:
        >>> label = torch.tensor([[0, 0, 0, 1, 1, 255]])
        >>> confidence = torch.tensor([[0.9, 0.5, 0.7, 0.1, 0.1, 1.0]])
        >>> select_confident(label, confidence)
        tensor([[  0, 255,   0,   1,   1, 255]])
        >>> select_confident(label, confidence, threshold=0.7)
        tensor([[  0, 255,   0, 255, 255, 255]])
    """
    if not isinstance(label, Tensor):
        raise TypeError(f"label: expected a torch tensor, got {describe(label)}")
    check_label_map("label", label)
    check_integer("ignore_index", ignore_index)
    check_holds_ignore("label", label, ignore_index)
    check_number("fraction", fraction, low=0, high=1, low_open=True)
    classes = label.long().reshape(-1, *label.shape[-2:])
    scores = confidence_to_batch("confidence", confidence, classes)
    labelled = classes != ignore_index
    if valid is not None:
        labelled &= mask_to_batch("valid", valid, classes)
    if threshold is not None:
        keep = labelled & (scores >= check_number("threshold", threshold, low=0, high=1))
    else:
        keep = _top_fraction(classes, scores, labelled, fraction)
    return label.masked_fill(~keep.reshape(label.shape), ignore_index)


def _top_fraction(classes: Tensor, scores: Tensor, labelled: Tensor, fraction: float) -> Tensor:
    """Where (B, H, W) a labelled pixel is among the top of its class in its image: one sort."""
    others = ~labelled
    chosen = classes.masked_fill(others, 0)
    low, high = (int(end) for end in torch.stack(torch.aminmax(chosen)).tolist())
    if low < 0:
        raise ValueError(f"label: expected class ids >= 0, got {low}")
    images, count = len(classes), high + 1
    image = torch.arange(images, device=classes.device)[:, None, None]
    # One group per image and class, and a last one for what is not labelled: indexing by a mask
    # would cost more than sorting it along.
    group = (image * count + chosen).masked_fill_(others, images * count)
    # Non-negative floats are ordered as their bits are: one integer holds group and confidence.
    # Adding zero turns -0.0 into 0.0.
    key = (group << 32) | (scores + 0.0).view(torch.int32)
    ordered = key.flatten().sort().values
    sizes = torch.bincount(group.flatten(), minlength=images * count + 1)
    # Short of rounding in the product, which may exceed a whole number by a hair.
    kept = torch.ceil(sizes.double() * fraction - 1e-6).long().clamp(min=1)
    # The k-th highest of each group; an empty group has no pixel to ask for its value.
    lowest = ordered.take((sizes.cumsum(0) - kept).clamp(min=0, max=len(ordered) - 1))
    return labelled & (key >= lowest.take(group))
