"""Train a segmenter on a set of labels, the same way for every set."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def train(
    model: torch.nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    crop: tuple[int, int],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> torch.nn.Module:
    """Train a model further; with one seed the same crops for every set of labels.

    Args:
        model: images (B, 3, H, W) in [0, 1] to logits (B, K, H, W); changed, and returned in
            evaluation mode.
        images: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8; 255 is ignored.
        crop: height and width of what a step sees of an image.
        steps: of the optimiser.
        batch: crops in a step.
        rate: the first learning rate; it falls to 0.
        seed: of the crops.
    """
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    targets = torch.from_numpy(labels).long()
    height, width = crop
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps) ** 0.9
        views, wanted = [], []
        for index in rng.integers(0, len(images), batch):
            top = rng.integers(0, pixels.shape[-2] - height + 1)
            left = rng.integers(0, pixels.shape[-1] - width + 1)
            window = np.s_[..., top : top + height, left : left + width]
            view, target = pixels[index][window], targets[index][window]
            if rng.random() < 0.5:
                view, target = view.flip(-1), target.flip(-1)
            gain, shift = rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1)
            views.append((gain * (view - 0.5) + 0.5 + shift).clamp(0, 1))
            wanted.append(target)
        logits = model(torch.stack(views))
        target = torch.stack(wanted)
        loss = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
        optimizer.zero_grad()
        (loss / (target != 255).sum().clamp(min=1)).backward()
        optimizer.step()
    return model.eval()
