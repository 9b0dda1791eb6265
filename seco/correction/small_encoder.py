"""The default feature extractor's network: small, and the same in training and evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        # Images come one at a time and in any size, which batch statistics would not survive.
        nn.GroupNorm(8, outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, dilation=dilation),
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False),
            nn.GroupNorm(8, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return torch.relu(x + y)


class SmallEncoder(nn.Module):
    """Images (B, 3, H, W), about -1 to 1, to a fine map (stride 4) and a coarse one (stride 16).

    The fine one says what a small region looks like, the coarse one where it stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_conv(3, 32, 2), _conv(32, 64, 2))
        self.coarse = nn.Sequential(
            _conv(64, 96, 2),
            _Residual(96),
            _conv(96, 160, 2),
            _Residual(160),
            _Residual(160, dilation=2),
        )

    @classmethod
    def seeded(cls, seed: int) -> SmallEncoder:
        """New weights (He initialisation) that depend on the seed alone, on the CPU."""
        with torch.device("meta"):  # drawing would advance the global generator
            network = cls().float()
        network.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.GroupNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        return network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 64, H/4, W/4) and (B, 160, H/16, W/16), rounded up."""
        fine = self.fine(x)
        return fine, self.coarse(fine)
