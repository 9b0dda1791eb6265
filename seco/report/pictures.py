"""Pictures of decisions: what became of every connectivity."""

from __future__ import annotations

from PIL import Image

from seco.common.arrays import Array
from seco.common.pages.pictures import as_address, size_in_page
from seco.correction.judging import Judgement
from seco.plots import decision_outlines

_FINEST = 480


def decision_picture(image: Array, judgement: Judgement) -> str:
    """What became of every connectivity, as JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        judgement: of the image's connectivities.
    """
    shown = decision_outlines(image, judgement, size=size_in_page(image, least=_FINEST))
    # thin lines keep their colour
    return as_address(Image.fromarray(shown), "jpeg", quality=85, subsampling=0)
