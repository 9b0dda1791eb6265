"""An image's files as an item of a job, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_labels
from seco.common.files import read_confidence, read_label
from seco.common.inputs import ImageFiles, Inputs
from seco.common.labels import LabelSpace


@dataclass(frozen=True)
class ImageItem:
    """An image as an item of a job, see :class:`seco.common.jobs.Item`.

    Args:
        files: the image and what belongs to it.
        inputs: those that are read.
        outputs: those that are written.
    """

    files: ImageFiles
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The image's."""
        return self.files.name


def label_of(files: ImageFiles, inputs: Inputs, space: LabelSpace) -> Array:
    """Read an image's label; its unlabelled pixels have the label space's id.

    Raises:
        OSError, ValueError: as :func:`seco.common.files.read_label`, there is none, or it has ids
            of other classes.
    """
    if files.label is None:
        raise ValueError(f"{files.name}: expected an image with a label, got one without")
    label = read_label(files.label, space)
    if inputs.ignore_index is not None and inputs.ignore_index != space.ignore_index:
        stored: Array = np.where(label == inputs.ignore_index, space.ignore_index, label)
        label = stored.astype(label.dtype)
    try:
        check_labels("label", label, space)
    except ValueError as error:
        raise ValueError(
            f"{error}; are these raw ids? Labels must be ids of the label space: train ids, such "
            "as GTA's and Cityscapes' *_labelTrainIds.png, not what mmsegmentation's "
            "CityscapesMetric writes"
        ) from error
    return label


def check_size(files: ImageFiles, label: Array, size: tuple[int, ...], other: Path) -> None:
    """Raise unless an image's label has the size of what belongs to it.

    Args:
        files: of the image.
        label: (H, W), as it was read.
        size: expected, (H, W).
        other: the file that has it: the image or its regions.

    Raises:
        ValueError: another size.
    """
    if label.shape != size:
        raise ValueError(f"{files.label}: expected the size {size} of {other}, got {label.shape}")


def confidence_of(files: ImageFiles) -> Array | None:
    """Read an image's confidence, if it has one.

    Raises:
        OSError, ValueError: as :func:`seco.common.files.read_confidence`.
    """
    return None if files.confidence is None else read_confidence(files.confidence)
