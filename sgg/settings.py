"""The free choices of the guidance, and the paper's form as a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from seco.common.checks import check_choice, check_integer, check_number


@dataclass(frozen=True)
class GuidanceSettings:
    """How the segmenter's gradient guides, beyond the options of :func:`sgg.translate`.

    "Paper" is SGG (ICCV 2023). What was measured, on generated street scenes only, is in
    docs/translation.md: input, normalisation and scale; the other choices have not been.

    Args:
        even_steps: with guidance ``"sgg"``, the gradient of the steps with an even number of
            steps to go (this one included); the other gradient guides the odd ones. Of a full
            chain these are the even k.
        interval: guide the last step and, going back from it, every so many steps (paper: 1);
            the others save the segmenter's passes. ``"sgg"`` alternates among the guided steps,
            with ``even_steps`` counting those. The guidance scale is not adapted.
        differentiate_denoiser: with ``guidance_input="pred_x0"``, whether the gradient goes
            through the denoiser (a backward pass of it per step) or takes its noise estimate as
            constant.
        reduction: a loss is the ``"sum"`` of its pixels' cross-entropies, so that the guidance
            scale 1 is Bayes' rule with independent pixels, or their ``"mean"``, per region with
            local guidance and per image with global (paper: unknown).
        normalization: ``"rms"`` divides each image's gradient by its root mean square, so that
            guidance is as strong at every step, whatever size images and loss have; ``"none"``
            (paper) needs another scale for every segmenter.
        clip: limits the values of the gradient, after normalisation and before the scale.
        class_weights: K factors on the classes' losses.
        max_copies: most images, or crops of as many pixels together, in one pass of the
            segmenter; bounds memory. Of local guidance on a CPU fewer if they are large.
        crop_margin: with local guidance, the segmenter sees a class's region with so many pixels
            around it, which saves time where regions are small; ``None`` is the whole image
            (paper). When it is exact: :func:`sgg.local_gradient`.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> GuidanceSettings(clip=-1.0)
        Traceback (most recent call last):
            ...
        ValueError: clip: expected a number in (0, inf), got -1.0
    """

    even_steps: Literal["local", "global"] = "local"
    interval: int = 1
    differentiate_denoiser: bool = False
    reduction: Literal["sum", "mean"] = "sum"
    normalization: Literal["none", "rms"] = "rms"
    clip: float | None = None
    class_weights: tuple[float, ...] | None = None
    max_copies: int = 8
    crop_margin: int | None = None

    def __post_init__(self) -> None:
        check_choice("even_steps", self.even_steps, ("local", "global"))
        check_integer("interval", self.interval, low=1)
        check_choice("differentiate_denoiser", self.differentiate_denoiser, (False, True))
        check_choice("reduction", self.reduction, ("sum", "mean"))
        check_choice("normalization", self.normalization, ("none", "rms"))
        if self.clip is not None:
            check_number("clip", self.clip, low=0, low_open=True)
        if self.class_weights is not None:
            weights = tuple(check_number("class_weights", w, low=0) for w in self.class_weights)
            object.__setattr__(self, "class_weights", weights)
        check_integer("max_copies", self.max_copies, low=1)
        if self.crop_margin is not None:
            check_integer("crop_margin", self.crop_margin, low=0)


PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "strength": 0.6,
        "sampler": "ddpm",
        "num_inference_steps": None,
        "guidance": "sgg",
        "guidance_scale": 60.0,
        "guidance_input": "x_t",
        "settings": GuidanceSettings(reduction="mean", normalization="none"),
    }
)
"""Options of :func:`sgg.translate` for the paper's form: every ancestral step, the segmenter on
``x_t``, local guidance on even steps. Strength and scale are reported second-hand, without the
normalisation of the loss that the scale belongs to: with the mean it guides, with the sum far
smaller scales already destroy the image (docs/translation.md)."""
