"""Where a region's features come from: a small network, the user's own, or SAM's embedding."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seco.common.checks import check_integer, check_number, describe
from seco.common.modules import device_of, dtype_of, fingerprint
from seco.common.normalization import rgb_statistics
from seco.correction.levels import levels_of, whole
from seco.correction.protocol import FeatureExtractor, FeatureMap
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.small_encoder import SmallEncoder
from seco.sam.inference import inference
from seco.sam.inputs import IMAGENET_MEAN, IMAGENET_STD
from seco.sam.loading import as_segmenter
from seco.sam.protocol import PromptableSegmenter
from seco.sam.sam2 import is_sam2
from seco.sam.segment_anything import is_segment_anything
from seco.sam.transformers import is_transformers_sam

# Whatever the pixels' scale, it is told by a std that is not 1.
_RAW = "give std 255 for a module that takes RGB in 0-1, also within one that multiplies by 255"


class SmallExtractor:
    """A small convolutional network, trained from scratch with the classifier; needs no download.

    Args:
        seed: of its initial weights.
        device: where to put it.

    Example:
        >>> maps = SmallExtractor(seed=0)(torch.zeros(3, 64, 96, dtype=torch.uint8))
        >>> [tuple(level.values.shape) for level in maps]
        [(64, 16, 24), (160, 4, 6)]
    """

    def __init__(self, *, seed: int = 0, device: str | torch.device = "cpu") -> None:
        network = SmallEncoder.seeded(check_integer("seed", seed, low=0))
        # Channels last: a fifth faster on a CPU, and what pooling wants.
        self._network = network.to(device).to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return device_of(self._network)

    @property
    def trained(self) -> nn.Module | None:
        """The network."""
        return self._network

    @property
    def learning_rate_factor(self) -> float:
        """1: the network starts from nothing, as the classifier does."""
        return 1.0

    def __call__(self, image: Tensor) -> Sequence[FeatureMap]:
        """A fine (stride 4) and a coarse (stride 16) map; see :class:`FeatureExtractor`."""
        pixels = (image.to(self.device).float() / 127.5 - 1)[None]
        levels = self._network(pixels.contiguous(memory_format=torch.channels_last))
        return [whole(level[0]) for level in levels]

    def describe(self) -> dict[str, str]:
        """Its kind."""
        return {"kind": "small"}


class ModuleExtractor:
    """Any network that turns images into feature maps: a backbone, your own UDA encoder.

    It runs in evaluation mode (its BatchNorm statistics stay as they are, even when its weights
    are trained) and outside the caller's autocast; your object is never changed.

    Args:
        module: (1, 3, H, W) normalised images to (1, C, h, w) features: a tensor, or a list,
            tuple or mapping of such.
        trained: fine-tune a copy with the classifier (paper: a ResNet-101), or leave it frozen.
        mean: per channel of the RGB image, what ``module`` expects to be subtracted.
        std: per channel, what it then expects to be divided by. Both together say the scale of the
            image: 0-255 (mean 123.675, ..., std 58.395, ...) or 0-1 (mean 0.485, ..., std 0.229,
            ...). For RGB in 0-1 that is not normalised further, give mean 0 and std 255.
        output: which item of a list (its position) or mapping (its name) to take, or several in a
            tuple. Without one, a list's levels are all taken; a mapping must then hold only one.
            Each level is pooled at its own resolution.
        learning_rate_factor: of the fine-tuned copy, which knows more than the classifier that
            starts from nothing (released code: 0.1).

    Raises:
        TypeError, ValueError: an argument of another kind or range; at the first image, if the
            output is none of these.

    Example:
        >>> extractor = ModuleExtractor(nn.Conv2d(3, 8, 4, stride=4))
        >>> extractor(torch.zeros(3, 64, 96, dtype=torch.uint8))[0].values.shape
        torch.Size([8, 16, 24])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        trained: bool = False,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        output: int | str | tuple[int | str, ...] | None = None,
        learning_rate_factor: float = 0.1,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module: expected a torch.nn.Module, got {describe(module)}")
        self._module = copy.deepcopy(module).eval().requires_grad_(True) if trained else module
        self._is_trained = trained
        found = rgb_statistics("mean, std", mean, std, high=255, instead=_RAW)
        self._statistics = found.float().reshape(2, 3, 1, 1)
        self._output = output
        self._learning_rate_factor = check_number(
            "learning_rate_factor", learning_rate_factor, low=0
        )

    @property
    def device(self) -> torch.device:
        """Where the module lives."""
        return device_of(self._module)

    def to(self, device: str | torch.device) -> ModuleExtractor:
        """Move the module (a frozen one is yours) and return this."""
        self._module.to(device)
        return self

    @property
    def trained(self) -> nn.Module | None:
        """The copy that is fine-tuned, or ``None``."""
        return self._module if self._is_trained else None

    @property
    def learning_rate_factor(self) -> float:
        """As given."""
        return self._learning_rate_factor

    def __call__(self, image: Tensor) -> Sequence[FeatureMap]:
        """See :class:`FeatureExtractor`."""
        mean, std = self._statistics.to(self.device)
        pixels = ((image.to(self.device).float() - mean) / std)[None]
        pixels = pixels.to(dtype_of(self._module))
        if self._is_trained:
            found = self._module(pixels)
        else:
            with inference(self._module):
                found = self._module(pixels)
        return [whole(level[0]) for level in levels_of(found, self._output)]

    def describe(self) -> dict[str, str]:
        """Its kind, how it is fed, and, if frozen, which weights it has."""
        said = {
            "kind": "module",
            "trained": str(self._is_trained),
            "statistics": str(self._statistics.flatten().tolist()),
            "output": str(self._output),
        }
        return said if self._is_trained else said | {"weights": fingerprint(self._module)}


def as_extractor(
    encoder: object, *, seed: int = 0, device: str | torch.device | None = None
) -> FeatureExtractor:
    """Make an extractor of what the user gave.

    Args:
        encoder: ``None`` for the small network, a SAM as :func:`seco.sam.as_segmenter` accepts it,
            an ``nn.Module`` (frozen, ImageNet statistics), or an extractor.
        seed: of the small network's initial weights.
        device: of the small network; the others live where they live.

    Raises:
        TypeError: something else.
        ValueError: a device for an extractor that has one.
    """
    if encoder is None:
        return SmallExtractor(seed=seed, device="cpu" if device is None else device)
    if device is not None:
        raise ValueError(
            f"device: expected None with an encoder, which has its own, got {device!r}"
        )
    if isinstance(encoder, type):
        raise TypeError(f"encoder: expected an object, got the class {encoder.__name__}")
    is_sam = is_segment_anything(encoder) or is_sam2(encoder) or is_transformers_sam(encoder)
    if not is_sam and not isinstance(encoder, PromptableSegmenter):
        if isinstance(encoder, nn.Module):
            return ModuleExtractor(encoder)
        if isinstance(encoder, FeatureExtractor):
            return encoder
    try:
        return SegmenterExtractor(as_segmenter(encoder))
    except TypeError as error:
        raise TypeError(
            "encoder: expected None, a torch.nn.Module, an object with the methods of "
            f"FeatureExtractor, or a SAM ({error})"
        ) from error
