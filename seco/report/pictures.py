"""Pictures inside a page: images, label maps and outlined decisions as ``data:`` addresses."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from seco.common.arrays import Array
from seco.common.labels import Colour, LabelSpace
from seco.common.plots import IGNORE_COLOUR
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.judging import Judgement

WIDEST = 640
"""Pixels that a picture is scaled down to; pages stay small whatever the images' size."""

ACTION_COLOURS: dict[int, Colour] = {
    KEEP: (0, 158, 115),
    CORRECT: (30, 110, 255),
    DROP: (230, 60, 0),
}
"""Of outlines; told apart by colour-blind readers too."""

_FINEST = 480
_TINT = 0.35


def photo(image: Array) -> str:
    """A picture of an image, as JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    height, width = _fitting(image)
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return _address(picture, "jpeg", quality=82)


def label_picture(label: Array, space: LabelSpace) -> str:
    """A picture of a label map in its classes' colours, ignore white, as PNG.

    Args:
        label: (H, W) integer class ids or ignore.
        space: the classes.
    """
    label = _nearest(label, _fitting(label))
    picture = Image.fromarray(space.colourise(label, ignore_colour=IGNORE_COLOUR))
    # A class has one colour, so that a palette of at most 256 loses nothing and is a third as big.
    colours = picture.getcolors(256)
    return _address(picture.quantize(256) if colours else picture, "png", optimize=True)


def decision_picture(image: Array, judgement: Judgement) -> str:
    """What became of every connectivity: outlines over the grey image, changes tinted, as JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        judgement: of the image's connectivities.
    """
    size = _fitting(image, least=_FINEST)
    grey = Image.fromarray(image).convert("L").resize(size[::-1], Image.Resampling.BICUBIC)
    # Washed out, so that the outlines stand out.
    shown = np.repeat(np.asarray(grey)[..., None] * 0.7 + 60, 3, axis=2)
    ids = _nearest(judgement.connectivities.ids.cpu().numpy(), size)
    actions = np.concatenate([[-1], judgement.decisions.actions.cpu().numpy()])[ids]
    for action, width in ((KEEP, 1), (DROP, 2), (CORRECT, 2)):
        colour = np.array(ACTION_COLOURS[action])
        own = actions == action
        if action != KEEP:
            shown[own] = (1 - _TINT) * shown[own] + _TINT * colour
        shown[own & _edges(ids, width)] = colour
    picture = Image.fromarray(np.rint(shown).astype(np.uint8))
    return _address(picture, "jpeg", quality=85, subsampling=0)  # thin lines keep their colour


def figure_picture(png: bytes) -> str:
    """A figure that is PNG already."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _edges(ids: Array, width: int) -> Array:
    """Whether another id, or the outside of the image, is at most ``width`` pixels away."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width + 1
    least = minimum_filter(ids, size, mode="constant", cval=-1)
    greatest = maximum_filter(ids, size, mode="constant", cval=-1)
    edges: Array = (least != ids) | (greatest != ids)
    return edges


def _fitting(picture: Array, *, least: int = 1) -> tuple[int, int]:
    """Height and width in the page: scaled down to ``WIDEST``, up by a whole factor to ``least``.

    Tall pictures are bound by their height instead.
    """
    height, width = picture.shape[:2]
    longest = max(height, width)
    factor = WIDEST / longest if longest > WIDEST else -(-least // longest)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _nearest(values: Array, size: tuple[int, int]) -> Array:
    """Resize without mixing values: every pixel is one of the original's."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size, values.shape, strict=True)
    )
    resized: Array = values[rows[:, None], columns]
    return resized


def _address(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
