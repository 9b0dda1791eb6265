"""From what a user has to a diffusion model that sgg can use."""

from __future__ import annotations

from typing import Any

from seco.common.checks import describe
from sgg.diffusion.diffusers import from_diffusers
from sgg.diffusion.guided_diffusion import GuidedDiffusion, is_gaussian_diffusion
from sgg.diffusion.protocol import DiffusionModel


def as_diffusion(diffusion: Any) -> DiffusionModel:
    """Recognise what the user passed as ``diffusion`` and wrap it; no library is imported.

    Args:
        diffusion: an object with the methods of :class:`sgg.DiffusionModel`, which comes back as
            it is; a diffusers pipeline with ``unet`` and ``scheduler``, or ``(unet, scheduler)``,
            or ``(unet, scheduler, vae)``; guided-diffusion's ``(model, diffusion)``. Plain
            functions are wrapped with :class:`sgg.CallableDiffusion`, conditioned models with
            :func:`sgg.from_diffusers` or :class:`sgg.GuidedDiffusion`.

    Raises:
        TypeError: not recognised.
        ValueError: a kind of model that is not supported, by name (EDM, flow matching, ...).

    Example:
        >>> as_diffusion("sd15")
        Traceback (most recent call last):
            ...
        TypeError: diffusion: expected a diffusers pipeline, (unet, scheduler), ...
    """
    if isinstance(diffusion, DiffusionModel) and not isinstance(diffusion, type):
        return diffusion
    if isinstance(diffusion, (tuple, list)) and len(diffusion) in (2, 3):
        if len(diffusion) == 2 and is_gaussian_diffusion(diffusion[1]):
            return GuidedDiffusion(diffusion[0], diffusion[1])
        return from_diffusers(diffusion)
    if hasattr(diffusion, "scheduler"):
        return from_diffusers(diffusion)
    raise TypeError(
        "diffusion: expected a diffusers pipeline, (unet, scheduler), guided-diffusion's (model, "
        "diffusion) or an object with the methods of sgg.DiffusionModel; "
        f"got {describe(diffusion)}"
    )
