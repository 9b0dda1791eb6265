"""Bundled models for generated street scenes, and what they show; needs diffusers."""

from sgg.demo.models import SIZE, load_diffusion, load_oracle, load_segmenter

__all__ = ["SIZE", "load_diffusion", "load_oracle", "load_segmenter"]
