"""Diffusion in the latent space of an autoencoder."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from seco.common.checks import describe
from seco.common.modules import dtype_of
from sgg.constants import constant
from sgg.diffusion.protocol import DiffusionModel, Prediction
from sgg.frozen import frozen


class LatentDiffusion:
    """A diffusion model of latents with a diffusers autoencoder before and behind it.

    Latents are normalised as the autoencoder's config says: ``scaling_factor``, ``shift_factor``,
    ``latents_mean`` and ``latents_std``. Encoding takes the mode of the distribution, not a
    sample; decoding is differentiable (through a ``VQModel``'s quantisation as if it were not
    there). Where the config says ``force_upcast``, it works in float32 instead of float16: outside
    autocast, and float16 weights as a copy that is made here: the autoencoder's device and
    switches (tiling, checkpointing) of now count. For many calls wrap once (``as_diffusion``).

    Args:
        latents: the diffusion model of the latents.
        autoencoder: ``AutoencoderKL``, ``AutoencoderTiny``, ``VQModel``, or a module with their
            ``encode``, ``decode`` and ``config``.

    Raises:
        TypeError: an object without these.
    """

    def __init__(self, latents: DiffusionModel, autoencoder: Any) -> None:
        has_all = all(hasattr(autoencoder, name) for name in ("encode", "decode", "config"))
        if not has_all or getattr(autoencoder.config, "block_out_channels", None) is None:
            raise TypeError(
                "diffusion: expected an autoencoder with encode, decode and "
                f"config.block_out_channels, got {describe(autoencoder)}"
            )
        self.latents = latents
        self.autoencoder = autoencoder
        if overflows_in_half(autoencoder) and dtype_of(autoencoder) == torch.float16:
            # Not one per call: the graph of a decoding, and what is recomputed of it, need it.
            self.autoencoder = copy.deepcopy(autoencoder).float().requires_grad_(False).eval()
        config = autoencoder.config
        scale = float(getattr(config, "scaling_factor", None) or 1.0)
        shift = getattr(config, "latents_mean", None)
        if shift is None:
            shift = [float(getattr(config, "shift_factor", None) or 0.0)]
        spread = getattr(config, "latents_std", None)
        self._shift, self._spread = (
            torch.tensor(given, dtype=torch.float64, device="cpu").reshape(1, -1, 1, 1) / divisor
            for given, divisor in ((shift, 1), ([1.0] if spread is None else spread, scale))
        )

    @property
    def alphas_cumprod(self) -> Tensor:
        """See :class:`sgg.diffusion.DiffusionModel`."""
        return self.latents.alphas_cumprod

    @property
    def size_multiple(self) -> int:
        """The autoencoder's reduction times what the latents' model asks for."""
        return self._reduction * self.latents.size_multiple

    @property
    def tile_size(self) -> tuple[int, int] | None:
        """What the latents' model has as ``tile_size``, in pixels of images."""
        size: tuple[int, int] | None = getattr(self.latents, "tile_size", None)
        return None if size is None else (self._reduction * size[0], self._reduction * size[1])

    @property
    def device(self) -> torch.device:
        """Where the models live."""
        return self.latents.device

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """See :meth:`sgg.diffusion.DiffusionModel.predict`."""
        return self.latents.predict(x_t, t)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to normalised latents (B, C, h, w)."""
        with frozen(self.autoencoder), self._outside_half():
            encoded = self.autoencoder.encode(images.to(self._dtype(images)))
        distribution = getattr(encoded, "latent_dist", None)
        found: Tensor = encoded.latents if distribution is None else distribution.mode()
        own = found.to(images.dtype)
        return (own - constant(self._shift, images)) / constant(self._spread, images)

    def decode(self, x_0: Tensor) -> Tensor:
        """Normalised latents (B, C, h, w) to images (B, 3, H, W), differentiable."""
        found = x_0 * constant(self._spread, x_0) + constant(self._shift, x_0)
        with frozen(self.autoencoder), self._outside_half():
            decoded = self.autoencoder.decode(found.to(self._dtype(x_0)))
        images: Tensor = decoded.sample
        return images.to(x_0.dtype)

    @property
    def _reduction(self) -> int:
        return int(2 ** (len(self.autoencoder.config.block_out_channels) - 1))

    def _dtype(self, like: Tensor) -> torch.dtype:
        return dtype_of(self.autoencoder, like.dtype)

    def _outside_half(self) -> AbstractContextManager[object]:
        """Outside float16's autocast, if the autoencoder overflows in it."""
        kind = self.device.type
        if (
            overflows_in_half(self.autoencoder)
            and torch.amp.is_autocast_available(kind)
            and torch.is_autocast_enabled(kind)
            and torch.get_autocast_dtype(kind) == torch.float16
        ):
            return torch.autocast(kind, enabled=False)
        return nullcontext()


def overflows_in_half(autoencoder: Any) -> bool:
    """Whether a network's config says that it must not work in float16 (``force_upcast``)."""
    return bool(getattr(getattr(autoencoder, "config", None), "force_upcast", False))
