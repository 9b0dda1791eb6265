"""Pictures of decisions: what became of every connectivity."""

from __future__ import annotations

import numpy as np
from PIL import Image

from seco.common.arrays import Array
from seco.common.labels import Colour
from seco.common.pages.pictures import as_address, nearest, size_in_page
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.judging import Judgement

ACTION_COLOURS: dict[int, Colour] = {
    KEEP: (0, 158, 115),
    CORRECT: (30, 110, 255),
    DROP: (230, 60, 0),
}
"""Of outlines; told apart by colour-blind readers too."""

_FINEST = 480
_TINT = 0.35


def decision_picture(image: Array, judgement: Judgement) -> str:
    """What became of every connectivity: outlines over the grey image, changes tinted, as JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        judgement: of the image's connectivities.
    """
    size = size_in_page(image, least=_FINEST)
    grey = Image.fromarray(image).convert("L").resize(size[::-1], Image.Resampling.BICUBIC)
    # Washed out, so that the outlines stand out.
    shown = np.repeat(np.asarray(grey)[..., None] * 0.7 + 60, 3, axis=2)
    ids = nearest(judgement.connectivities.ids.cpu().numpy(), size)
    actions = np.concatenate([[-1], judgement.decisions.actions.cpu().numpy()])[ids]
    for action, width in ((KEEP, 1), (DROP, 2), (CORRECT, 2)):
        colour = np.array(ACTION_COLOURS[action])
        own = actions == action
        if action != KEEP:
            shown[own] = (1 - _TINT) * shown[own] + _TINT * colour
        shown[own & _edges(ids, width)] = colour
    picture = Image.fromarray(np.rint(shown).astype(np.uint8))
    return as_address(picture, "jpeg", quality=85, subsampling=0)  # thin lines keep their colour


def _edges(ids: Array, width: int) -> Array:
    """Whether another id, or the outside of the image, is at most ``width`` pixels away."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width + 1
    least = minimum_filter(ids, size, mode="constant", cval=-1)
    greatest = maximum_filter(ids, size, mode="constant", cval=-1)
    edges: Array = (least != ids) | (greatest != ids)
    return edges
