"""The options of :func:`sgg.translate` as one value, and the one place where they are checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch

from seco.common.checks import check_choice, check_integer, check_number, describe
from seco.common.compile_modes import COMPILE_MODES, CompileMode
from sgg.diffusion.tiling import TileSize, check_tile_size
from sgg.sampling import Sampler, check_sampler
from sgg.settings import GuidanceSettings

Guidance = Literal["sgg", "local", "global", "none"]
GuidanceInput = Literal["x_t", "pred_x0"]
Precision = Literal["bfloat16", "float16"]

# They change images by rounding only.
_ROUNDING = ("tiles_per_batch", "channels_last", "compile")


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
        tiles_per_batch: see there.
        dtype: by name; see there; ``None`` is the models' own precision.
        channels_last: see there.
        compile: see there.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> TranslationOptions(strength=0.0)
        Traceback (most recent call last):
            ...
        ValueError: strength: expected a number in (0, 1], got 0.0
    """

    strength: float = 0.6
    num_inference_steps: int | None = None
    sampler: Sampler = "ddim"
    eta: float = 0.0
    guidance: Guidance = "sgg"
    guidance_scale: float = 1.0
    guidance_input: GuidanceInput = "pred_x0"
    settings: GuidanceSettings = GuidanceSettings()
    tile_size: TileSize = "auto"
    tile_overlap: int | None = None
    tiles_per_batch: int = 1
    dtype: Precision | None = None
    channels_last: bool = False
    compile: bool | CompileMode = False

    def __post_init__(self) -> None:
        check_number("strength", self.strength, low=0, high=1, low_open=True)
        if self.num_inference_steps is not None:
            check_integer("num_inference_steps", self.num_inference_steps, low=1)
        check_sampler(self.sampler, self.eta)
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
        check_integer("tiles_per_batch", self.tiles_per_batch, low=1)
        for name in ("tile_overlap", "tiles_per_batch"):
            given, usual = getattr(self, name), getattr(type(self), name)
            if self.tile_size is None and given != usual:
                raise ValueError(
                    f"{name}: expected {usual} where tile_size is None, for whole images have no "
                    f"tiles, got {given}"
                )
        check_choice("dtype", self.dtype, (None, "bfloat16", "float16"))
        check_choice("channels_last", self.channels_last, (False, True))
        check_choice("compile", self.compile, (False, True, *COMPILE_MODES))

    @property
    def guided(self) -> bool:
        """Whether a segmenter is asked."""
        return self.guidance != "none" and self.guidance_scale > 0

    def arguments(self) -> dict[str, Any]:
        """What :func:`sgg.translate` is called with."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return given | {"dtype": self.torch_dtype}

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """What ``dtype`` names."""
        return None if self.dtype is None else getattr(torch, self.dtype)

    def describe(self) -> dict[str, Any]:
        """What decides images, as JSON holds it, for a manifest.

        What changes them by rounding only is left out: it may be another from run to run.
        """
        return {name: value for name, value in asdict(self).items() if name not in _ROUNDING}
