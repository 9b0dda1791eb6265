"""One section's tables, as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from evidence.adaptation import SETTINGS
from evidence.cells import before_in_rounds
from evidence.labelling import BASE
from evidence.papers import ABLATION, PAPER_COLUMNS, SECO_ORDERS, SGG_ORDERS
from evidence.references import references
from evidence.seco_suite import SENSITIVITY
from evidence.seco_suite import UPPER as SECO_UPPER
from evidence.sgg_suite import SOURCE_TRAINED, TOGETHER, TRANSLATION
from evidence.sgg_suite import UPPER as SGG_UPPER
from evidence.summary import Numbers, Order, Values, closed, order, values_of


def markdown(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, align: Literal["--:", ":--"] = "--:"
) -> str:
    """A table, all but the first column aligned so."""
    lines = ["| " + " | ".join(head) + " |", "|:--" + f"|{align}" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def section_table(suite: str, section: str, numbers: Numbers, whole: Numbers) -> str:
    """All variants of a section.

    Args:
        suite: "seco" or "sgg".
        section: its name.
        numbers: of its cells.
        whole: of all cells of the file, for the base and the upper bound.
    """
    setting = next(iter(numbers)).setting
    known, beside = _known(numbers, whole), references(numbers, whole)
    shown = {**beside, **numbers}
    above = {cell.variant for cell in beside}
    if suite == "seco":
        ends, columns = (BASE, SECO_UPPER), _label_columns(shown)
    else:
        ends, columns = (SOURCE_TRAINED, SGG_UPPER), _set_columns(shown)
    base, upper = (known.get(name) for name in ends)
    papers = PAPER_COLUMNS.get(setting, ()) if section == setting else ()
    head = ["", *columns, "**target mIoU**", "of the way", *(f"paper: {name}" for name in papers)]
    rows = []
    for variant, found in values_of(shown).items():
        share = (
            share_of_way(base, found, upper)
            if base and upper and found not in (base, upper)
            else ""
        )
        rows.append(
            [
                f"{variant} (above)" if variant in above else variant,
                *(
                    column[variant].text() if variant in column else ""
                    for column in columns.values()
                ),
                found.text(),
                share,
                *(_paper(name, variant) for name in papers),
            ]
        )
    return markdown(head, rows)


def share_of_way(base: Values, found: Values, upper: Values) -> str:
    """In percent; a dash where the way is less than three of its deviations, or none in a seed."""
    way = upper - base
    if min(way.by_seed.values()) <= 0 or way.mean < 3 * np.nan_to_num(way.std):
        return "–"
    return f"{closed(base, found, upper).text(0)} %"


def section_orders(suite: str, section: str, numbers: Numbers, whole: Numbers) -> list[Order]:
    """The papers' orders, of the variants that a section has; of some sections ours."""
    found, own = _known(numbers, whole), values_of(numbers)
    if section.endswith(", rounds"):
        pairs = _by_round(numbers, found)
    elif section == TOGETHER:
        pairs = _together(own)
    elif section.endswith(", with confidences"):
        pairs = [(variant.removesuffix(", witness=scores"), variant) for variant in own]
    elif section in (*SETTINGS, TRANSLATION) or section.endswith("'s settings"):
        pairs = [
            (_with(ending, worse, found), _with(ending, better, found))
            for worse, better in (SECO_ORDERS if suite == "seco" else SGG_ORDERS)
            for ending in dict.fromkeys(variant.partition(", ")[2] for variant in own)
        ]
    else:
        pairs = []
    return [
        order(worse, better, found)
        for worse, better in dict.fromkeys(pairs)
        if worse in found and better in found and (worse in own or better in own)
    ]


def orders_table(orders: Sequence[Order]) -> str:
    """In words and numbers."""
    rows = [
        [f"{one.worse} < {one.better}", one.verdict, one.difference.text(sign="+")]
        for one in orders
    ]
    return markdown(("expected", "holds", "difference"), rows)


def _by_round(numbers: Numbers, found: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Every round against the one before."""
    pairs = []
    for cell in numbers:
        before = before_in_rounds(cell).variant
        if before in found:
            pairs.append((before, cell.variant))
    return pairs


def _together(own: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Refined labels against others after the same set; sets against each other, both refined."""
    refined = "labels=PSA + SCC"
    sources = list(dict.fromkeys(v.partition(", ")[0] for v in own if v.endswith(refined)))
    pairs = [
        (f"{source}, labels={how}", f"{source}, {refined}")
        for source in sources
        for how in ("no self-training", "base", "raw")
    ]
    return pairs + [
        (f"{one}, {refined}", f"{other}, {refined}")
        for one, other in combinations(sources, 2)
        if not other.startswith("source")
    ]


def _known(numbers: Numbers, whole: Numbers) -> dict[str, Values]:
    """A section's variants, and those that it is compared with."""
    setting = next(iter(numbers)).setting
    beside = {cell: said for cell, said in whole.items() if cell.section == _compared(setting)}
    return values_of(beside) | values_of(numbers)


def _compared(setting: str) -> str:
    """The section that has the base and the upper bound of a setting."""
    if setting in SETTINGS:
        return setting
    return {SENSITIVITY: "source-free"}.get(setting, TRANSLATION)


def _label_columns(numbers: Numbers) -> dict[str, dict[str, Values]]:
    columns = {
        "labels: mIoU": values_of(numbers, ("labels", "mean_iou")),
        "accuracy": values_of(numbers, ("labels", "accuracy")),
        "coverage": values_of(numbers, ("labels", "coverage")),
        "unknown things labelled": values_of(numbers, ("unknown things labelled",)),
    }
    return {name: values for name, values in columns.items() if values}


def _set_columns(numbers: Numbers) -> dict[str, dict[str, Values]]:
    columns = {
        "labels: mIoU": values_of(numbers, ("labels", "mean_iou")),
        "distance, features": values_of(numbers, ("distance", "features")),
        "colours": values_of(numbers, ("distance", "colours")),
        "stage's own segmenter": values_of(numbers, ("stage's own segmenter", "mean_iou")),
    }
    return {name: values for name, values in columns.items() if values}


def _paper(method: str, variant: str) -> str:
    """The paper's number; of those who ignore the rest, as the paper does, alone."""
    arm, _, options = variant.partition(", ")
    if options not in ("", "rest=ignored"):
        return ""
    value = ABLATION[method].get(arm)
    return "" if value is None else f"{value:.1f}"


def _with(ending: str, arm: str, found: Mapping[str, Values]) -> str:
    """The arm with these options; without, if it has none."""
    own = f"{arm}, {ending}" if ending else arm
    return own if own in found else arm
