"""What seco asks of a promptable segmenter, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Embedding:
    """One encoded image.

    Args:
        features: whatever the back end's ``decode`` needs; opaque to everyone else (a tuple of
            tensors in the bundled back ends).
        size: height and width of the encoded image in pixels.
    """

    features: Any
    size: tuple[int, int]


@dataclass(frozen=True)
class MaskLogits:
    """Low-resolution answers of the mask decoder to N prompts, M masks each.

    Args:
        logits: (N, M, h, w) float32; positive is inside.
        scores: (N, M) float32, the decoder's own estimate of each mask's IoU, nominally 0-1.
        extent: height and width, in cells of ``logits`` and possibly fractional, of the top left
            part that shows the image; the rest is the back end's padding.
    """

    logits: Tensor
    scores: Tensor
    extent: tuple[float, float]


@runtime_checkable
class PromptableSegmenter(Protocol):
    """Encode an image once, then answer any number of prompts about it.

    Implementations keep no state between calls, run without gradients and outside the caller's
    autocast, and touch no global random number generator. They are not ``torch.nn.Module``, so
    that assigning one to an attribute of a model never registers SAM's weights there.
    """

    @property
    def device(self) -> torch.device:
        """Where the model lives, and where ``encode`` and ``decode`` return their tensors."""
        ...

    def encode(self, images: Tensor) -> Sequence[Embedding]:
        """Encode a batch.

        Args:
            images: (B, 3, H, W) RGB, uint8 or float32 in 0-255, on any device.

        Returns:
            One embedding per image.
        """
        ...

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        """Answer N >= 1 prompts about one image in one pass of the mask decoder.

        Args:
            embedding: one item of ``encode``'s result.
            boxes: (N, 4) float x0, y0, x1, y1 in pixels of the image.
            points: (N, P, 2) float x, y in pixels of the image, the same P for every prompt.
            point_labels: (N, P) integers, 1 foreground, 0 background; required with ``points``.
            multimask: several masks per prompt (the back end's ambiguity levels) or one.

        Returns:
            The masks at the decoder's own resolution.
        """
        ...


class MultiImageDecoder(Protocol):
    """What a back end may have besides: prompts about several images in one pass.

    On a GPU a few prompts about an image take as long as launching their work, nearly all of
    which a batch of images then needs once. :func:`seco.sam.inference.decode_several` uses it
    where it is there.
    """

    def decode_several(
        self,
        embeddings: Sequence[Embedding],
        counts: Sequence[int],
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        """Answer N >= 1 prompts about several images of one size.

        Args:
            embeddings: items of ``encode``'s results, for images of the same height and width.
            counts: how many of the prompts are about each of them, N in all; prompts come image
                after image.
            boxes: as in :meth:`PromptableSegmenter.decode`.
            points: likewise.
            point_labels: likewise.
            multimask: likewise.

        Returns:
            The answers to all prompts, one after the other, as ``decode`` gives them for each
            image.
        """
        ...
