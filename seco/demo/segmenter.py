"""A small street-scene segmenter that knows only the "game" domain.

Run on the "camera" domain it makes pseudo-labels with the errors of a real model under domain
shift. ``examples/train_segmenter.py`` trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from os import PathLike
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from seco.common.checks import describe
from seco.common.label_spaces import STREETS

WEIGHTS = "segmenter.safetensors"
_MEAN, _STD = 0.45, 0.25
# Taller images than the first are seen twice: small, for what is large in them, and larger.
_TALL, _HEIGHTS = 384, (256, 512)


def _conv(
    inputs: int,
    outputs: int,
    size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        wide = 3 * inputs
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            _conv(inputs, wide, 1),
            nn.ReLU(inplace=True),
            _conv(wide, wide, 3, stride=stride, groups=wide, dilation=dilation),
            nn.ReLU(inplace=True),
            _conv(wide, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Merge(nn.Module):
    """Enlarge coarse features to the size of fine ones and mix both."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.reduce = _conv(coarse, outputs, 1)
        self.lateral = _conv(fine, outputs, 1)
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True), _conv(outputs, outputs, 3), nn.ReLU(inplace=True)
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Features of the size of ``fine``."""
        large = F.interpolate(self.reduce(coarse), fine.shape[-2:], mode="bilinear")
        mixed: Tensor = self.mix(large + self.lateral(fine))
        return mixed


class StreetSegmenter(nn.Module):
    """Fully convolutional encoder and decoder with skip connections.

    Args:
        num_classes: K.

    """

    def __init__(self, num_classes: int = STREETS.num_classes) -> None:
        super().__init__()
        self.stage2 = nn.Sequential(_conv(3, 16, 3, stride=2), nn.ReLU(inplace=True))
        self.stage4 = nn.Sequential(InvertedResidual(16, 32, stride=2), InvertedResidual(32, 32))
        self.stage8 = nn.Sequential(
            InvertedResidual(32, 64, stride=2), InvertedResidual(64, 64), InvertedResidual(64, 64)
        )
        self.stage16 = nn.Sequential(
            InvertedResidual(64, 112, stride=2),
            InvertedResidual(112, 112),
            InvertedResidual(112, 112, dilation=2),
            InvertedResidual(112, 112, dilation=4),
        )
        self.context = nn.Linear(112, 112)
        self.up8 = Merge(112, 64, 64)
        self.up4 = Merge(64, 32, 40)
        self.up2 = Merge(40, 16, 24)
        self.head = nn.Conv2d(24, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), float, in [0, 1], any size from 32 x 32, to logits (B, K, H, W)."""
        half = self.stage2((image - _MEAN) / _STD)
        quarter = self.stage4(half)
        eighth = self.stage8(quarter)
        deep = self.stage16(eighth)
        gate = torch.sigmoid(self.context(deep.mean((2, 3))))
        deep = deep * gate[..., None, None]
        y = self.up2(self.up4(self.up8(deep, eighth), quarter), half)
        return F.interpolate(self.head(y), image.shape[-2:], mode="bilinear")


def load_segmenter(weights: str | PathLike[str] | None = None) -> StreetSegmenter:
    """The bundled segmenter: float32, on the CPU, in evaluation mode.

    Args:
        weights: a safetensors file of the same network to load instead.

    Example:
        >>> segmenter = load_segmenter()
        >>> segmenter(torch.zeros(1, 3, 64, 128)).shape
        torch.Size([1, 13, 64, 128])
    """
    from safetensors.torch import load_file

    with torch.device("meta"):  # no random initialisation: the global generator is the caller's
        segmenter = StreetSegmenter()
    if weights is not None:
        state = load_file(weights)
    else:
        with as_file(files("seco.demo") / "weights" / WEIGHTS) as path:
            state = load_file(path)
    # stored in half precision; counters of the normalisation layers are integers
    single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    segmenter.load_state_dict(single, assign=True)
    return segmenter.eval().requires_grad_(False)


@overload
def predict(segmenter: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]: ...
@overload
def predict(
    segmenter: nn.Module, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...
def predict(
    segmenter: nn.Module, images: Tensor | NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
) -> tuple[Tensor, Tensor] | tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Most likely class and its probability for every pixel: pseudo-labels.

    Images of more than 384 rows are seen at a height of 256 and of at most 512 pixels, and the
    probabilities are averaged.

    Args:
        segmenter: images (B, 3, H, W), float, in [0, 1] -> logits (B, K, H, W); in evaluation
            mode.
        images: (B, H, W, 3) uint8 RGB array or a sequence of B such images of one size; or a
            (B, 3, H, W) floating-point tensor in [0, 1], on the device of the segmenter.

    Returns:
        labels (B, H, W), uint8 for arrays and int64 for a tensor, and confidence (B, H, W),
        float32 in (0, 1].

    Raises:
        TypeError: ``images`` is of another kind or dtype.
        ValueError: shape or range is another one, there is no image, they differ in size, or the
            segmenter is in training mode.

    Example:
        >>> from seco.demo.scenes import street_scene
        >>> image = street_scene(100_000, size=(64, 128)).image
        >>> labels, confidence = predict(load_segmenter(), image[None])
        >>> labels.shape, confidence.dtype.name
        ((1, 64, 128), 'float32')
    """
    if segmenter.training:
        raise ValueError("segmenter: expected evaluation mode, got training mode; call .eval()")
    if isinstance(images, Tensor):
        return _predict(segmenter, _checked(images))
    stack = _stacked(images) if isinstance(images, (list, tuple)) else images
    if not isinstance(stack, np.ndarray) or stack.dtype != np.uint8:
        raise TypeError(
            "images: expected a uint8 array, a list of them or a floating-point tensor, "
            f"got {describe(stack)}"
        )
    if stack.ndim != 4 or stack.shape[-1] != 3 or 0 in stack.shape:
        raise ValueError(
            f"images: expected shape (B, H, W, 3) without an empty side, got {stack.shape}"
        )
    pixels = torch.from_numpy(np.ascontiguousarray(stack)).permute(0, 3, 1, 2).float() / 255
    labels, confidence = _predict(segmenter, pixels)
    return labels.to(torch.uint8).numpy(), confidence.numpy()


def _stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    for image in images:
        if not isinstance(image, np.ndarray):
            raise TypeError(f"images: expected uint8 arrays in a list, got {describe(image)}")
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1:
        got = " and ".join(map(str, shapes)) if shapes else "no image"
        raise ValueError(f"images: expected at least one image and all of one size, got {got}")
    return np.stack(images)


def _checked(images: Tensor) -> Tensor:
    if not images.is_floating_point():
        raise TypeError(f"images: expected a floating-point tensor, got {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(
            f"images: expected shape (B, 3, H, W) without an empty side, got {tuple(images.shape)}"
        )
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images: expected values in [0, 1], got {low:g} to {high:g}")
    return images


def _predict(segmenter: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    labels, confidence = [], []
    with torch.no_grad():
        for index in range(len(pixels)):  # the logits of a whole batch would be large
            best = _probabilities(segmenter, pixels[index : index + 1]).max(1)
            labels.append(best.indices)
            confidence.append(best.values)
    return torch.cat(labels), torch.cat(confidence)


def _probabilities(segmenter: nn.Module, image: Tensor) -> Tensor:
    """Class probabilities (1, K, H, W), for a tall image averaged over two sizes of it."""
    height, width = image.shape[-2:]
    if height <= _TALL:
        probabilities: Tensor = segmenter(image).float().softmax(1)
        return probabilities
    views = []
    for rows in _HEIGHTS:
        scale = min(1.0, rows / height)
        size = (round(scale * height), max(round(scale * width), 32))
        view = F.interpolate(image, size, mode="bilinear", antialias=True)
        logits = segmenter(view).float()
        views.append(F.interpolate(logits, (height, width), mode="bilinear").softmax(1))
    return torch.stack(views).mean(0)
