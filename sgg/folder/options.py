"""How the images of a set are translated: the options of :func:`sgg.translate` as one value."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch

from seco.common.checks import check_choice, check_integer, check_number, describe
from sgg.diffusion.tiling import TileSize, check_tile_size
from sgg.sampling import Sampler
from sgg.settings import GuidanceSettings


@dataclass(frozen=True)
class TranslationOptions:
    """What :func:`sgg.translate` takes besides images, labels and models; its defaults.

    Args:
        strength: see there; all others too.
        num_inference_steps: see there.
        sampler: see there.
        eta: see there.
        guidance: see there.
        guidance_scale: see there.
        guidance_input: see there.
        settings: see there.
        tile_size: see there.
        tile_overlap: see there.
        dtype: by name; see there; ``None`` is the models' own precision.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> TranslationOptions(strength=0.0)
        Traceback (most recent call last):
            ...
        ValueError: strength: expected a number in (0.0, 1.0], got 0.0
    """

    strength: float = 0.6
    num_inference_steps: int | None = None
    sampler: Sampler = "ddim"
    eta: float = 0.0
    guidance: Literal["sgg", "local", "global", "none"] = "sgg"
    guidance_scale: float = 1.0
    guidance_input: Literal["x_t", "pred_x0"] = "pred_x0"
    settings: GuidanceSettings = GuidanceSettings()
    tile_size: TileSize = "auto"
    tile_overlap: int | None = None
    dtype: Literal["bfloat16", "float16"] | None = None

    def __post_init__(self) -> None:
        check_number("strength", self.strength, low=0.0, high=1.0, low_open=True)
        if self.num_inference_steps is not None:
            check_integer("num_inference_steps", self.num_inference_steps, low=1)
        check_choice("sampler", self.sampler, ("ddpm", "ddim"))
        check_number("eta", self.eta, low=0, high=1)
        check_choice("guidance", self.guidance, ("sgg", "local", "global", "none"))
        check_number("guidance_scale", self.guidance_scale, low=0)
        check_choice("guidance_input", self.guidance_input, ("x_t", "pred_x0"))
        if not isinstance(self.settings, GuidanceSettings):
            raise TypeError(
                f"settings: expected sgg.GuidanceSettings, got {describe(self.settings)}"
            )
        if self.settings.differentiate_denoiser and self.guidance_input == "x_t":
            raise ValueError(
                "settings: expected differentiate_denoiser=False with guidance_input 'x_t', got "
                "True"
            )
        check_tile_size(self.tile_size)
        if self.tile_overlap is not None:
            check_integer("tile_overlap", self.tile_overlap, low=0)
        check_choice("dtype", self.dtype, (None, "bfloat16", "float16"))

    @property
    def guided(self) -> bool:
        """Whether a segmenter is asked."""
        return self.guidance != "none" and self.guidance_scale > 0

    def arguments(self) -> dict[str, Any]:
        """What :func:`sgg.translate` is called with."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return given | {"dtype": None if self.dtype is None else getattr(torch, self.dtype)}

    def describe(self) -> dict[str, Any]:
        """All of it as JSON holds it, for a manifest."""
        return asdict(self)


def image_seed(seed: int, name: str) -> int:
    """The seed of an image's noise: by its name, so that no order and no share of work matters.

    Args:
        seed: of the whole set.
        name: the image's path within its folder, without the format.

    Returns:
        The first eight bytes of the SHA-256 of ``"SEED/NAME"``, big-endian, without the highest
        bit.

    Example:
        >>> image_seed(0, "00001") == image_seed(0, "00001")
        True
        >>> len({image_seed(0, "00001"), image_seed(1, "00001"), image_seed(0, "00002")})
        3
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
