"""Denoisers, segmenters, labels and single steps of translation to be timed; all untrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scenes import Size
from torch import Tensor, nn

import sgg
from seco.demo.segmenter import StreetSegmenter
from sgg.guided_steps import label_guidance
from sgg.sampling import ddim_step

STEP, NEXT = 299, 279  # of a chain of 1,000, as 50 steps visit it
_BUNDLED = {
    "block_out_channels": (32, 64, 96, 128),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D",) * 4,
    "up_block_types": ("UpBlock2D",) * 4,
    "add_attention": False,
    "resnet_time_scale_shift": "scale_shift",
}
# As the pixel-space DDPMs for images of 256 x 256 are made: 114 M parameters.
_LARGE = {
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": (*("DownBlock2D",) * 4, "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *("UpBlock2D",) * 4),
}
MODELS = ("small", "large")


def load_diffusion(name: str, size: Size, device: torch.device) -> Any:
    """A ``UNet2DModel`` of the size of the bundled one, or of public ones, ready for sgg."""
    import diffusers

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = diffusers.UNet2DModel(
            sample_size=size, **(_BUNDLED if name == "small" else _LARGE)
        ).to(device)
    return sgg.from_diffusers((unet.eval(), diffusers.DDPMScheduler()))


def load_segmenter(name: str, classes: int, device: torch.device) -> sgg.Segmenter:
    """The bundled street segmenter's architecture, or DeepLab v3 with a ResNet-101."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "small":
            return sgg.Segmenter(StreetSegmenter(classes).eval().to(device), normalization=None)
        from torchvision.models.segmentation import deeplabv3_resnet101

        network = deeplabv3_resnet101(
            weights=None, weights_backbone=None, num_classes=classes, aux_loss=False
        )

    class Logits(nn.Module):
        """It answers with a dictionary."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)["out"]
            return logits

    return sgg.Segmenter(Logits().eval().to(device))


def patches(classes: int, size: Size) -> Tensor:
    """A label (1, H, W) int64 of so many classes, each what is nearest to three random places."""
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(3 * classes, 2)) * size
    y, x = np.mgrid[: size[0], : size[1]]
    far = np.stack([(y - row) ** 2 + (x - column) ** 2 for row, column in places])
    return torch.from_numpy(far.argmin(0) % classes)[None]


def noised(model: Any, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] at step ``STEP``."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    return sgg.add_noise(images, noise, float(model.alphas_cumprod[STEP]))


def stepping(
    model: Any, segment: Any, labels: Tensor, x_t: Tensor, guidance: str, **choices: Any
) -> Callable[[], Tensor]:
    """A DDIM step from ``STEP`` to ``NEXT``.

    Args:
        model: of :func:`load_diffusion`.
        segment: of :func:`load_segmenter`.
        labels: (B, H, W).
        x_t: of :func:`noised`.
        guidance: ``"none"``, ``"global"`` or ``"local"``.
        choices: fields of ``sgg.GuidanceSettings``.
    """

    def unguided(x: Tensor, t: int, to_go: int) -> tuple[sgg.Prediction, None]:
        return model.predict(x, t), None

    predict: Any = unguided
    if guidance != "none":
        predict = label_guidance(
            model, segment, labels, guidance=guidance, settings=sgg.GuidanceSettings(**choices)
        )
    now, then = (float(model.alphas_cumprod[t]) for t in (STEP, NEXT))

    def step() -> Tensor:
        prediction, gradient = predict(x_t, STEP, 1)
        return ddim_step(x_t, prediction, now, then, gradient=gradient)

    return step
