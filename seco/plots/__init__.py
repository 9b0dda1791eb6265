"""Pictures of labels, of what becomes of them and of what decides it; nothing is written or shown.

A picture is an (H, W, 3) uint8 array, a figure a ``matplotlib.figure.Figure``: a notebook shows
it, :func:`write_figure` writes it. Colours and legends come from the :class:`seco.LabelSpace`.

- One image: :func:`overlay`, :func:`changes`, :func:`region_outlines`,
  :func:`connectivity_outlines`, :func:`decision_outlines`.
- Many: :func:`before_after`, :func:`label_figure`, :func:`picture_figure` with a :func:`legend`.
- Fitting: :func:`loss_figure`.
"""

from seco.common.plots import (
    label_figure,
    legend,
    overlay,
    picture_figure,
    write_figure,
)
from seco.plots.comparison import before_after, changes
from seco.plots.losses import loss_figure
from seco.plots.outlines import (
    ACTION_COLOURS,
    connectivity_outlines,
    decision_outlines,
    region_outlines,
)

__all__ = [
    "ACTION_COLOURS",
    "before_after",
    "changes",
    "connectivity_outlines",
    "decision_outlines",
    "label_figure",
    "legend",
    "loss_figure",
    "overlay",
    "picture_figure",
    "region_outlines",
    "write_figure",
]
