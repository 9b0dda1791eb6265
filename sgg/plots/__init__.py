"""Pictures of translations and of what they trade; nothing is written or shown.

A picture is an (H, W, 3) uint8 array, a figure a ``matplotlib.figure.Figure``: a notebook shows
it, :func:`write_figure` writes it. Colours and legends come from the label space.

- :func:`translation_strips`: source, translations and what an oracle sees in them.
- :func:`tradeoff_figure`: does the label still hold, against how near the target is.
- Of any package: :func:`overlay`, :func:`label_figure`, :func:`picture_figure`, :func:`legend`.
"""

from seco.common.plots import (
    label_figure,
    legend,
    overlay,
    picture_figure,
    write_figure,
)
from sgg.plots.strips import translation_strips
from sgg.plots.tradeoff import TradeoffPoint, tradeoff_figure

__all__ = [
    "TradeoffPoint",
    "label_figure",
    "legend",
    "overlay",
    "picture_figure",
    "tradeoff_figure",
    "translation_strips",
    "write_figure",
]
