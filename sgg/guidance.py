"""Label guidance: where the segmenter's loss on the source label rises, by region and as a whole.

Source: Peng et al., "Diffusion-based Image Translation with Label Guidance for Domain Adaptive
Semantic Segmentation", ICCV 2023: Local Class-regional Guidance (LCG) and Global Scene-harmonious
Guidance (GSG).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.checks import check_choice, check_integer, describe
from seco.common.precision import exact
from sgg.constants import constant
from sgg.windows import Window, region_windows

Segment = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) in [-1, 1], possibly noisy and beyond, to logits (N, K, h, w)."""

Reduction = Literal["sum", "mean"]

# Of the copies in one pass, with which a CPU's cache can do: on a GPU max_copies alone decides.
PIXELS_ON_A_CPU = 1 << 16


def local_gradient(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    *,
    ignore_index: int = 255,
    reduction: Reduction = "sum",
    class_weights: Sequence[float] | Tensor | None = None,
    max_copies: int = 8,
    crop_margin: int | None = None,
) -> Tensor:
    """Gradient of the class-regional losses, every class seen alone in its region (LCG).

    For each class c present in an image, with region m_c, the segmenter sees ``image * m_c`` and
    only the pixels of m_c count. All classes of all images are one batch of copies, in chunks;
    no copy sees another, so each gradient is the one the class would get alone.

    With a ``crop_margin`` the segmenter sees only a window around the region (see
    :func:`sgg.windows.region_windows`). That changes nothing where the margin is at least the
    segmenter's receptive field (the farthest pixel, in any one direction, that logits enlarged to
    the image depend on), its stride divides 32 and the image's sides, and no layer gathers
    statistics of the whole image (attention, global pooling, group or instance normalisation);
    elsewhere it is an approximation.

    Args:
        images: (B, 3, H, W) floating point in [-1, 1] or noisy; 0 is what regions are blanked to.
        labels: (B, H, W) int64 class ids or ``ignore_index``.
        segment: images to logits, differentiable, each image by itself; any stride, the logits
            are enlarged (bilinear) to the labels' size.
        ignore_index: pixels of it neither count nor are guided.
        reduction: ``"sum"`` of the pixels' cross-entropies, the negative log-likelihood of the
            label (the paper does not say), or ``"mean"`` over each region.
        class_weights: K factors on the classes' losses.
        max_copies: most images, or windows of as many pixels together, in one forward and backward
            of the segmenter; bounds memory. If the images are on a CPU, where many at once are
            slower, fewer if they are large.
        crop_margin: pixels around a region that the segmenter sees; ``None`` is the whole image.

    Returns:
        (B, 3, H, W): the sum over c of m_c times the gradient of class c's loss.

    Raises:
        TypeError, ValueError: another shape, dtype or option, or a class the segmenter lacks.

    Example:
        >>> images, labels = torch.zeros(1, 3, 4, 6), torch.full((1, 4, 6), 255)
        >>> labels[:, :2] = 1
        >>> local_gradient(images, labels, lambda x: x[:, :2])[0, :2, :, 0].tolist()
        [[0.5, 0.5, 0.0, 0.0], [-0.5, -0.5, 0.0, 0.0]]
    """
    _check_labels(labels, reduction, max_copies)
    if crop_margin is not None:
        check_integer("crop_margin", crop_margin, low=0)
    return gradient_by_windows(
        images,
        labels,
        segment,
        region_windows(labels, ignore_index=ignore_index, margin=crop_margin),
        ignore_index=ignore_index,
        reduction=reduction,
        class_weights=class_weights,
        max_copies=max_copies,
    )


def global_gradient(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    *,
    ignore_index: int = 255,
    reduction: Reduction = "sum",
    class_weights: Sequence[float] | Tensor | None = None,
    max_copies: int = 8,
) -> Tensor:
    """Gradient of the loss on whole images, so that regions come to fit together (GSG).

    Arguments, errors and shapes are those of :func:`local_gradient`; images are always seen whole.
    ``"mean"`` is over the labelled pixels of each image. Pixels of ``ignore_index`` get no
    gradient, though the loss of their neighbours depends on them.

    Example:
        >>> images, labels = torch.zeros(1, 3, 4, 6), torch.full((1, 4, 6), 255)
        >>> labels[:, :2] = 1
        >>> global_gradient(images, labels, lambda x: x[:, :2])[0, :2, :, 0].tolist()
        [[0.5, 0.5, 0.0, 0.0], [-0.5, -0.5, 0.0, 0.0]]
    """
    _check_labels(labels, reduction, max_copies)
    return gradient_of_labelled(
        images,
        labels,
        segment,
        find_labelled(labels, ignore_index=ignore_index),
        ignore_index=ignore_index,
        reduction=reduction,
        class_weights=class_weights,
        max_copies=max_copies,
    )


def gradient_by_windows(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    windows: Mapping[tuple[int, int], Sequence[Window]],
    *,
    ignore_index: int,
    reduction: Reduction,
    class_weights: Sequence[float] | Tensor | None,
    max_copies: int,
) -> Tensor:
    """:func:`local_gradient` for labels whose windows are known: nothing waits for a GPU."""
    _check_images(images, labels)
    gradient = torch.zeros_like(images)
    ids_seen = [window.class_id for group in windows.values() for window in group]
    for (height, width), group in windows.items():
        most = max_copies * labels[0].numel() // (height * width)
        if images.device.type == "cpu":
            most = min(most, _power_of_two_below(PIXELS_ON_A_CPU // (height * width)))
        for start in range(0, len(group), most):
            chunk = group[start : start + most]
            known = [labels[w.image, w.rows, w.columns] for w in chunk]
            # Each by its own number: a tensor of them would wait for the GPU on its way there.
            region = torch.stack([part == w.class_id for part, w in zip(known, chunk, strict=True)])
            seen = torch.stack([images[w.image, :, w.rows, w.columns] for w in chunk])
            own = _loss_gradient(
                torch.where(region[:, None], seen, 0),
                torch.where(region, torch.stack(known), ignore_index),
                segment,
                (min(ids_seen), max(ids_seen)),
                ignore_index,
                reduction,
                class_weights,
            )
            for window, part in zip(chunk, torch.where(region[:, None], own, 0), strict=True):
                gradient[window.image, :, window.rows, window.columns] += part
    return gradient


def _power_of_two_below(number: int) -> int:
    """The largest one that is not above; 1 for 0. Compiled networks see batches of such sizes."""
    return 1 << max(0, number.bit_length() - 1)


class Labelled(NamedTuple):
    """Which images of a batch have labels, as (N,) int64, and their lowest and highest class."""

    rows: Tensor
    span: tuple[int, int]


def find_labelled(labels: Tensor, *, ignore_index: int = 255) -> Labelled:
    """What :func:`gradient_of_labelled` needs to know of labels (B, H, W).

    Example:
        >>> find_labelled(torch.tensor([[[255]], [[3]]]))
        Labelled(rows=tensor([1]), span=(3, 3))
    """
    labelled = labels != ignore_index
    ids = labels[labelled]
    span = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
    return Labelled(labelled.flatten(1).any(1).nonzero()[:, 0], span)


def gradient_of_labelled(
    images: Tensor,
    labels: Tensor,
    segment: Segment,
    known: Labelled,
    *,
    ignore_index: int,
    reduction: Reduction,
    class_weights: Sequence[float] | Tensor | None,
    max_copies: int,
) -> Tensor:
    """:func:`global_gradient` for labels of which this is known: nothing waits for a GPU."""
    _check_images(images, labels)
    gradient = torch.zeros_like(images)
    for start in range(0, len(known.rows), max_copies):
        index = known.rows[start : start + max_copies]
        targets = labels[index]
        own = _loss_gradient(
            images[index], targets, segment, known.span, ignore_index, reduction, class_weights
        )
        gradient[index] = torch.where((targets != ignore_index)[:, None], own, 0)
    return gradient


def _loss_gradient(
    images: Tensor,
    targets: Tensor,
    segment: Segment,
    span: tuple[int, int],
    ignore_index: int,
    reduction: Reduction,
    class_weights: Sequence[float] | Tensor | None,
) -> Tensor:
    with torch.enable_grad():
        seen = images.detach().requires_grad_(True)
        logits = segment(seen)
        _check_logits(logits, len(targets), span, ignore_index)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = F.interpolate(logits, targets.shape[-2:], mode="bilinear")
        weights = None
        if class_weights is not None:
            if isinstance(class_weights, Tensor):
                weights = class_weights.to(logits)
            else:
                given = torch.tensor(class_weights, dtype=torch.float64, device="cpu")
                weights = constant(given, logits)
            if weights.shape != (logits.shape[1],):
                raise ValueError(
                    f"class_weights: expected {logits.shape[1]} numbers, one per class of the "
                    f"segmenter, got shape {tuple(weights.shape)}"
                )
        losses = F.cross_entropy(
            logits, targets, weight=weights, ignore_index=ignore_index, reduction="none"
        )
        total = losses.sum()
        with exact(seen.device, logits.device):  # backward in the precision of forward
            (gradient,) = torch.autograd.grad(total, seen)
    if reduction == "mean":
        # Not of the loss: divided by so many pixels, gradients vanish in half precision.
        counts = (targets != ignore_index).flatten(1).sum(1)
        gradient = gradient / counts[:, None, None, None]
    return gradient


def _check_labels(labels: Tensor, reduction: str, max_copies: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"labels: expected an int64 tensor, got {describe(labels)}")
    if labels.ndim != 3:
        raise ValueError(f"labels: expected shape (B, H, W), got {tuple(labels.shape)}")
    check_choice("reduction", reduction, ("sum", "mean"))
    check_integer("max_copies", max_copies, low=1)


def _check_images(images: Tensor, labels: Tensor) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(f"images: expected a floating point tensor, got {describe(images)}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    expected = (len(images), *images.shape[-2:])
    if tuple(labels.shape) != expected:
        raise ValueError(f"labels: expected shape {expected}, got {tuple(labels.shape)}")


def _check_logits(logits: Tensor, count: int, span: tuple[int, int], ignore_index: int) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"segment: expected floating point logits, got {describe(logits)}")
    if logits.ndim != 4 or len(logits) != count:
        raise ValueError(
            f"segment: expected logits of shape ({count}, K, h, w), got {tuple(logits.shape)}"
        )
    if not logits.requires_grad:
        raise ValueError(
            "segment: expected logits that are differentiable with respect to the image, got some "
            "without a gradient; does the segmenter run under no_grad?"
        )
    low, high = span
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels: expected class ids 0..{logits.shape[1] - 1}, which the segmenter knows, or "
            f"ignore_index {ignore_index}, got {low if low < 0 else high}"
        )
