"""What the stages have in common: an image's files as an item of a job, and reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seco.common.arrays import Array
from seco.common.files import read_confidence, read_label
from seco.common.labels import LabelSpace
from seco.correction.decision import CORRECT, DROP
from seco.correction.judging import Judgement
from seco.folder.inputs import ImageFiles, Inputs


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
        OSError, ValueError: as :func:`seco.common.files.read_label`, or there is none.
    """
    if files.label is None:
        raise ValueError(f"{files.name}: expected an image with a label, got one without")
    label = read_label(files.label)
    if inputs.ignore_index is None or inputs.ignore_index == space.ignore_index:
        return label
    stored: Array = np.where(label == inputs.ignore_index, space.ignore_index, label)
    return stored.astype(label.dtype)


def confidence_of(files: ImageFiles) -> Array | None:
    """Read an image's confidence, if it has one.

    Raises:
        OSError, ValueError: as :func:`seco.common.files.read_confidence`.
    """
    return None if files.confidence is None else read_confidence(files.confidence)


def count_decisions(judgement: Judgement) -> dict[str, int]:
    """How many regions were kept, corrected and dropped."""
    actions = judgement.decisions.actions
    corrected, dropped = int((actions == CORRECT).sum()), int((actions == DROP).sum())
    kept = len(actions) - corrected - dropped
    return {"kept": kept, "corrected": corrected, "dropped": dropped}


def input_settings(inputs: Inputs, space: LabelSpace) -> Mapping[str, Any]:
    """What of the inputs' reading changes the outputs, for a manifest."""
    colours = [bytes(colour).hex() for colour in space.colours]
    return {
        "classes": ", ".join(space.names),
        "things": ", ".join(space.things),
        "palette": " ".join(colours),
        "ignore_index": space.ignore_index,
        "stored_ignore_index": inputs.ignore_index,
        "confidence": any(files.confidence is not None for files in inputs.files),
    }
