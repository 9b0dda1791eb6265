"""Before and after: what a step changed in labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_number
from seco.common.confusion import confusion
from seco.common.labels import Colour, LabelSpace
from seco.common.numbers import percent
from seco.common.plots import (
    check_fits,
    check_image,
    label_columns,
    legend,
    picture_figure,
)
from seco.plots.backdrop import backdrop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DROPPED: Colour = (0, 0, 0)
"""Of pixels that lost their label, where the image itself lies around."""


def changes(
    image: Array, before: Array, after: Array, label_space: LabelSpace, *, opacity: float = 0.8
) -> Array:
    """The image in grey, with the pixels whose label changed in the colour of their new class.

    Pixels that became ignore are black.

    Args:
        image: (H, W, 3) uint8 RGB.
        before: (H, W) integer class ids or ignore.
        after: the same, later.
        label_space: the classes and their colours.
        opacity: of the colours, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.

    Example:
        >>> space = LabelSpace(names=("road", "sky"), palette=((200, 0, 0), (0, 0, 200)))
        >>> image = np.zeros((1, 3, 3), np.uint8)
        >>> changes(
        ...     image, np.array([[0, 0, 0]]), np.array([[0, 1, 255]]), space, opacity=1
        ... ).tolist()
        [[[60, 60, 60], [0, 0, 200], [0, 0, 0]]]
    """
    check_image("image", image)
    for name, label in (("before", before), ("after", after)):
        check_fits(name, label, image)
    check_number("opacity", opacity, low=0, high=1)
    colours = label_space.colourise(after, ignore_colour=DROPPED)
    share = opacity * (before != after)[..., None]
    shown: Array = np.rint((1 - share) * backdrop(image) + share * colours)
    return shown.astype(np.uint8)


def before_after(
    images: Sequence[Array],
    before: Sequence[Array],
    after: Sequence[Array],
    label_space: LabelSpace,
    *,
    truth: Sequence[Array] | None = None,
    titles: tuple[str, str] = ("before", "after"),
    show_changes: bool = True,
    width: float = 14.0,
) -> Figure:
    """Draw a row per image: the image, its label before and after, what changed, and the truth.

    Args:
        images: N images of one shape ratio, (H, W, 3) uint8 RGB.
        before: N label maps, (H, W), of the images' sizes.
        after: the same, later.
        label_space: names and colours of the classes; ignore is white.
        truth: N true label maps, if known; the mean IoU of each label is then written on it.
        titles: of the two columns of labels.
        show_changes: add a column of :func:`changes`.
        width: of the figure, in inches.

    Raises:
        TypeError, ValueError: no image, a column of another length, or an array of another kind
            or shape.

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> image, label = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.uint8)
        >>> figure = before_after([image], [label], [label + 1], space, truth=[label])
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'before', 'after', 'changed', 'truth']
        >>> [text.get_text() for axes in figure.axes for text in axes.texts]
        ['mIoU 100.0 %', 'mIoU 0.0 %']
    """
    if len({*titles, "image", "changed", "truth"}) != 5:
        raise ValueError(
            f"titles: expected two other than 'image', 'changed' and 'truth', got {titles}"
        )
    steps = dict(zip(titles, (before, after), strict=True))
    shown = {**steps, **({} if truth is None else {"truth": truth})}
    columns = label_columns(images, shown, label_space)
    colours = legend([label for maps in shown.values() for label in maps], label_space)
    if show_changes:
        columns["changed"] = [
            changes(*three, label_space) for three in zip(images, before, after, strict=True)
        ]
        if any(
            ((old != new) & (new == label_space.ignore_index)).any()
            for old, new in zip(before, after, strict=True)
        ):
            colours["label removed"] = DROPPED
    captions = (
        {}
        if truth is None
        else {
            title: [
                f"mIoU {percent(confusion(label, true, label_space).mean_iou)} %"
                for label, true in zip(maps, truth, strict=True)
            ]
            for title, maps in steps.items()
        }
    )
    order = ["image", *titles, *(["changed"] if show_changes else []), *list(shown)[2:]]
    return picture_figure(
        {title: columns[title] for title in order}, captions=captions, legend=colours, width=width
    )
