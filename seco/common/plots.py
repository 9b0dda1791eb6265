"""Label maps as pictures: over their image, or side by side with a legend.

matplotlib is imported by the functions that need it, and pyplot never: no window, no global state.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_number, describe
from seco.common.files import write_bytes
from seco.common.labels import Colour, LabelSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IGNORE_COLOUR: Colour = (255, 255, 255)
"""Of ignored pixels in figures; black, as in label files, is hard to tell from dark classes."""


def overlay(image: Array, label: Array, space: LabelSpace, *, opacity: float = 0.5) -> Array:
    """Lay the colours of a label map over its image; ignored pixels show the image alone.

    Args:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) integer class ids or ignore.
        space: the classes and their colours.
        opacity: of the colours, 0 (image only) to 1 (colours only).

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.

    Example:
        >>> space = LabelSpace(names=("road",), palette=((200, 0, 100),))
        >>> image = np.full((1, 2, 3), 100, np.uint8)
        >>> overlay(image, np.array([[0, 255]]), space).tolist()
        [[[150, 50, 100], [100, 100, 100]]]
    """
    check_image("image", image)
    check_fits("label", label, image)
    check_number("opacity", opacity, low=0, high=1)
    colours = space.colourise(label)
    mixed = (1 - opacity) * image + opacity * colours
    shown: Array = np.where((label == space.ignore_index)[..., None], image, np.rint(mixed))
    return shown.astype(np.uint8)


def label_figure(
    images: Sequence[Array],
    labels: Mapping[str, Sequence[Array]],
    space: LabelSpace,
    *,
    captions: Mapping[str, Sequence[str]] | None = None,
    width: float = 14.0,
) -> Figure:
    """Draw one row per image: the image, then its label maps, with a legend of what occurs.

    Args:
        images: N images of one shape ratio, (H, W, 3) uint8 RGB.
        labels: the title of a column -> N label maps, (H, W), of the images' sizes.
        space: names and colours of the classes; ignore is white.
        captions: the title of a column -> N texts, each put into a corner of its label map.
        width: of the figure, in inches.

    Raises:
        TypeError, ValueError: no image, another number of label maps or captions than images,
            or an array of another kind or shape.

    Example:
        >>> space = LabelSpace(names=("road", "sky"))
        >>> image, label = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.uint8)
        >>> figure = label_figure([image], {"raw": [label], "refined": [label]}, space)
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'raw', 'refined']
    """
    return picture_figure(
        label_columns(images, labels, space),
        captions=captions,
        legend=legend([label for maps in labels.values() for label in maps], space),
        width=width,
    )


def label_columns(
    images: Sequence[Array], labels: Mapping[str, Sequence[Array]], space: LabelSpace
) -> dict[str, Sequence[Array]]:
    """Columns for :func:`picture_figure`: the images, then label maps in their classes' colours.

    Args:
        images: N images, (H, W, 3) uint8 RGB.
        labels: the title of a column -> N label maps, (H, W), of the images' sizes.
        space: colours of the classes; ignore is white.

    Raises:
        TypeError, ValueError: no image, another number of label maps than images, a title
            "image", or an array of another kind or shape.

    Example:
        >>> space = LabelSpace(names=("road",), palette=((1, 2, 3),))
        >>> image, label = np.zeros((1, 2, 3), np.uint8), np.array([[0, 255]])
        >>> label_columns([image], {"raw": [label]}, space)["raw"][0].tolist()
        [[[1, 2, 3], [255, 255, 255]]]
    """
    _check_grid(images, labels)
    columns: dict[str, Sequence[Array]] = {"image": images}
    for title, maps in labels.items():
        columns[title] = [space.colourise(label, ignore_colour=IGNORE_COLOUR) for label in maps]
    return columns


def legend(labels: Iterable[Array], space: LabelSpace) -> dict[str, Colour]:
    """Name and colour of everything that occurs in label maps, for :func:`picture_figure`.

    Args:
        labels: (H, W) integer class ids or ignore.
        space: names and colours of the classes.

    Returns:
        In the order of the classes; "ignore", which is white, last.

    Example:
        >>> space = LabelSpace(names=("road", "sky"), palette=((1, 2, 3), (4, 5, 6)))
        >>> legend([np.array([[1, 1]]), np.array([[255]])], space)
        {'sky': (4, 5, 6), 'ignore': (255, 255, 255)}
    """
    found: set[int] = set()
    for label in labels:
        found.update(np.unique(label).tolist())
    entries = {
        name: space.colours[index] for index, name in enumerate(space.names) if index in found
    }
    return entries | ({"ignore": IGNORE_COLOUR} if space.ignore_index in found else {})


def picture_figure(
    pictures: Mapping[str, Sequence[Array]],
    *,
    captions: Mapping[str, Sequence[str]] | None = None,
    legend: Mapping[str, Colour] | None = None,
    width: float = 14.0,
) -> Figure:
    """Draw columns of pictures, with a legend.

    Args:
        pictures: the title of a column -> N pictures of one shape ratio, (H, W, 3) uint8 RGB.
        captions: the title of a column -> N texts, each put into a corner of its picture; none
            where a text is empty.
        legend: what colours mean.
        width: of the figure, in inches.

    Raises:
        TypeError, ValueError: no picture, columns of different length, a picture of another
            kind, or captions for another column or of another number.

    Example:
        >>> picture = np.zeros((4, 8, 3), np.uint8)
        >>> figure = picture_figure({"before": [picture], "after": [picture]})
        >>> [axes.get_title() for axes in figure.axes]
        ['before', 'after']
    """
    first, captions = _check_columns(pictures), captions or {}
    _check_captions(captions, pictures)
    check_number("width", width, low=0, low_open=True)
    ratio = first[0].shape[0] / first[0].shape[1]
    columns, rows, entries = len(pictures), len(first), list((legend or {}).items())
    per_line = max(1, min(len(entries), int(width / 1.7)))
    # In inches: the titles, the legend, and the gaps between cells are as high at any size.
    gap, top, line = 0.06, 0.32, 0.28
    bottom = 0.12 + line * -(-len(entries) // per_line)
    cell = (width - gap * (columns + 1)) / columns
    height = top + bottom + rows * (cell * ratio + gap)

    figure = new_figure(width, height, layout=None)
    for row in range(rows):
        low = height - top - (row + 1) * cell * ratio - row * gap
        for column, (title, cells) in enumerate(pictures.items()):
            left = gap + column * (cell + gap)
            axes = figure.add_axes(
                (left / width, low / height, cell / width, cell * ratio / height)
            )
            axes.imshow(cells[row], interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color="0.6", linewidth=0.5)
            if row == 0:
                axes.set_title(title, fontsize=13, pad=6)
            if title in captions and captions[title][row]:
                _caption(axes, captions[title][row])
    _legend(figure, entries, per_line)
    return figure


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """An empty white figure with a canvas to draw it on.

    Args:
        width: in inches.
        height: in inches.
        layout: who places axes and legends: matplotlib, or, if ``None``, the caller.

    Example:
        >>> new_figure(6, 3).get_size_inches().tolist()
        [6.0, 3.0]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def write_figure(path: str | os.PathLike[str], figure: Figure, *, dpi: int = 100) -> None:
    """Write a figure atomically as PNG; the same figure gives the same bytes.

    Args:
        path: where to; its folder must exist.
        figure: from :func:`label_figure`, or any other.
        dpi: pixels per inch.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes(path, figure_png(figure, dpi=dpi))


def figure_png(figure: Figure, *, dpi: int = 160) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _legend(figure: Figure, entries: list[tuple[str, Colour]], per_line: int) -> None:
    from matplotlib.patches import Patch

    if not entries:
        return
    handles = [
        Patch(facecolor=f"#{bytes(colour).hex()}", edgecolor="0.4", linewidth=0.5, label=name)
        for name, colour in entries
    ]
    figure.legend(
        handles=handles, loc="lower center", ncols=per_line, fontsize=11, frameon=False,
        handlelength=1.2, handleheight=0.9, columnspacing=1.4, borderaxespad=0.1,
    )  # fmt: skip


def _caption(axes: Axes, text: str) -> None:
    axes.text(
        0.015, 0.03, text, transform=axes.transAxes, fontsize=11, color="white", va="bottom",
        bbox={"facecolor": "black", "alpha": 0.65, "edgecolor": "none", "pad": 2.5},
    )  # fmt: skip


def _check_grid(images: Sequence[Array], labels: Mapping[str, Sequence[Array]]) -> None:
    if len(images) == 0:
        raise ValueError("images: expected at least one image, got none")
    if "image" in labels:
        raise ValueError("labels: expected titles other than 'image', the images' own")
    for row, image in enumerate(images):
        check_image(f"images[{row}]", image)
    for title, maps in labels.items():
        if len(maps) != len(images):
            raise ValueError(
                f"labels[{title!r}]: expected one per image, {len(images)}, got {len(maps)}"
            )
        for row, label in enumerate(maps):
            check_fits(f"labels[{title!r}][{row}]", label, images[row])


def _check_columns(pictures: Mapping[str, Sequence[Array]]) -> Sequence[Array]:
    """The first column, which has as many pictures as every other."""
    first = next(iter(pictures.values()), ())
    if len(first) == 0:
        raise ValueError("pictures: expected at least one column of at least one, got none")
    for title, column in pictures.items():
        if len(column) != len(first):
            raise ValueError(
                f"pictures[{title!r}]: expected {len(first)} as the first column has, "
                f"got {len(column)}"
            )
        for row, picture in enumerate(column):
            check_image(f"pictures[{title!r}][{row}]", picture)
    return first


def _check_captions(
    captions: Mapping[str, Sequence[str]], pictures: Mapping[str, Sequence[Array]]
) -> None:
    for title, texts in captions.items():
        if title not in pictures:
            raise ValueError(f"captions: expected titles out of {list(pictures)}, got {title!r}")
        if len(texts) != len(pictures[title]):
            raise ValueError(
                f"captions[{title!r}]: expected one per picture, {len(pictures[title])}, "
                f"got {len(texts)}"
            )


def check_image(name: str, image: object) -> None:
    """Check that an argument is an image to draw.

    Raises:
        TypeError: no uint8 array.
        ValueError: not of shape (H, W, 3), or without a pixel.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(f"{name}: expected a uint8 array, got {describe(image)}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name}: expected shape (H, W, 3), got {image.shape}")


def check_fits(name: str, label: object, image: Array) -> None:
    """Check that an argument is a map of an image's size.

    Raises:
        TypeError: no array.
        ValueError: of another shape.
    """
    if not isinstance(label, np.ndarray):
        raise TypeError(f"{name}: expected a numpy array, got {describe(label)}")
    if label.shape != image.shape[:2]:
        raise ValueError(
            f"{name}: expected shape {image.shape[:2]} as the image has, got {label.shape}"
        )
