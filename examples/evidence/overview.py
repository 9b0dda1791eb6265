"""The front page's tables: one line per comparison, of all files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from evidence.adaptation import SETTINGS
from evidence.labelling import BASE, IDEAL
from evidence.publish import Published
from evidence.seco_suite import SOURCE_ONLY, UPPER
from evidence.sgg_suite import LABELS, PTL, SOURCE_TRAINED, TOGETHER, TRANSLATION
from evidence.sgg_suite import SOURCE_ONLY as AS_IT_CAME
from evidence.sgg_suite import UPPER as TARGET_IMAGES
from evidence.summary import Numbers, Values, seeds_of, values_of
from evidence.tables import markdown, section_orders, share_of_way

_REFINED = "PSA + SCC, rest=kept"
# What a table's columns are called, and the variants that they show; {} is what the row is of.
STUDENT_COLUMNS = {
    "source only": SOURCE_ONLY,
    "raw": "raw",
    "base": BASE,
    "PSA": "PSA, rest=kept",
    "PSA + SCC": _REFINED,
    "true regions": f"{IDEAL}, rest=kept",
    "true labels": UPPER,
}
SET_COLUMNS = {
    AS_IT_CAME: AS_IT_CAME,
    SOURCE_TRAINED: SOURCE_TRAINED,
    **{arm: f"{arm}, strength={{}}" for arm in ("unguided", "LCG", "GSG", "SGG", PTL)},
    TARGET_IMAGES: TARGET_IMAGES,
}
_TOGETHER = {
    **{labels: f"{{}}, labels={labels}" for labels in LABELS},
    "true labels": TARGET_IMAGES,
}
ONE_SEED = "one seed: nothing is claimed"


def with_students(published: Sequence[Published]) -> list[Published]:
    """The files that have a setting of students."""
    return [one for one in published if one.suite == "seco" and SETTINGS.keys() & one.sections()]


def with_sets(published: Sequence[Published]) -> list[Published]:
    """The files that have segmenters that learn from translated sets."""
    return [one for one in published if TRANSLATION in one.sections()]


def with_together(published: Sequence[Published]) -> list[Published]:
    """The files that have both papers together."""
    return [one for one in published if TOGETHER in one.sections()]


def students_table(published: Sequence[Published]) -> str:
    """Target mIoU of the students of every setting, and how much of the way PSA + SCC goes."""
    rows = []
    for one, section, numbers in _sections(published, "seco"):
        if section in SETTINGS:
            found = values_of(numbers)
            ends = [found.get(variant) for variant in (BASE, _REFINED, UPPER)]
            way = "" if None in ends else share_of_way(*ends)
            rows.append([_link(one, section), *_texts(found, STUDENT_COLUMNS), way])
    return markdown(("", *STUDENT_COLUMNS, "of the way"), rows)


def sets_table(published: Sequence[Published]) -> str:
    """Target mIoU of the segmenters that learn from translated sets, by strength."""
    rows = []
    for one, section, numbers in _sections(published, "sgg"):
        if section == TRANSLATION:
            found = values_of(numbers)
            strengths = dict.fromkeys(cell.option("strength") for cell in numbers)
            rows += [
                [_link(one, section, f"strength {strength}"), *_texts(found, SET_COLUMNS, strength)]
                for strength in strengths
                if strength is not None
            ]
    return markdown(("", *SET_COLUMNS), rows)


def together_table(published: Sequence[Published]) -> str:
    """Target mIoU after self-training with and without refined labels, by what was learnt first."""
    rows = [
        [_link(one, section, source), *_texts(values_of(numbers), _TOGETHER, source)]
        for one, section, numbers in _sections(published, "sgg")
        if section == TOGETHER
        for source in dict.fromkeys(cell.arm for cell in numbers if cell.option("labels"))
    ]
    return markdown(("", *_TOGETHER), rows)


def orders_count(published: Sequence[Published]) -> str:
    """How many of a section's expected orders hold, and how clearly."""
    rows = []
    for suite in ("seco", "sgg"):
        for one, section, numbers in _sections(published, suite):
            orders = section_orders(suite, section, numbers, one.numbers)
            if orders and seeds_of(numbers) == 1:
                rows.append([_link(one, section), ONE_SEED, "", "", ""])
            elif orders:
                kinds = Counter(
                    o.verdict if o.verdict in ("yes", "no") else o.verdict.split()[0]
                    for o in orders
                )
                counts = (f"{kinds[kind]}" for kind in ("yes", "yes,", "in", "no"))
                rows.append([_link(one, section), *counts])
    head = ("", "clearly", "within the deviations", "in some seeds", "in none")
    return markdown(head, rows) if rows else "No orders are expected of what is there."


def _sections(
    published: Sequence[Published], suite: str
) -> Iterator[tuple[Published, str, Numbers]]:
    """Every section's file, its name, and its cells."""
    for one in published:
        if one.suite == suite:
            for section, numbers in one.sections().items():
                yield one, section, numbers


def _link(one: Published, section: str, what: str | None = None) -> str:
    """A line's name, which leads to the section on the page of its file."""
    anchor = re.sub(r"[^\w\s-]", "", section).replace(" ", "-").lower()
    return f"[{one.title}: {what or section}](evidence/{one.name}.md#{anchor})"


def _texts(
    found: Mapping[str, Values], columns: Mapping[str, str], row: object = None
) -> Iterator[str]:
    for variant in columns.values():
        value = found.get(variant.format(row))
        yield "" if value is None else value.text()
