"""Which cells there are."""

from __future__ import annotations

from evidence.camvid import NETWORKS
from evidence.cells import Cell
from evidence.plain_source import PLAIN
from evidence.scales import SCALES
from evidence.seco_suite import seco_cells
from evidence.sgg_suite import sgg_cells

DATA = ("streets", PLAIN, *NETWORKS)


def planned(suite: str, data: str, scale: str, seeds: range) -> list[Cell]:
    """All cells of a suite, or of "all" that the data has; in the order in which they are run."""
    own = SCALES[scale]
    translated = data not in NETWORKS or NETWORKS[data].translates
    found: list[Cell] = []
    if suite in ("seco", "all") and data != PLAIN:
        found += seco_cells(data, own.seco, seeds)
    if suite in ("sgg", "all") and translated:
        found += sgg_cells(data, own.sgg, seeds)
    return found
