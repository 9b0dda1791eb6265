"""What goes into a back end: checked images and prompts in the model's input frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.checks import describe, dtype_name
from seco.sam.protocol import Embedding

# ImageNet statistics on the 0-255 scale; every SAM but SAM 3 uses them.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

# Images that were un-normalised by a caller miss the ends of 0-255 by rounding.
_SLACK = 0.5


class Prompts(NamedTuple):
    """N prompts on the model's device; see :meth:`PromptableSegmenter.decode`."""

    boxes: Tensor | None
    points: Tensor | None
    point_labels: Tensor | None

    def scaled(self, size: tuple[int, int], input_size: tuple[int, int]) -> Prompts:
        """Move coordinates from an image of ``size`` to the model's input of ``input_size``."""
        (height, width), (input_height, input_width) = size, input_size
        ratios = input_width / width, input_height / height

        def scale(coordinates: Tensor | None) -> Tensor | None:
            if coordinates is None:
                return None
            scaled = coordinates.clone()
            for axis, ratio in enumerate(ratios):  # by numbers: a tensor of them is a transfer
                scaled[..., axis::2].mul_(ratio)
            return scaled

        return Prompts(scale(self.boxes), scale(self.points), self.point_labels)


def long_side_size(size: tuple[int, int], length: int) -> tuple[int, int]:
    """Height and width after the longer side was brought to ``length``, rounded half up.

    Example:
        >>> long_side_size((333, 500), 1024)
        (682, 1024)
    """
    scale = length / max(size)
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


def prepare_images(
    images: Tensor,
    size: tuple[int, int],
    *,
    mean: Tensor | tuple[float, ...] = IMAGENET_MEAN,
    std: Tensor | tuple[float, ...] = IMAGENET_STD,
    device: torch.device,
) -> Tensor:
    """Resize a batch (antialiased, bilinear) and normalise it.

    Args:
        images: (B, 3, H, W) RGB, uint8 or float32 in 0-255, checked by :func:`check_images`.
        size: height and width to bring it to.
        mean: per channel, on the 0-255 scale.
        std: per channel, on the 0-255 scale.
        device: where to do this.

    Returns:
        (B, 3, *size) float32.
    """
    images = images.to(device).float()
    if tuple(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    shift, scale = (
        torch.as_tensor(value, dtype=torch.float32, device=device).view(-1, 1, 1)
        for value in (mean, std)
    )
    return (images - shift) / scale


def describe_statistics(
    mean: Tensor | tuple[float, ...], std: Tensor | tuple[float, ...]
) -> dict[str, str]:
    """Mean and standard deviation for a manifest, where they are not ImageNet's.

    Args:
        mean: per channel, on the 0-255 scale.
        std: likewise.

    Example:
        >>> describe_statistics(IMAGENET_MEAN, (64.0, 64.0, 64.0))
        {'std': '64, 64, 64'}
    """
    said = {}
    usual = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    for (name, values), own in zip(usual.items(), (mean, std), strict=True):
        # From a processor's 0-1 scale they come with other last digits.
        listed = [f"{value:.6g}" for value in torch.as_tensor(own).flatten().tolist()]
        if listed != [f"{value:.6g}" for value in values]:
            said[name] = ", ".join(listed)
    return said


def check_images(images: Tensor) -> None:
    """Raise unless ``images`` is a batch as :meth:`PromptableSegmenter.encode` expects it.

    Raises:
        TypeError: not a tensor, or neither uint8 nor float32.
        ValueError: another shape, an empty side, NaN, or values outside 0-255.

    Example:
        >>> check_images(torch.zeros(3, 8, 8))
        Traceback (most recent call last):
            ...
        ValueError: images: expected shape (B, 3, H, W) without an empty side, got (3, 8, 8)
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images: expected a torch tensor, got {describe(images)}")
    if images.dtype not in (torch.uint8, torch.float32):
        raise TypeError(
            f"images: expected dtype uint8 or float32 (0-255), got {dtype_name(images)}"
        )
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(
            f"images: expected shape (B, 3, H, W) without an empty side, got {tuple(images.shape)}"
        )
    if images.dtype == torch.float32:
        low, high = torch.stack(torch.aminmax(images)).tolist()
        if not (low >= -_SLACK and high <= 255 + _SLACK):  # NaN fails both
            raise ValueError(f"images: expected values in 0-255, got {low:g} to {high:g}")


def check_prompts(
    boxes: Tensor | None,
    points: Tensor | None,
    point_labels: Tensor | None,
    device: torch.device,
) -> Prompts:
    """Check N prompts and bring them to ``device`` as float32 coordinates and int64 labels.

    Raises:
        TypeError: not a tensor, or boolean or complex.
        ValueError: no prompt at all, another shape, different N or P, NaN or infinity, a box
            whose end comes before its start, labels other than 0 and 1, or points without
            labels and the reverse.

    Example:
        >>> check_prompts(torch.zeros(2, 5), None, None, torch.device("cpu"))
        Traceback (most recent call last):
            ...
        ValueError: boxes: expected shape (N, 4) with N > 0, got (2, 5)
    """
    if boxes is None and points is None and point_labels is None:
        raise ValueError("boxes, points: expected at least one of them, got None for both")
    if (points is None) != (point_labels is None):
        given, missing = ("points", "point_labels")[:: 1 if point_labels is None else -1]
        raise ValueError(f"{missing}: expected with {given}, got None")
    if boxes is not None:
        boxes = _coordinates("boxes", boxes, "(N, 4) with N > 0", (4,), device)
    if points is not None and point_labels is not None:
        shape = "(N, P, 2) with N > 0 and P > 0"
        points = _coordinates("points", points, shape, (None, 2), device)
        point_labels = _labels(point_labels, tuple(points.shape[:2]), device)
        if boxes is not None and len(boxes) != len(points):
            raise ValueError(
                f"boxes, points: expected the same N, got {len(boxes)} and {len(points)}"
            )
    _check_values(boxes, points, point_labels)
    return Prompts(boxes, points, point_labels)


def check_counts(
    embeddings: Sequence[Embedding],
    counts: Sequence[int],
    *,
    boxes: Tensor | None,
    points: Tensor | None,
) -> None:
    """Check which of N prompts are about which image.

    Raises:
        ValueError: no prompts or several N, not one count per image, other counts than prompts, or
            images of several sizes.

    Example:
        >>> one = Embedding(None, (4, 4))
        >>> check_counts([one, one], [1, 1], boxes=torch.zeros(3, 4), points=None)
        Traceback (most recent call last):
            ...
        ValueError: counts: expected one per embedding, 2, none negative, 3 in all, got [1, 1]
    """
    numbers = {len(value) for value in (boxes, points) if value is not None}
    if len(numbers) != 1:
        raise ValueError(
            f"boxes, points: expected at least one of them, and of both the same N, got "
            f"{sorted(numbers) or None}"
        )
    (given,) = numbers
    counts = list(counts)
    if len(counts) != len(embeddings) or min(counts, default=-1) < 0 or sum(counts) != given:
        raise ValueError(
            f"counts: expected one per embedding, {len(embeddings)}, none negative, {given} in "
            f"all, got {counts}"
        )
    sizes = sorted({embedding.size for embedding in embeddings})
    if len(sizes) > 1:
        raise ValueError(f"embeddings: expected images of one size, got {sizes}")


def _check_values(boxes: Tensor | None, points: Tensor | None, labels: Tensor | None) -> None:
    """Waits for the device once; only if something is wrong again, to say what."""
    given = {"boxes": boxes, "points": points}
    right = [torch.isfinite(value).all() for value in given.values() if value is not None]
    if boxes is not None:
        right.append((boxes[:, :2] <= boxes[:, 2:]).all())
    if labels is not None:
        right.append(((labels == 0) | (labels == 1)).all())
    if bool(torch.stack(right).all()):
        return
    for name, value in given.items():
        if value is not None and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name}: expected finite coordinates, got NaN or infinity")
    if boxes is not None and bool((boxes[:, 2:] < boxes[:, :2]).any()):
        row = boxes[(boxes[:, 2:] < boxes[:, :2]).any(dim=1)][0].tolist()
        raise ValueError(f"boxes: expected x0 <= x1 and y0 <= y1, got {row}")
    found = [] if labels is None else sorted(set(labels.flatten().tolist()))
    raise ValueError(f"point_labels: expected 1 (foreground) or 0 (background), got {found}")


def _coordinates(
    name: str,
    value: object,
    expected: str,
    sides: tuple[int | None, ...],
    device: torch.device,
) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"{name}: expected a tensor of coordinates, got {describe(value)}")
    shape = tuple(value.shape)
    fits = len(shape) == 1 + len(sides) and all(
        side in (None, have) for have, side in zip(shape[1:], sides, strict=True)
    )
    if not fits or 0 in shape:
        raise ValueError(f"{name}: expected shape {expected}, got {shape}")
    return value.detach().to(device, torch.float32)


def _labels(value: object, shape: tuple[int, ...], device: torch.device) -> Tensor:
    if not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex():
        raise TypeError(f"point_labels: expected an integer tensor, got {describe(value)}")
    if tuple(value.shape) != shape:
        raise ValueError(
            f"point_labels: expected shape {shape} to go with points, got {tuple(value.shape)}"
        )
    return value.to(device, torch.int64)
