"""The page of one file of results: every section's notes, plot, figures and orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evidence.adaptation import SETTINGS
from evidence.plots import plot_name
from evidence.publish import Published
from evidence.summary import Numbers, seeds_of
from evidence.tables import orders_table, section_orders, section_table

SEEDS = 3  # as many as there are to be
SUITE_TITLES = {"seco": "Labels (SeCo)", "sgg": "Translations (SGG, PTL), and both papers together"}
TITLES = {
    "streets": "streets",
    "streets-plain": "streets, with a source model that knows its own look alone",
    "camvid": "CamVid, day → dusk",
    "camvid-imagenet": "CamVid, day → dusk, with a network from ImageNet",
}
SAYS = {
    "translation": (
        "The source segmenter, trained further on each set with the source's labels. *Source only* "
        "is that segmenter as it came, which is not what the arms are compared with: further "
        "training on so few images with weak augmentation takes something away. *Labels: mIoU* is "
        "what an oracle sees of them in the images, *distance* is to other target images (100 is "
        "as far as the source images are)."
    ),
    "both papers": (
        "A teacher that has learnt from a set (*source only*: the source segmenter as it came) "
        "labels target images; from that set and from these labels the student learns on. The sets "
        "are the source images, and their translations of the last strength. PSA + SCC keeps the "
        "rest. *Target images* are learnt from with their true labels in the same way: another "
        "upper bound than that of the translations alone."
    ),
    "guidance scale": "Of SGG, at the middle strength.",
    "number of stages": "Of progressive translation, up to the last strength.",
    "sensitivity": (
        "Source-free, PSA + SCC with the rest kept; one option is changed, the others are as by "
        "default."
    ),
    "paper's settings": "Every mask is believed, and regions name stuff alone.",
    "with confidences": (
        "The same arms, but the corrector counts how sure the labels are (*witness=scores*; "
        "[correction](../correction.md#with-confidences))."
    ),
    "rounds": (
        "A further round labels the images by the student of the round before, refines, and trains "
        "the source model anew on that."
    ),
}


def file_page(one: Published, notes: Mapping[str, str]) -> str:
    """The page's text."""
    parts = [*_head(one)]
    for section, numbers in one.sections().items():
        parts += _section(one, section, numbers, notes)
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _head(one: Published) -> Iterator[str]:
    yield f"# {SUITE_TITLES[one.suite]}: {TITLES[one.data]}, scale {one.scale}"
    yield (
        "Part of the [evidence](../evidence.md), where [how it was "
        "measured](../evidence.md#how-it-was-measured) is said, and what the words mean. This page "
        "is made by `python examples/evidence --write-docs` of the numbers and the notes in "
        "docs/results/evidence."
    )
    sizes = ", ".join(
        f"{name} {value}" for name, value in one.sizes.items() if not isinstance(value, Mapping)
    )
    yield (
        f"Sizes: {sizes}. Measured on {'; '.join(one.machines)}, at {', '.join(one.commits)}; "
        f"{one.seconds / 3600:.1f} hours of one process, what cells share not counted twice. Every "
        f"class: docs/results/evidence/{one.name}.json."
    )


def _section(
    one: Published, section: str, numbers: Numbers, notes: Mapping[str, str]
) -> Iterator[str]:
    yield f"## {section[0].upper()}{section[1:]}"
    setting, seeds = next(iter(numbers)).setting, seeds_of(numbers)
    if seeds < SEEDS:
        yield f"**Of {seeds} seed{'s' if seeds > 1 else ''} only, not {SEEDS}.**"
    if section in SETTINGS:
        yield f"{SETTINGS[section].says[0].upper()}{SETTINGS[section].says[1:]}."
    else:
        yield SAYS[section.removeprefix(f"{setting}, ")]
    key = f"{one.name}: {section}"
    if key in notes:
        yield notes[key]
    yield f"![{section}](../images/{plot_name(one, section)})"
    yield section_table(one.suite, section, numbers, one.numbers)
    orders = section_orders(one.suite, section, numbers, one.numbers)
    if orders:
        yield orders_table(orders)
