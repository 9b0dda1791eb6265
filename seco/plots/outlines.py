"""Regions over their image: outlined and tinted."""

from __future__ import annotations

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_number
from seco.common.labels import Colour, LabelSpace, distinct_palette
from seco.common.plots import check_fits, check_image
from seco.common.resizing import nearest
from seco.connectivities import Connectivities
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.judging import Judgement
from seco.plots.backdrop import backdrop
from seco.regions import Regions

ACTION_COLOURS: dict[int, Colour] = {
    KEEP: (0, 158, 115),
    CORRECT: (30, 110, 255),
    DROP: (230, 60, 0),
}
"""Of :func:`decision_outlines`; told apart by colour-blind readers too."""

_WIDTH = {KEEP: 1, CORRECT: 2, DROP: 2}
_TINT = 0.35


def region_outlines(
    image: Array,
    regions: Regions,
    *,
    opacity: float = 0.5,
    size: tuple[int, int] | None = None,
) -> Array:
    """What a SAM sees: the parts that its regions cut the image into, each in a colour of its own.

    An overlap of regions is a part by itself, so that every region's outline is drawn. What lies
    in no region stays grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: of the image.
        opacity: of the colours, 0 to 1.
        size: height and width of the picture; the image's if ``None``.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.

    Example:
        >>> import torch
        >>> regions = Regions.from_label_map(torch.tensor([[1, 1, 2, 2, 0]]))
        >>> shown = region_outlines(np.zeros((1, 5, 3), np.uint8), regions)
        >>> shown[0, 0].tolist(), shown[0, 4].tolist()  # a first colour; none
        ([128, 0, 0], [60, 60, 60])
    """
    atoms = regions.atoms.cpu().numpy()
    # Columns of `members` that are empty are atoms too: holes that a transform has left.
    inside = regions.members.any(dim=0).cpu().numpy()
    colours = np.array([(0, 0, 0), *distinct_palette(len(inside) - 1)], np.float64)
    return _outlined(image, atoms, colours, inside * 1, inside * _share(opacity), size)


def connectivity_outlines(
    image: Array,
    connectivities: Connectivities,
    label_space: LabelSpace,
    *,
    opacity: float = _TINT,
    size: tuple[int, int] | None = None,
) -> Array:
    """Every connectivity outlined and tinted in the colour of its class.

    Args:
        image: (H, W, 3) uint8 RGB.
        connectivities: of the image, such as ``Refinement.connectivities``.
        label_space: the classes and their colours.
        opacity: of the tint, 0 to 1.
        size: height and width of the picture; the image's if ``None``.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.

    Example:
        >>> import torch
        >>> space = LabelSpace(names=("road", "sky"), palette=((200, 0, 0), (0, 0, 200)))
        >>> two = Connectivities(torch.tensor([[1, 2, 0]]), torch.tensor([1, 0]), torch.ones(2))
        >>> connectivity_outlines(np.zeros((1, 3, 3), np.uint8), two, space).tolist()
        [[[0, 0, 200], [200, 0, 0], [60, 60, 60]]]
    """
    classes = connectivities.classes.cpu().numpy()
    colours = np.array([(0, 0, 0), *(label_space.colours[k] for k in classes)], np.float64)
    every = np.pad(np.ones(len(classes)), (1, 0))
    ids = connectivities.ids.cpu().numpy()
    return _outlined(image, ids, colours, every * 2, every * _share(opacity), size)


def decision_outlines(
    image: Array, judgement: Judgement, *, size: tuple[int, int] | None = None
) -> Array:
    """What became of every connectivity: all outlined in :data:`ACTION_COLOURS`, changes tinted.

    Args:
        image: (H, W, 3) uint8 RGB.
        judgement: of the image's connectivities, out of :class:`seco.Correction` or
            :class:`seco.Refinement`.
        size: height and width of the picture; the image's if ``None``.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.

    Example:
        >>> import torch
        >>> from seco import Decisions
        >>> one, sure = torch.zeros(1, dtype=torch.int64), torch.ones(1)
        >>> known = Connectivities(torch.ones(1, 1, dtype=torch.int32), one, sure)
        >>> judgement = Judgement(known, sure, sure, one, sure, Decisions(one + DROP, one, sure))
        >>> tuple(decision_outlines(np.zeros((1, 1, 3), np.uint8), judgement)[0, 0].tolist())
        (230, 60, 0)
    """
    actions = judgement.decisions.actions.cpu().numpy().tolist()
    colours = np.array([(0, 0, 0), *(ACTION_COLOURS[k] for k in actions)], np.float64)
    widths = np.array([0, *(_WIDTH[k] for k in actions)])
    tints = np.array([0, *(0.0 if k == KEEP else _TINT for k in actions)])
    ids = judgement.connectivities.ids.cpu().numpy()
    return _outlined(image, ids, colours, widths, tints, size)


def _outlined(
    image: Array,
    ids: Array,
    colours: Array,
    widths: Array,
    tints: Array,
    size: tuple[int, int] | None,
) -> Array:
    """Draw the rows of the tables, of which row n is that of id n; row 0 is of no region."""
    check_image("image", image)
    check_fits("ids", ids, image)
    shown: Array = backdrop(image, size)
    ids = nearest(ids, (shown.shape[0], shown.shape[1]))
    tint = tints[ids][..., None]
    shown = (1 - tint) * shown + tint * colours[ids]
    for width in np.unique(widths[widths > 0]).tolist():
        outline = (widths[ids] == width) & _edges(ids, int(width))
        shown[outline] = colours[ids[outline]]
    return np.rint(shown).astype(np.uint8)


def _edges(ids: Array, width: int) -> Array:
    """Whether another id, or the outside of the image, is at most ``width`` pixels away."""
    from scipy.ndimage import maximum_filter, minimum_filter

    side = 2 * width + 1
    least = minimum_filter(ids, side, mode="constant", cval=-1)
    greatest = maximum_filter(ids, side, mode="constant", cval=-1)
    edges: Array = (least != ids) | (greatest != ids)
    return edges


def _share(opacity: float) -> float:
    check_number("opacity", opacity, low=0, high=1)
    return opacity
