"""What sgg asks of a diffusion model, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says about a noisy sample ``x_t``.

    ``x_t = sqrt(alpha_cumprod) * pred_x0 + sqrt(1 - alpha_cumprod) * epsilon`` holds: where a
    model clips ``pred_x0``, ``epsilon`` is derived again from the clipped one.

    Args:
        pred_x0: (B, C, h, w), the sample without its noise.
        epsilon: (B, C, h, w), the noise.
        variance_fraction: where the log-variance of a reverse step lies between that of the
            posterior q(x_s | x_t, x_0), 0 ("fixed small"), and that of the forward step
            q(x_t | x_s), 1 ("fixed large"); a (B, C, h, w) tensor where the model has learned it.
            A fraction, so that it holds for steps of every length.
    """

    pred_x0: Tensor
    epsilon: Tensor
    variance_fraction: Tensor | float = 0.0


@runtime_checkable
class DiffusionModel(Protocol):
    """A variance-preserving diffusion model with discrete steps ``t`` in ``0..T-1``.

    Implementations keep no state between calls and touch no global random number generator.
    ``predict`` and ``decode`` are differentiable with respect to their first argument wherever
    the caller has gradients enabled.

    An attribute ``tile_size`` (height, width), in pixels of images, is optional: larger images
    are then shown to the denoiser in tiles of this size.
    """

    @property
    def alphas_cumprod(self) -> Tensor:
        """(T,) float64 on the CPU, falling: the share of signal variance after t + 1 steps."""
        ...

    @property
    def size_multiple(self) -> int:
        """Height and width of the images given to ``encode`` must be multiples of it."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model lives and wants its tensors."""
        ...

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """Separate signal and noise of samples at step ``t``.

        Args:
            x_t: (B, C, h, w) floating point.
            t: the step, the same for the whole batch, an index into ``alphas_cumprod``.

        Returns:
            The prediction in the dtype of ``x_t``.
        """
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to samples ``x_0`` (B, C, h, w)."""
        ...

    def decode(self, x_0: Tensor) -> Tensor:
        """Samples (B, C, h, w) to images (B, 3, H, W), nominally in [-1, 1], not clamped."""
        ...
