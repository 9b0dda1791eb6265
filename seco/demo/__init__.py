"""Generated street scenes with exact labels, and a bundled segmenter's real mistakes on them."""

from seco.demo.scenes import STREETS, Scene, street_scene

__all__ = ["STREETS", "Scene", "street_scene"]
