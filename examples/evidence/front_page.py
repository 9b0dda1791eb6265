"""The page of all files: their figures at a glance, what they show, how they were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evidence.file_page import SEEDS, SUITE_TITLES, TITLES
from evidence.overview import (
    orders_count,
    sets_table,
    students_table,
    together_table,
    with_sets,
    with_students,
    with_together,
)
from evidence.overview_plots import SETS_PLOT, STUDENTS_PLOT, TOGETHER_PLOT
from evidence.papers import ABLATION, CLOSED
from evidence.planned import DATA, planned
from evidence.publish import Published

HEAD = """\
# Evidence: the two papers' comparisons, on domains that anyone has

This page is made by `python examples/evidence --write-docs` of the numbers in
docs/results/evidence; none of it but the notes (notes.json there) is written by hand. Figures are
means ± standard deviations over seeds, in percent; those of the first tables are mIoU on target
images, at the scale cpu where no other is named. How they were measured, and what the words mean,
is said [below](#how-it-was-measured); a line's name leads to all that belongs to it.
"""
STUDENTS_SAYS = """\
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
SETS_SAYS = """\
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
small network that has learnt game scenes with strong augmentation (blur, noise, colours), at
256 × 256 for labels and 64 × 128 for translations. *Streets-plain* (translations alone) has another
one, the same for all seeds, that has learnt game scenes mirrored and a little brighter or darker.
*CamVid* goes from day to dusk: 62 dusk frames of one
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
labels' own components, with the features that correct the others. The way goes from the base to
true labels, of translated sets from the source images to target images; shares of it are by seed,
and left out where the way is less than three of its deviations, or none. A line marked *(above)* is
one of an earlier section of its page. An order holds if it does in every seed, and "within the
deviations" if the means then differ by less than both standard deviations together. In the
plots of this page every panel has its own scale, and only the last plot has bars. In those of the
sections bars are one standard deviation; where variants stand below each other, grey dots are the
seeds, colours tell what became of the rest or which labels were learnt from, and dotted lines are
the base and the upper bound.
"""


def front_page(published: Sequence[Published], notes: Mapping[str, str]) -> str:
    """The page's text."""
    parts = [HEAD, *_overview(published, notes), *_files(published), *_not_run(published, notes)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _overview(published: Sequence[Published], notes: Mapping[str, str]) -> Iterator[str]:
    if not published:
        yield "Nothing has been published yet."
        return
    if with_students(published):
        yield STUDENTS_SAYS
        yield f"![Target mIoU of students, by setting and data](images/{STUDENTS_PLOT})"
        yield students_table(published)
        yield PAPERS_WAY
    if with_sets(published):
        yield SETS_SAYS
        yield f"![Target mIoU after learning from translations, by strength](images/{SETS_PLOT})"
        yield sets_table(published)
    if with_together(published):
        yield TOGETHER_SAYS
        yield f"![Target mIoU after self-training, by set and labels](images/{TOGETHER_PLOT})"
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


def _files(published: Sequence[Published]) -> Iterator[str]:
    if published:
        yield "## Every comparison"
        yield "Notes, plots, figures and orders of every section, by suite and data:"
        yield "\n".join(
            f"- [{SUITE_TITLES[one.suite]}: {TITLES[one.data]}, scale {one.scale}]"
            f"(evidence/{one.name}.md): {'; '.join(one.sections())}."
            for one in published
        )


def _not_run(published: Sequence[Published], notes: Mapping[str, str]) -> Iterator[str]:
    yield "## What has not been run"
    lines = []
    for data in DATA:
        for scale in ("cpu", "gpu"):
            for suite in SUITE_TITLES:
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
