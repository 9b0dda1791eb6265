"""Diffusion models: the protocol that sgg asks of them."""

from sgg.diffusion.protocol import DiffusionModel, Prediction

__all__ = ["DiffusionModel", "Prediction"]
