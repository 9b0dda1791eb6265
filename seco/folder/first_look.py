"""A look at a few files before hours of work: what is wrong with all of them is told at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from seco.common.files import PathLike, read_image, read_label
from seco.common.images import confidence_to_batch, labels_to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import check_size, confidence_of, label_of
from seco.common.jobs.run import failure, is_about_file
from seco.common.labels import LabelSpace

File = TypeVar("File")

# What is wrong with all (raw ids, colours, another size) shows in a few; more would take long.
_LOOKED_AT = 8


def check_some_inputs(inputs: Inputs, space: LabelSpace) -> None:
    """Find that of some images, spread over all, one at least can be used.

    Args:
        inputs: images, labels and, where they have them, confidences.
        space: of the labels.

    Raises:
        ValueError: none of them has a label with a class that fits it; why the first one has not.
    """

    def look(files: ImageFiles) -> None:
        label = label_of(files, inputs, space)
        if (label == space.ignore_index).all():
            raise ValueError(
                f"{files.label}: expected a class at some pixel, got {space.ignore_index} (ignore) "
                "at all"
            )
        check_size(files, label, read_image(files.image).shape[:2], files.image)
        confidence = confidence_of(files)
        if confidence is not None:
            confidence_to_batch("confidence", confidence, labels_to_batch(label))  # raises

    _check_some("images and labels", inputs.files, look)


def check_some_truths(truths: Sequence[PathLike], space: LabelSpace) -> None:
    """Find that of some true labels, spread over all, one at least can be read.

    Raises:
        ValueError: that is not so; why not the first one.
    """
    _check_some("truth", truths, lambda path: read_label(path, space))


def _check_some(name: str, files: Sequence[File], look: Callable[[File], object]) -> None:
    count = min(len(files), _LOOKED_AT)
    reasons = []
    for place in range(count):
        try:
            look(files[place * len(files) // count])
        except Exception as error:
            if not is_about_file(error):
                raise
            reasons.append(failure("", error).reason)
        else:
            return
    if reasons:
        raise ValueError(
            f"{name}: expected some that can be used, got none among the {count} of {len(files)} "
            f"that were looked at; the first: {reasons[0]}"
        )
