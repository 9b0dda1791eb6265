"""One section's tables, as markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evidence.adaptation import SETTINGS
from evidence.papers import ABLATION, PAPER_COLUMNS, SECO_ORDERS, SGG_ORDERS
from evidence.summary import Numbers, Order, Values, closed, order, values_of

BASE, SECO_UPPER, SGG_SOURCE, SGG_UPPER = (
    "base", "supervised on target", "source images", "target images",
)  # fmt: skip


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
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
    known = _known(numbers, whole)
    if suite == "seco":
        base, upper, columns = known.get(BASE), known.get(SECO_UPPER), _label_columns(numbers)
    else:
        base, upper, columns = known.get(SGG_SOURCE), known.get(SGG_UPPER), _set_columns(numbers)
    papers = PAPER_COLUMNS.get(setting, ()) if section == setting else ()
    head = ["", *columns, "**target mIoU**", "of the way", *(f"paper: {name}" for name in papers)]
    rows = []
    for variant, found in values_of(numbers).items():
        share = (
            closed(base, found, upper) if base and upper and found not in (base, upper) else None
        )
        rows.append(
            [
                variant,
                *(
                    column[variant].text() if variant in column else ""
                    for column in columns.values()
                ),
                found.text(),
                share.text(0) + " %" if share and share.by_seed else "",
                *(_paper(name, variant) for name in papers),
            ]
        )
    return markdown(head, rows)


def section_orders(suite: str, numbers: Numbers, whole: Numbers) -> list[Order]:
    """The papers' orders, of the variants that a section has."""
    found = _known(numbers, whole)
    orders: list[Order] = []
    for worse, better in SECO_ORDERS if suite == "seco" else SGG_ORDERS:
        for ending in _endings(values_of(numbers)):
            one, other = _with(ending, worse, found), _with(ending, better, found)
            if one and other and (one, other) not in [(o.worse, o.better) for o in orders]:
                orders.append(order(one, other, found))
    return orders


def orders_table(orders: Sequence[Order]) -> str:
    """In words and numbers."""
    rows = [[f"{one.worse} < {one.better}", one.verdict, _signed(one.difference)] for one in orders]
    return markdown(("as in the paper", "holds", "difference"), rows)


def _known(numbers: Numbers, whole: Numbers) -> dict[str, Values]:
    """A section's variants, and those that it is compared with."""
    setting = next(iter(numbers)).setting
    beside = {cell: said for cell, said in whole.items() if cell.section == _compared(setting)}
    return values_of(beside) | values_of(numbers)


def _compared(setting: str) -> str:
    """The section that has the base and the upper bound of a setting."""
    if setting in SETTINGS or setting == "translation":
        return setting
    return {"sensitivity": "source-free"}.get(setting, "translation")


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


def _endings(found: Mapping[str, Values]) -> list[str]:
    """The options that variants of a section have, each once, in their order."""
    return list(dict.fromkeys(variant.partition(", ")[2] for variant in found))


def _with(ending: str, arm: str, found: Mapping[str, Values]) -> str | None:
    """The arm with these options; without, if it has none; ``None`` if there is none such."""
    own = f"{arm}, {ending}" if ending else arm
    if own in found:
        return own
    return arm if arm in found else None


def _signed(found: Values) -> str:
    text = found.text()
    return text if text.startswith("-") else f"+{text}"
