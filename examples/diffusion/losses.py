"""What the network is trained to say about a noisy image, and how well it says it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BUCKETS = 8


def targets(scheduler: Any, images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the scheduler's ``prediction_type`` asks for, like ``images``."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return scheduler.get_velocity(images, noise, t)
    raise SystemExit(f"prediction_type: expected epsilon or v_prediction, got {kind}")


def min_snr_weights(scheduler: Any, t: Tensor, gamma: float) -> Tensor:
    """Weights (B,) that bound what little noise counts: min(SNR, gamma) on the error of x_0.

    Source: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", ICCV 2023.
    """
    alphas = scheduler.alphas_cumprod.to(t.device)[t]
    snr = alphas / (1 - alphas)
    # the squared error of epsilon is SNR times that of x_0, that of v is SNR + 1 times
    own = snr if scheduler.config.prediction_type == "epsilon" else snr + 1
    return snr.clamp(max=gamma) / own


@torch.no_grad()
def held_out_losses(
    unet: nn.Module, scheduler: Any, images: Tensor, *, seed: int = 0, batch: int = 16
) -> list[float]:
    """Mean squared error of the noise estimate in buckets of t, the first without much noise.

    Args:
        unet: in evaluation mode.
        scheduler: with ``alphas_cumprod``.
        images: (N, 3, H, W) in [-1, 1]; bucket k gets every one, at its own t and noise.
        seed: of steps and noise, the same at every call.
        batch: images in one pass.
    """
    total = len(scheduler.alphas_cumprod)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for k in range(BUCKETS):
        low, high = k * total // BUCKETS, (k + 1) * total // BUCKETS
        errors = []
        for part in images.split(batch):
            t = torch.randint(low, high, (len(part),), generator=generator).to(part.device)
            noise = torch.randn(part.shape, generator=generator).to(part.device)
            x_t = scheduler.add_noise(part, noise, t)
            found = unet(x_t, t).sample.float()
            if scheduler.config.prediction_type == "v_prediction":
                # epsilon = sqrt(alpha) v + sqrt(1 - alpha) x_t
                alpha = scheduler.alphas_cumprod.to(part.device)[t][:, None, None, None]
                found = alpha.sqrt() * found + (1 - alpha).sqrt() * x_t
            errors.append((found - noise).square().mean((1, 2, 3)))
        losses.append(torch.cat(errors).mean().item())
    return losses
