"""The report of a progressive translation: one page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from seco.common.files import read_image
from seco.common.items import label_of
from seco.common.jobs import Manifest
from seco.common.labels import LabelSpace
from seco.common.pages import render_page, write_page
from seco.common.pages.pictures import figure_picture, label_picture, photo
from seco.common.pages.text import in_hex, percent
from seco.common.plots import IGNORE_COLOUR
from sgg.progressive.figures import (
    consistency_figure,
    distance_figure,
    loss_figure,
    relative_distances,
)
from sgg.progressive.protocol import Losses
from sgg.progressive.result import Progression, Stage

SHOWN = 6
"""Samples on a page."""


def write_report(
    progression: Progression,
    label_space: LabelSpace,
    *,
    title: str = "From the source to the target, stage by stage",
    shown: int = SHOWN,
) -> Path:
    """Write ``report.html`` into the folder of a progressive translation, whole or not at all.

    Args:
        progression: also one that has stopped, with one stage at least.
        label_space: of the labels.
        title: of the page.
        shown: how many images to show, spread evenly over the set.

    Returns:
        The page's path.

    Raises:
        OSError, ValueError: an image cannot be read, or the page not be written.
    """
    template = (files("sgg.progressive") / "page.html").read_text(encoding="utf-8")
    values = _values(progression, label_space, shown) | {"title": title}
    write_page(progression.places.report, render_page(template, values))
    return progression.places.report


def _values(progression: Progression, space: LabelSpace, shown: int) -> dict[str, Any]:
    stages = progression.stages
    samples, present = _samples(progression, space, shown)
    figures = [("consistency", figure_picture(consistency_figure(progression)))]
    has_target = bool(relative_distances(progression))
    if has_target:
        figures.append(("distance to the target", figure_picture(distance_figure(progression))))
    losses = {
        f"stage {stage.number}": stage.handed_on.losses
        for stage in stages
        if stage.handed_on is not None and stage.handed_on.losses
    }
    known = [k for k in range(space.num_classes) if k in present]
    return {
        "space": space,
        "stages": stages,
        "images": len(stages[-1].translated.files),
        "stopped": progression.stopped,
        "tiles": _tiles(progression),
        "rows": _rows(progression),
        "has_oracle": stages[0].measures.oracle is not None,
        "has_target": has_target,
        "figures": figures,
        "loss_figure": figure_picture(loss_figure(losses)) if losses else "",
        "samples": samples,
        "legend": [
            *((space.names[k], in_hex(space.colours[k])) for k in known),
            ("ignore (no label)", in_hex(IGNORE_COLOUR)),
        ],
        "classes": _classes(progression, space),
        "settings": _settings(progression),
        "failures": [(outcome.name, outcome.reason) for outcome in progression.failures],
    }


def _tiles(progression: Progression) -> list[tuple[str, str]]:
    good = progression.good
    if not good:
        return [("0", "stages handed a segmenter on")]
    last, first = good[-1].measures, progression.stages[0].measures
    tiles = [
        (f"{len(good)}", "stages, to a strength of " + f"{good[-1].strength:g}"),
        (
            percent(last.consistency),
            f"consistency of the last set, as its guide sees it; {percent(first.consistency)} of "
            "the first",
        ),
    ]
    if last.oracle is not None and progression.source is not None:
        start = (progression.source.oracle or {})["mean_iou"]
        tiles.append(
            (
                percent(_number(last.oracle["mean_iou"])),
                f"as the oracle sees it; {percent(_number(start))} of the source",
            )
        )
    relative = relative_distances(progression)
    if "logits" in relative:
        place = len(good)
        tiles.append(
            (
                f"{relative['logits'][place]:.0f} %",
                "of the source's distance to the target, by logits",
            )
        )
    return tiles


def _rows(progression: Progression) -> list[dict[str, Any]]:
    relative = relative_distances(progression)

    def row(place: int, name: str, strength: str, images: int, measures: Any) -> dict[str, Any]:
        oracle = measures.oracle or {}
        return {
            "name": name,
            "strength": strength,
            "images": images,
            "guide": _number(measures.guide["mean_iou"]),
            "oracle": _number(oracle.get("mean_iou")),
            "oracle_things": _number(oracle.get("mean_iou_things")),
            "distances": [
                f"{relative[kind][place]:.1f}" if kind in relative else "–"
                for kind in ("logits", "colour")
            ],
            "after": math.nan,
            "losses": "",
            "left_out": False,
        }

    rows = []
    if progression.source is not None:
        images = progression.source.guide["images"]
        rows.append(row(0, "source", "", images, progression.source))
    for place, stage in enumerate(progression.stages, start=1):
        made = row(
            place,
            f"stage {stage.number}",
            f"{stage.strength:g}",
            len(stage.translated.files),
            stage.measures,
        )
        if stage.handed_on is None:
            made["left_out"] = True
        else:
            made["after"] = _number(stage.handed_on.measures["mean_iou"])
            made["losses"] = _ends(stage.handed_on.losses)
        rows.append(made)
    return rows


def _ends(losses: Losses) -> str:
    """Means of the first and of the last tenth."""
    if not losses:
        return ""
    values = [loss for _, loss in losses]
    part = max(1, len(values) // 10)
    return f"{np.mean(values[:part]):.3f} → {np.mean(values[-part:]):.3f}"


def _classes(progression: Progression, space: LabelSpace) -> list[dict[str, Any]]:
    every = [*([progression.source] if progression.source else [])]
    every += [stage.measures for stage in progression.stages]
    seen: list[Mapping[str, Any]] = [one.oracle or one.guide for one in every]
    return [
        {
            "name": name,
            "colour": in_hex(space.colours[k]),
            "iou": [_number(numbers["iou"][name]) for numbers in seen],
        }
        for k, name in enumerate(space.names)
        if any(numbers["iou"][name] is not None for numbers in seen)
    ]


def _samples(
    progression: Progression, space: LabelSpace, shown: int
) -> tuple[list[dict[str, Any]], set[int]]:
    """Strips of some images, as far as all stages have them, and the classes in them."""
    last = progression.stages[-1]
    count = len(last.translated.files)
    places = sorted({int(k) for k in np.linspace(0, count - 1, min(shown, count)).round()})
    samples, present = [], set()
    for place in places:
        files = last.source.files[place]
        label = label_of(files, last.source, space)
        present.update(np.unique(label).tolist())
        pictures = [("source", photo(read_image(files.image)), "")]
        for stage in progression.stages:
            kind = "left-out" if stage.handed_on is None else ""
            image = read_image(stage.layout.image(files.image_place))
            pictures.append((_title(stage), photo(image), kind))
        pictures.append(("label", label_picture(label, space), "label"))
        samples.append({"name": files.name, "pictures": pictures})
    return samples, present


def _title(stage: Stage) -> str:
    return f"stage {stage.number}, {stage.strength:g}"


def _settings(progression: Progression) -> list[tuple[str, str]]:
    """What the manifest says, a line per value."""
    manifest = Manifest.read(progression.places.out)
    if manifest is None:
        return []
    parts = {"models": manifest.models, "versions": manifest.versions}
    return _lines({**manifest.settings, **parts})


def _lines(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines = []
    for name, part in value.items():
        if isinstance(part, Mapping):
            lines += _lines(part, f"{prefix}{name}.")
        else:
            lines.append((prefix + name, str(part)))
    return lines


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
