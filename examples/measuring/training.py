"""Train a segmenter on a set of labels, the same way for every set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from seco.demo.segmenter import StreetSegmenter

Augment = Callable[
    [torch.Tensor, torch.Tensor, tuple[int, int], torch.Generator],
    tuple[torch.Tensor, torch.Tensor],
]
"""uint8 images and labels, size of the crop, generator -> crops in [0, 1] and int64 labels."""


def new_segmenter(seed: int, classes: int) -> StreetSegmenter:
    """The network of the demo with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return StreetSegmenter(classes)


def jitter(
    images: torch.Tensor, labels: torch.Tensor, size: tuple[int, int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random window of a size, mirror, brightness and contrast, of each image its own."""
    height, width = size
    views, wanted = [], []
    for image, label in zip(images, labels, strict=True):
        top = rng.integers(0, image.shape[-2] - height + 1)
        left = rng.integers(0, image.shape[-1] - width + 1)
        window = np.s_[..., top : top + height, left : left + width]
        view, target = image[window].float() / 255, label[window].long()
        if rng.random() < 0.5:
            view, target = view.flip(-1), target.flip(-1)
        gain, shift = rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1)
        views.append((gain * (view - 0.5) + 0.5 + shift).clamp(0, 1))
        wanted.append(target)
    return torch.stack(views), torch.stack(wanted)


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
    augment: Augment | None = None,
    beside: tuple[np.ndarray, np.ndarray] | None = None,
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
        augment: instead of :func:`jitter`.
        beside: images and labels of another set, the source's, of which a step sees as many
            crops; the losses of both are added.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device

    def crops(pixels: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.integers(0, len(pixels), batch)
        if augment is None:
            return jitter(pixels[chosen], targets[chosen], crop, rng)
        return augment(pixels[chosen], targets[chosen], crop, generator)

    sets = [
        (torch.from_numpy(some).permute(0, 3, 1, 2), torch.from_numpy(named))
        for some, named in [(images, labels), *([] if beside is None else [beside])]
    ]
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps) ** 0.9
        views, target = map(torch.cat, zip(*(crops(*one) for one in sets), strict=True))
        target = target.to(device)
        # One pass over both sets: normalisation sees in training the mixture that it will keep.
        logits = model(views.to(device))
        losses = [
            F.cross_entropy(one, wanted, ignore_index=255, reduction="sum")
            / (wanted != 255).sum().clamp(min=1)
            for one, wanted in zip(logits.split(batch), target.split(batch), strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    return model.eval()
