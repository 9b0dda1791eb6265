"""docs/evidence.md: made of the committed numbers, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evidence.adaptation import SETTINGS
from evidence.overview import orders_count, sets_table, students_table, together_table
from evidence.papers import ABLATION, CLOSED
from evidence.planned import DATA, planned
from evidence.plots import plot_name, write_plot
from evidence.publish import RESULTS, Published, read_published
from evidence.summary import seeds_of
from evidence.tables import orders_table, section_orders, section_table
from seco.common.files import write_bytes

DOCS = RESULTS.parents[1]
NOTES = "notes.json"
SEEDS = 3  # as many as there are to be
HEAD = """\
# Evidence: the two papers' comparisons, on domains that anyone has

This page is made by `python examples/evidence --write-docs` of the numbers in
docs/results/evidence; none of it but the notes is written by hand. Figures are means ± standard
deviations over seeds, in percent; those of the first tables are mIoU on target images. How they
were measured, and what the words mean, is said [below](#how-it-was-measured).
"""
STUDENTS = """\
## In one look

Students that learn from labels of target images (in domain generalisation of others): all that the
source model gave (*raw*), the most confident half of them (*base*, the papers' input), refined ones
(pixels outside all regions keep their label), what PSA would make with *true regions*, and true
labels. Of a black box all labels are the base, as it gives no confidences.
"""
PAPERS_WAY = (
    "*Of the way* is PSA + SCC's share of the way from base to true labels; a dash where that way "
    "is shorter than three of its deviations, or there is none in a seed. The paper's shares, in "
    "UDA from GTA5 to Cityscapes: "
    f"{', '.join(f'{name} {share} %' for name, share in CLOSED.items())}."
)
SETS = """\
Segmenters that learn on from labelled images: the source's as they are, their translations, or
target images. *Source only* is where they start: learning on from so few images takes something
away, so that the sets are compared with the source images.
"""
TOGETHER_SAYS = """\
Both papers together: a segmenter as it came, or after learning from a set (the source images, or
their translations of the last strength); and what becomes of it by learning on from that set and
from labels of target images: the confident half of its own (*base*), all (*raw*), refined ones, or
true ones beside the source images.
"""
MEASURED = """\
## How it was measured

Everything can be run again:

```
python examples/evidence --suite all --data streets --seeds 3 --scale cpu --out evidence
python examples/evidence --suite all --data streets --seeds 3 --scale cpu --out evidence --publish
python examples/evidence --write-docs
```

*Streets* are generated: the source is a game look, the target a camera look, the source model a
small network that knows the game look only. *CamVid* goes from day to dusk: 62 dusk frames of one
drive, of which a seed draws its unlabelled target images; the 31 of the second half are measured,
so that their labels are held out and the images are not always. Labels are scored there on frames
of the first half alone, from which the upper bound and the oracle learn. Segmenters of CamVid are
the demo's small network with a new head or, *from ImageNet*, an EfficientNet-Lite0, whose features
the corrector sees then, too; *edge regions* are cut from the maps of a boundary detector (PiDiNet,
trained on other photographs). On streets every seed has images of its own (but for the held-out
ones), and on both training crops and a corrector of its own; ignored pixels count as misses in
labels. Settings are the library's defaults, or the papers' where it says so; what was chosen after
a look at results like these stands in the notes. True labels are read for measuring, by the
ceiling (*ideal regions*: PSA with true regions, named by the pseudo-labels; a ceiling of what
better regions give, not of correction) and by the upper bound.

*Rest ignored* (paper) or *kept*: pixels outside all regions lose or keep their label. *DivideMix*
is our own small form of the pixel-wise filter, with one network; *SCC without SAM* corrects the
labels' own components, with the features that correct the others. Shares of the way are by seed,
and left out where the way is less than three of its deviations, or none. An order holds if it does
in every seed, and "within the deviations" if the means then differ by less than both standard
deviations together. In plots bars are one standard deviation, and grey dots the seeds.
"""
SUITES = {"seco": "Labels (SeCo)", "sgg": "Translations (SGG, PTL), and both papers together"}
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
        "are the source images, and their translations of the last strength."
    ),
    "guidance scale": "Of SGG, at the middle strength.",
    "number of stages": "Of progressive translation, up to the last strength.",
    "sensitivity": (
        "Source-free, PSA + SCC with the rest kept; one option is changed, the others are as by "
        "default."
    ),
}


def write_docs(docs: Path = DOCS) -> list[Path]:
    """Write the page and its plots; a plot of what is no more is left."""
    published = read_published(docs / "results" / "evidence")
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    written = [docs / "evidence.md"]
    for one in published:
        for section, numbers in one.sections().items():
            written.append(images / plot_name(one, section))
            write_plot(written[-1], one, section, numbers)
    write_bytes(written[0], page(docs).encode())
    return written


def page(docs: Path = DOCS) -> str:
    """The page's text."""
    results = docs / "results" / "evidence"
    published = read_published(results)
    path = results / NOTES
    notes: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
    parts = [HEAD, *_overview(published, notes)]
    for one in published:
        parts += _of_file(one, notes)
    parts += _not_run(published, notes)
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _overview(published: Sequence[Published], notes: Mapping[str, str]) -> Iterator[str]:
    if not published:
        yield "Nothing has been published yet."
        return
    suites = {one.suite for one in published}
    if "seco" in suites:
        yield STUDENTS
        yield students_table(published)
        yield PAPERS_WAY
    if "sgg" in suites:
        yield SETS
        yield sets_table(published)
        yield TOGETHER_SAYS
        yield together_table(published)
    yield "## What agrees with the papers, and what does not"
    if "overview" in notes:
        yield notes["overview"]
    yield (
        "How many of the expected orders hold in every seed, clearly or within the deviations, in "
        "some seeds, or in none; which, stands in every section."
    )
    yield orders_count(published)
    yield MEASURED


def _of_file(one: Published, notes: Mapping[str, str]) -> Iterator[str]:
    title = TITLES[one.data]
    yield f"## {SUITES[one.suite]}: {title}, scale {one.scale}"
    sizes = ", ".join(
        f"{name} {value}" for name, value in one.sizes.items() if not isinstance(value, Mapping)
    )
    yield (
        f"Sizes: {sizes}. Measured on {'; '.join(one.machines)}, at {', '.join(one.commits)}; "
        f"{one.seconds / 3600:.1f} hours of one process, what cells share not counted twice. Every "
        f"class: docs/results/evidence/{one.suite}-{one.data}-{one.scale}.json."
    )
    for section, numbers in one.sections().items():
        yield f"### {section[0].upper()}{section[1:]}"
        setting, seeds = next(iter(numbers)).setting, seeds_of(numbers)
        if seeds < SEEDS:
            yield f"**Of {seeds} seed{'s' if seeds > 1 else ''} only, not {SEEDS}.**"
        if section in SETTINGS:
            yield f"{SETTINGS[section].says[0].upper()}{SETTINGS[section].says[1:]}."
        elif setting in SAYS:
            yield SAYS[setting]
        yield section_table(one.suite, section, numbers, one.numbers)
        orders = section_orders(one.suite, section, numbers, one.numbers)
        if orders:
            yield orders_table(orders)
        key = f"{one.suite}-{one.data}-{one.scale}: {section}"
        if key in notes:
            yield notes[key]
        yield f"![{section}](images/{plot_name(one, section)})"


def _not_run(published: Sequence[Published], notes: Mapping[str, str]) -> Iterator[str]:
    yield "## What has not been run"
    lines = []
    for data in DATA:
        for scale in ("cpu", "gpu"):
            for suite in SUITES:
                cells = planned(suite, data, scale, range(SEEDS))
                done = {
                    cell
                    for one in published
                    if (one.suite, one.data, one.scale) == (suite, data, scale)
                    for cell in one.numbers
                }
                partly = {cell.section for cell in done}
                missing = dict.fromkeys(
                    f"{cell.section} (some seeds)" if cell.section in partly else cell.section
                    for cell in cells
                    if cell not in done
                )
                if missing:
                    what = "everything" if not done else "; ".join(missing)
                    lines.append(f"- {suite}, {data}, scale {scale}: {what}.")
    yield "\n".join(lines) if lines else "Nothing is left out."
    if "not run" in notes:
        yield notes["not run"]
    yield (
        "The papers' own benchmarks (GTA5 → Cityscapes with a real SAM and a large diffusion "
        f"model) are not among these: their numbers ({', '.join(ABLATION)}) stand beside ours for "
        "the order alone."
    )
