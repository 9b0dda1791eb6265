"""Translations side by side, with their labels and what is seen in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seco.common.arrays import Array
from seco.common.confusion import confusion
from seco.common.labels import LabelSpace
from seco.common.numbers import percent
from seco.common.plots import IGNORE_COLOUR, check_fits, legend, picture_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def translation_strips(
    images: Mapping[str, Sequence[Array]],
    labels: Sequence[Array],
    label_space: LabelSpace,
    *,
    seen: Mapping[str, Sequence[Array]] | None = None,
    width: float = 16.0,
) -> Figure:
    """Draw a row per source image: the image, its label, and its translations.

    With ``seen`` there are two rows: label and labels lie below the images that they are of.

    Args:
        images: the title of a column -> N images of one shape ratio, (H, W, 3) uint8 RGB; the
            source images come first, then their translations.
        labels: N source labels, (H, W).
        label_space: names and colours of the classes; ignore is white.
        seen: the title of every other column -> N label maps that a segmenter sees in its images;
            their mean IoU with the source label is written on them.
        width: of the figure, in inches.

    Raises:
        TypeError, ValueError: no image, a column of another length, ``seen`` of other columns
            than those after the first, a column "label", or an array of another kind or shape.

    Example:
        >>> import numpy as np
        >>> space = LabelSpace(names=("road", "sky"))
        >>> image, label = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.uint8)
        >>> images = {"source": [image], "SGG": [image]}
        >>> figure = translation_strips(images, [label], space)
        >>> [axes.get_title() for axes in figure.axes]
        ['source', 'label', 'SGG']
        >>> figure = translation_strips(images, [label], space, seen={"SGG": [label]})
        >>> [text.get_text() for axes in figure.axes for text in axes.texts]
        ['label', 'mIoU 100.0 %']
    """
    if not images:
        raise ValueError("images: expected at least one column, got none")
    if "label" in images:
        raise ValueError("images: expected titles other than 'label', the labels' own")
    first, *others = images
    if seen is None:
        _check_labels("labels", labels, images[first])
        columns = {first: images[first], "label": _painted(labels, label_space)}
        columns |= {title: images[title] for title in others}
        return picture_figure(columns, legend=legend(labels, label_space), width=width)
    if set(seen) != set(others):
        raise ValueError(f"seen: expected label maps for {others}, got {list(seen)}")
    below = {first: labels} | {title: seen[title] for title in others}
    pictures: dict[str, Sequence[Array]] = {}
    captions: dict[str, Sequence[str]] = {}
    for title, maps in below.items():
        _check_labels("labels" if title == first else f"seen[{title!r}]", maps, images[title])
        texts = ["label"] * len(maps) if title == first else _holds(maps, labels, label_space)
        pictures[title] = _alternating(images[title], _painted(maps, label_space))
        captions[title] = _alternating([""] * len(maps), texts)
    shown = [label for maps in below.values() for label in maps]
    return picture_figure(
        pictures, captions=captions, legend=legend(shown, label_space), width=width
    )


def _check_labels(name: str, maps: Sequence[Array], images: Sequence[Array]) -> None:
    if len(maps) != len(images):
        raise ValueError(f"{name}: expected one per image, {len(images)}, got {len(maps)}")
    for row, (label, image) in enumerate(zip(maps, images, strict=True)):
        check_fits(f"{name}[{row}]", label, image)


def _painted(maps: Sequence[Array], space: LabelSpace) -> list[Array]:
    return [space.colourise(label, ignore_colour=IGNORE_COLOUR) for label in maps]


def _holds(maps: Sequence[Array], labels: Sequence[Array], space: LabelSpace) -> list[str]:
    return [
        f"mIoU {percent(confusion(label, source, space).mean_iou)} %"
        for label, source in zip(maps, labels, strict=True)
    ]


def _alternating(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    return [one for pair in zip(first, second, strict=True) for one in pair]
