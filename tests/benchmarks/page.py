"""docs/benchmarks.md: made of the committed figures, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seco_sections
import sgg_sections
from suite import planned

QUIET = 0.05  # share of the cores that other processes may take
CLOCKS = {"wall": "by the clock", "process": "time of the process", None: "clock not recorded"}
HEAD = """\
# Benchmarks

This page is made by `python tests/benchmarks --write-docs` of docs/results/bench_*.json; nothing in
it is written by hand. Everything can be run again, each benchmark in a process of its own:

```
python tests/benchmarks --scale cpu --out docs/results
python tests/benchmarks --device cuda --scale gpu --minutes 9 --out docs/results
python tests/benchmarks --write-docs
```

The command goes on where it was stopped. What is compared takes turns, after a warm-up; figures are
medians, with the range where it is not the same number. The line below a table says whether times
are by the clock (with several threads, and on a GPU, which is waited for) or of the process (on one
thread of a CPU), which other work on the machine hardly changes. In bold is how many times as fast
ours is; where it is slower, it says "a loss".
*Practice* is what users write with `segment_anything` today: `SamAutomaticMaskGenerator`,
`SamPredictor.predict` for every component, a vote mask by mask.
"""


@dataclass(frozen=True)
class Section:
    """What the page says of the records of one script.

    Args:
        title: its heading.
        text: what is measured.
        tables: of a record, its paragraphs and tables.
    """

    title: str
    text: str
    tables: Callable[[dict[str, Any]], Iterator[str]]


SECTIONS = {
    "bench_refine.py": Section(
        "Refining a label, against today's practice",
        "`seco.refine_pseudo_labels` from scratch, by stage and whole. With random weights, times "
        "are those of trained ones as far as they do not depend on what is seen: the thresholds "
        "let a tenth of the masks pass, and the full grid is asked by both. *Adaptive* leaves out "
        "points in found masks (the default). Practice looks twice at an image; its *whole* is the "
        "sum of its stages.",
        seco_sections.refine,
    ),
    "bench_accelerate.py": Section(
        "The encoder",
        "`seco.accelerate_sam` against the original. FLOPs are those that the architecture asks "
        "for, 2 per multiply-add; TFLOP/s are of these, whoever computes them. The relative "
        "difference is of the embedding from the original's in float32.",
        seco_sections.accelerate,
    ),
    "bench_regions.py": Section(
        "Segment everything: speed and what is found",
        "`seco.propose_regions` against `SamAutomaticMaskGenerator`, same tiny SAM, grid and "
        "thresholds; recall of the true segments of generated streets.",
        seco_sections.regions,
    ),
    "bench_sizes.py": Section(
        "Images/s and memory by size and components",
        "Things and stuff from scratch. *Worst* is a segmenter that takes every component and "
        "every point for the same quarter of the image. Memory is above the loaded model: "
        "resident on a CPU, allocated on a GPU.",
        seco_sections.sizes,
    ),
    "bench_folder.py": Section(
        "Folders: from files to files",
        "*scratch*: regions and things with SAM; *prompts*: regions from their files, things with "
        "SAM; *regions*: regions from their files, no SAM. By the clock.",
        seco_sections.folder,
    ),
    "bench_in_loop.py": Section(
        "In a training loop",
        "Regions that travel with an image: read and moved by the data loader, built, and a call "
        "of `seco.refine_in_loop` on a crop of half the image's height, squared.",
        seco_sections.in_loop,
    ),
    "bench_correct.py": Section(
        "Fitting and correcting (SCC)",
        "*Fit*: a whole `ConnectivityCorrector.fit` per connectivity learnt from, against one crop "
        "per connectivity. *Correct*: what a correction takes beyond its extractor's pass.",
        seco_sections.correct,
    ),
    "bench_translate.py": Section(
        "Translation",
        "A step, and an image, by size and number of classes. *small*: a denoiser of the bundled "
        "one's size and the street segmenter; *large*: a denoiser of 114 M parameters and DeepLab "
        "v3 on a ResNet-101; both untrained. Ratios here are costs: 1 would be free.",
        sgg_sections.translate,
    ),
    "bench_guidance.py": Section(
        "What guidance costs by part, and with crops",
        "A small denoiser and the bundled street segmenter, the label of a street scene. *margin*: "
        "the segmenter sees crops. Ratios to an unguided or a GSG step are costs.",
        sgg_sections.guidance,
    ),
    "bench_batches.py": Section(
        "Images and tiles together",
        "Images whose labels have different numbers of classes, translated with SGG in batches "
        "(*copies in a pass*: how full the segmenter's passes of LCG are), and tiles of a large "
        "image, asked several at a time, unguided; a small denoiser and segmenter, untrained. "
        "Then whether the tiles of the bundled model show where they meet.",
        sgg_sections.batches,
    ),
}


def write_docs(path: Path, results: Path) -> None:
    """Write the page."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Path) -> str:
    """The page's text."""
    records = {file: json.loads(file.read_bytes()) for file in sorted(results.glob("bench_*.json"))}
    parts = [HEAD]
    for script, section in SECTIONS.items():
        own = {file: record for file, record in records.items() if script in record["command"]}
        if own:
            parts += [f"## {section.title}\n", section.text + "\n"]
        for file, record in own.items():
            parts += [part + "\n" for part in section.tables(record)]
            parts.append(_origin(file, record) + "\n")
    parts += ["## What has not been run\n", *_missing(results)]
    return "\n".join(parts)


def _origin(file: Path, record: Mapping[str, Any]) -> str:
    """One line: the command, the machine, the commit."""
    others = record.get("other work, share of the cores")
    if others is None:
        busy = "how busy the machine was is not recorded"
    elif others > QUIET:
        busy = f"**other work took {100 * others:.0f} % of the cores meanwhile**"
    else:
        busy = f"other work took {100 * others:.1f} % of the cores"
    unfinished = " **Not finished.**" if record.get("unfinished") else ""
    return (
        f"*`{record['command']}`; {record['machine']}; commit {record['commit']}, torch "
        f"{record['versions']['torch']}; {CLOCKS[record.get('clock')]}; {busy}; "
        f"[{file.name}](results/{file.name}).*{unfinished}"
    )


def _missing(results: Path) -> Iterator[str]:
    for scale, device in (("cpu", "cpu"), ("gpu", "cuda")):
        names = [run.name for run in planned(scale, device, results) if not run.path.exists()]
        if names:
            all_of = len(names) == len(planned(scale, device, results))
            yield f"- On a {scale.upper()}: {'everything' if all_of else ', '.join(names)}.\n"
