"""Pictures inside a page: images, label maps and figures as ``data:`` addresses."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image

from seco.common.arrays import Array
from seco.common.labels import LabelSpace
from seco.common.plots import IGNORE_COLOUR, figure_png
from seco.common.resizing import nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 640
"""Pixels that a picture is scaled down to; pages stay small whatever the images' size."""


def photo(image: Array) -> str:
    """A picture of an image, as JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    height, width = size_in_page(image)
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return as_address(picture, "jpeg", quality=82)


def label_picture(label: Array, space: LabelSpace) -> str:
    """A picture of a label map in its classes' colours, ignore white, as PNG.

    Args:
        label: (H, W) integer class ids or ignore.
        space: the classes.
    """
    label = nearest(label, size_in_page(label))
    picture = Image.fromarray(space.colourise(label, ignore_colour=IGNORE_COLOUR))
    # A class has one colour, so that a palette of at most 256 loses nothing and is a third as big.
    colours = picture.getcolors(256)
    return as_address(picture.quantize(256) if colours else picture, "png", optimize=True)


def figure_picture(figure: Figure) -> str:
    """A picture of a figure, as PNG."""
    return f"data:image/png;base64,{base64.b64encode(figure_png(figure)).decode()}"


def size_in_page(picture: Array, *, least: int = 1) -> tuple[int, int]:
    """Height and width in the page: scaled down to ``WIDEST``, up by a whole factor to ``least``.

    Tall pictures are bound by their height instead.
    """
    height, width = picture.shape[:2]
    longest = max(height, width)
    factor = WIDEST / longest if longest > WIDEST else -(-least // longest)
    return max(1, round(height * factor)), max(1, round(width * factor))


def as_address(picture: Image.Image, kind: str, **options: object) -> str:
    """A picture in a format, as the address that stands for it in a page."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
