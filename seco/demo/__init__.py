"""Generated street scenes with exact labels, and a bundled segmenter's real mistakes on them."""

from seco.common.label_spaces import STREETS
from seco.demo.scenes import Scene, street_scene

__all__ = ["STREETS", "Scene", "street_scene"]
