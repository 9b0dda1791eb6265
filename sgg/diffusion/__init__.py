"""Diffusion models: the protocol that sgg asks of them, and adapters to it."""

from sgg.diffusion.callables import CallableDiffusion
from sgg.diffusion.diffusers import DiffusersDiffusion, from_diffusers
from sgg.diffusion.guided_diffusion import GuidedDiffusion
from sgg.diffusion.latent import LatentDiffusion
from sgg.diffusion.loading import as_diffusion
from sgg.diffusion.protocol import DiffusionModel, Prediction

__all__ = [
    "CallableDiffusion",
    "DiffusersDiffusion",
    "DiffusionModel",
    "GuidedDiffusion",
    "LatentDiffusion",
    "Prediction",
    "as_diffusion",
    "from_diffusers",
]
