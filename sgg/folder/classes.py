"""Whether a segmenter has the classes of the labels that it is to guide by, or is measured by."""

from __future__ import annotations

import torch

from seco.common.files import read_image
from seco.common.inputs import Inputs
from seco.common.labels import LabelSpace
from sgg.segmenter import Segmenter

# A segmenter is asked about so many pixels a side, at most, to count its classes.
_GLANCE = 512


def check_classes(segmenter: Segmenter, space: LabelSpace, size: tuple[int, int]) -> None:
    """Raise ``ValueError`` unless a segmenter has the classes of a label space.

    Args:
        segmenter: asked about one black image.
        space: the classes.
        size: height and width of the image.
    """
    count = segmenter.count_classes(torch.full((1, 3, *size), -1.0))
    if count != space.num_classes:
        raise ValueError(
            f"segmenter: expected {space.num_classes} classes, as the label space has, got {count}"
        )


def check_classes_of(segmenter: Segmenter, inputs: Inputs, space: LabelSpace) -> None:
    """Raise ``ValueError`` unless a segmenter has a label space's classes.

    It is asked about a picture of the size of the first image that can be read, or of a part of
    it; nothing is asked if there is none.
    """
    for files in inputs.files:
        try:
            height, width = read_image(files.image).shape[:2]
        except (OSError, ValueError):
            continue  # the job reports it
        check_classes(segmenter, space, (min(height, _GLANCE), min(width, _GLANCE)))
        return
