"""Procedural images with nested segments, for training the bundled tiny SAM.

Everything in an image is drawn here; no photograph is used. The statistics that matter for
transfer to photographs are imitated: objects of power-law sizes hide one another ("dead leaves"),
surfaces carry 1/f noise and regular patterns, light varies over the image, some borders have
almost no contrast, and lens blur, sensor noise and JPEG compression come last.

Each pixel belongs to one segment at each of three levels (part, object, group), so a point prompt
has several right answers, as in a photograph.
"""

from shapes.scene import ShapesImage, shapes_image

__all__ = ["ShapesImage", "shapes_image"]
