"""The page's first tables: one line per comparison, of all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from evidence.adaptation import SETTINGS
from evidence.labelling import BASE, IDEAL
from evidence.publish import Published
from evidence.seco_suite import SOURCE_ONLY, UPPER
from evidence.sgg_suite import PTL, SOURCE_TRAINED, TOGETHER, TRANSLATION
from evidence.sgg_suite import UPPER as TARGET_IMAGES
from evidence.summary import Numbers, Values, seeds_of, values_of
from evidence.tables import markdown, section_orders, share_of_way

# What a table's columns are called, and the variants that they show.
_STUDENTS = {
    "source only": SOURCE_ONLY,
    "raw": "raw",
    "base": BASE,
    "PSA": "PSA, rest=kept",
    "**PSA + SCC**": "PSA + SCC, rest=kept",
    "true regions": f"{IDEAL}, rest=kept",
    "true labels": UPPER,
}
_SETS = {
    SOURCE_TRAINED: SOURCE_TRAINED,
    **{arm: f"{arm}, strength={{}}" for arm in ("unguided", "LCG", "GSG")},
    "**SGG**": "SGG, strength={}",
    PTL: f"{PTL}, strength={{}}",
    TARGET_IMAGES: TARGET_IMAGES,
}
_TOGETHER = {
    SOURCE_TRAINED: f"{SOURCE_TRAINED}, labels=no self-training",
    "its labels, PSA + SCC": f"{SOURCE_TRAINED}, labels=PSA + SCC",
    "SGG": "SGG, labels=no self-training",
    "**its labels, PSA + SCC**": "SGG, labels=PSA + SCC",
    TARGET_IMAGES: TARGET_IMAGES,
}
ONE_SEED = "one seed: nothing is claimed"


def students_table(published: Sequence[Published]) -> str:
    """Target mIoU of the students of every setting, and how much of the way PSA + SCC goes."""
    rows = []
    for name, section, numbers, _ in _sections(published, "seco"):
        if section in SETTINGS:
            found = values_of(numbers)
            way = ""
            if {BASE, UPPER, _STUDENTS["**PSA + SCC**"]} <= found.keys():
                way = share_of_way(found[BASE], found[_STUDENTS["**PSA + SCC**"]], found[UPPER])
            rows.append([f"{name}: {section}", *_texts(found, _STUDENTS), way])
    return markdown(("", *_STUDENTS, "of the way"), rows)


def sets_table(published: Sequence[Published]) -> str:
    """Target mIoU of the segmenters that learn from translated sets, by strength."""
    rows = []
    for name, section, numbers, _ in _sections(published, "sgg"):
        if section == TRANSLATION:
            found = values_of(numbers)
            strengths = dict.fromkeys(cell.option("strength") for cell in numbers)
            rows += [
                [f"{name}: strength {strength}", *_texts(found, _SETS, strength)]
                for strength in strengths
                if strength is not None
            ]
    return markdown(("", *_SETS), rows)


def together_table(published: Sequence[Published]) -> str:
    """Target mIoU with one paper's method, the other's, and both."""
    rows = [
        [name, *_texts(values_of(numbers), _TOGETHER)]
        for name, section, numbers, _ in _sections(published, "sgg")
        if section == TOGETHER
    ]
    return markdown(("", *_TOGETHER), rows)


def orders_count(published: Sequence[Published]) -> str:
    """How many of a section's expected orders hold, and how clearly."""
    rows = []
    for suite in ("seco", "sgg"):
        for name, section, numbers, whole in _sections(published, suite):
            orders = section_orders(suite, section, numbers, whole)
            if orders and seeds_of(numbers) == 1:
                rows.append([f"{name}: {section}", ONE_SEED, "", "", ""])
            elif orders:
                kinds = Counter(
                    o.verdict if o.verdict in ("yes", "no") else o.verdict.split()[0]
                    for o in orders
                )
                counts = (f"{kinds[kind]}" for kind in ("yes", "yes,", "in", "no"))
                rows.append([f"{name}: {section}", *counts])
    return markdown(("", "clearly", "within the deviations", "in some seeds", "in none"), rows)


def _sections(
    published: Sequence[Published], suite: str
) -> Iterator[tuple[str, str, Numbers, Numbers]]:
    """Of every section what its file is called, its name, its cells and all of the file."""
    for one in published:
        if one.suite == suite:
            for section, numbers in one.sections().items():
                yield f"{one.data}, {one.scale}", section, numbers, one.numbers


def _texts(
    found: Mapping[str, Values], columns: Mapping[str, str], strength: object = None
) -> Iterator[str]:
    for variant in columns.values():
        value = found.get(variant.format(strength))
        yield "" if value is None else value.text()
