"""Whatever a segmentation model takes and returns, as images in [-1, 1] to logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seco.common.checks import describe
from seco.common.modules import device_of, dtype_of, without_ddp
from seco.common.normalization import Normalization, mean_and_std, rgb_statistics
from sgg.constants import constant
from sgg.frozen import frozen

IMAGENET: Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and std per channel for RGB in 0-1, as torchvision, timm and transformers have it."""


class Segmenter:
    """A segmentation model as a function from images to logits.

    Not a module itself: assigning one to a model's attribute registers nothing there.

    Args:
        model: a callable or module from normalised RGB (N, 3, H, W) to logits (N, K, h, w), which
            it returns as a tensor, as a mapping's ``"out"`` (torchvision) or ``"logits"``, or as
            an attribute ``.logits`` (transformers); or an mmseg segmentor, whose
            ``encode_decode`` is called. It runs in evaluation mode, its weights frozen; of one in
            ``DistributedDataParallel``, the module within.
        normalization: (mean, std), three numbers each, of the RGB that the model takes,
            ``(x - mean) / std``; they exceed 1 if x is in 0-255 and do not if it is in 0-1. A
            model that takes 0-1 as it is: ``None``; 0-255 as it is: mean 0 with std 1/255.

    Raises:
        TypeError: no callable, or a normalization of another kind.
        ValueError: a normalization that cannot be.

    Example:
        >>> segmenter = Segmenter(lambda x: {"out": x[:, :2]}, normalization=None)
        >>> segmenter(torch.full((1, 3, 4, 4), -1.0)).unique()
        tensor([0.])
    """

    def __init__(self, model: object, *, normalization: Normalization | None = IMAGENET) -> None:
        model = without_ddp(model)
        encode_decode = _encode_decode(model)
        if not callable(model) or (isinstance(model, type) and encode_decode is None):
            raise TypeError(
                f"seg_model: expected a module or function from images to logits, "
                f"got {describe(model)}"
            )
        self.model = model
        self._call = model if encode_decode is None else encode_decode
        self._is_mmseg = encode_decode is not None
        self._statistics = _statistics(normalization)

    @property
    def device(self) -> torch.device:
        """Where the model lives; a function without weights is taken to work anywhere."""
        return device_of(self.model)

    def takes(self, normalization: Normalization | None) -> bool:
        """Whether that is the normalization that the model is given its RGB by.

        Example:
            >>> Segmenter(lambda x: x).takes(IMAGENET), Segmenter(lambda x: x).takes(None)
            (True, False)
        """
        own, other = self._statistics, _statistics(normalization)
        if own is None or other is None:
            return own is other
        return all(torch.allclose(*parts) for parts in zip(own, other, strict=True))

    @property
    def called(self) -> list[nn.Module]:
        """The modules whose ``forward`` computes the logits; none of a function.

        Of mmseg's segmentors that are their parts (backbone, heads).
        """
        if not isinstance(self.model, nn.Module):
            return []
        # The segmentor itself is asked, also of one in DataParallel.
        owner = getattr(self._call, "__self__", self.model) if self._is_mmseg else None
        return [self.model] if owner is None else list(owner.children())

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), nominally in [-1, 1], to logits (N, K, h, w), differentiable.

        Raises:
            TypeError, ValueError: the model returns something else.
        """
        with frozen(self.model):
            return self.learning_logits(images)

    def learning_logits(self, images: Tensor) -> Tensor:
        """The same for training: in the model's own mode, differentiable by its weights too."""
        x = (images + 1) / 2
        if self._statistics is not None:
            mean, std = (constant(part, x)[:, None, None] for part in self._statistics)
            x = (x - mean) / std
        if isinstance(self.model, nn.Module):
            x = x.to(self.device, dtype_of(self.model, x.dtype))
        logits = _logits(self._call(x, _metas(x)) if self._is_mmseg else self._call(x))
        if logits.ndim != 4 or len(logits) != len(images) or logits.shape[1] < 2:
            raise ValueError(
                f"seg_model: expected logits of shape ({len(images)}, K >= 2, h, w), "
                f"got {tuple(logits.shape)}"
            )
        return logits.to(images.device)

    @torch.no_grad()
    def count_classes(self, images: Tensor) -> int:
        """K of the logits, found by asking the model about the first of ``images``."""
        return self(images[:1]).shape[1]


def as_segmenter(seg_model: object, *, normalization: Normalization | None = IMAGENET) -> Segmenter:
    """Wrap what the user passed as ``seg_model``; a :class:`Segmenter` comes back as it is.

    Example:
        >>> segmenter = Segmenter(lambda x: x, normalization=None)
        >>> as_segmenter(segmenter) is segmenter
        True
    """
    if isinstance(seg_model, Segmenter):
        return seg_model
    return Segmenter(seg_model, normalization=normalization)


def _encode_decode(model: object) -> Any:
    """The function of an mmseg segmentor, also of one in DataParallel."""
    for owner in (model, getattr(model, "module", None)):
        function = getattr(owner, "encode_decode", None)
        if callable(function) and not isinstance(owner, type):
            return function
    return None


def _metas(x: Tensor) -> list[dict[str, Any]]:
    # What mmseg asks for to enlarge logits to the input's size; 0.x ignores it.
    size = (int(x.shape[-2]), int(x.shape[-1]))
    meta = {"img_shape": size, "ori_shape": size, "pad_shape": size, "flip": False}
    return [dict(meta) for _ in range(len(x))]


def _logits(output: Any) -> Tensor:
    found = output
    if isinstance(output, Mapping):
        found = output.get("out", output.get("logits"))
    elif not isinstance(output, Tensor):
        found = getattr(output, "logits", None)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        keys = f" with {sorted(map(str, output))}" if isinstance(output, Mapping) else ""
        raise TypeError(
            "seg_model: expected floating point logits as a tensor, under 'out' or 'logits' of a "
            f"mapping, or as .logits, got {describe(output)}{keys}"
        )
    return found


def _statistics(normalization: Normalization | None) -> tuple[Tensor, Tensor] | None:
    """Mean and std for RGB in 0-1, (3,) float64 each."""
    if normalization is None:
        return None
    name = "seg_normalization"
    instead = "pass None for a model that takes RGB in 0-1, std 1/255 for one that takes 0-255"
    mean, std = rgb_statistics(name, *mean_and_std(name, normalization), high=1, instead=instead)
    return mean, std
