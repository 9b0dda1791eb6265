"""The pixel-wise baseline: noisy pixels are told by their loss, as DivideMix tells noisy samples.

Our own small form of Li et al., "DivideMix: Learning with Noisy Labels as Semi-supervised
Learning", ICLR 2020, with one network instead of two and no mixing: a network is warmed up on the
labels, two Gaussians are fitted to the losses of all labelled pixels, and a pixel of the upper one
takes the network's class if that is certain, else none.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture

NOISY = 0.5
"""A pixel at least so probably of the upper Gaussian is noise (DivideMix: 0.5)."""
CERTAIN = 0.95
"""A class more probable than this takes its place, as SCC's threshold in the paper."""
FITTED = 100_000
"""The mixture is fitted to so many pixels, drawn by lot."""


def divide_pixels(
    model: torch.nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    ignore_index: int,
    device: torch.device,
    seed: int,
) -> np.ndarray:
    """Keep, rename or drop every pixel.

    Args:
        model: warmed up on these very labels; images (B, 3, H, W) in [0, 1] to logits.
        images: (N, H, W, 3) uint8.
        labels: (N, H, W) uint8.
        ignore_index: of unlabelled pixels, which stay so.
        device: of the model.
        seed: of the lot.

    Returns:
        (N, H, W) uint8.
    """
    losses, classes, certainty = (np.stack(part) for part in zip(
        *(_seen(model, image, label, ignore_index, device)
          for image, label in zip(images, labels, strict=True)), strict=True
    ))  # fmt: skip
    labelled = labels != ignore_index
    values = losses[labelled]
    if values.size < 2 or np.ptp(values) == 0:
        return labels
    values = (values - values.min()) / np.ptp(values)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, min(FITTED, values.size), replace=False)[:, None]
    mixture = GaussianMixture(2, max_iter=100, tol=1e-2, reg_covar=5e-4, random_state=seed)
    mixture.fit(drawn)
    upper = int(mixture.means_.argmax())
    noisy = np.zeros(labels.shape, bool)
    noisy[labelled] = mixture.predict_proba(values[:, None])[:, upper] >= NOISY
    renamed = np.where(certainty > CERTAIN, classes, ignore_index)
    return np.where(noisy, renamed, labels).astype(np.uint8)


@torch.no_grad()
def _seen(
    model: torch.nn.Module,
    image: np.ndarray,
    label: np.ndarray,
    ignore_index: int,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, most probable class and its probability of every pixel."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(device).float() / 255
    wanted = torch.from_numpy(label.astype(np.int64))[None].to(device)
    logits = model(pixels).float()
    loss = F.cross_entropy(logits, wanted, ignore_index=ignore_index, reduction="none")
    best = logits.softmax(1).max(1)
    return tuple(part[0].cpu().numpy() for part in (loss, best.indices, best.values))
