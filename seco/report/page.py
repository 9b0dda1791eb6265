"""The report as one HTML page that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from seco.common.arrays import Array
from seco.common.files import PathLike, write_bytes
from seco.common.labels import Colour, LabelSpace
from seco.common.plots import IGNORE_COLOUR
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.fitting import FitRecord
from seco.evaluation import confusion, recognition, repair
from seco.report.content import Report
from seco.report.figures import figure_png, loss_figure
from seco.report.pictures import (
    ACTION_COLOURS,
    decision_picture,
    figure_picture,
    label_picture,
    photo,
)
from seco.report.summary import ACTIONS, ImageSteps, Summary

_SELECTION = "selection"
_MEANINGS = {
    "raw": "as they were given",
    _SELECTION: "the most confident pixels of each class alone",
    "PSA": "gathered into whole regions with the Segment Anything Model",
    "SCC": "regions whose class is probably wrong corrected or dropped",
}
_REASONS = 200


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery: what it is, its ``data:`` address and a word on it."""

    title: str
    address: str
    note: str = ""


@dataclass(frozen=True)
class Exhibit:
    """One image of the gallery, with what changed in words."""

    name: str
    changed: float
    changes: Sequence[str]
    pictures: Sequence[Picture]


def write_report(path: PathLike, report: Report) -> None:
    """Write the page atomically.

    Args:
        path: where to; its folder must exist.
        report: what to show.

    Raises:
        OSError, ValueError: the file cannot be written, or an image of the gallery not read.
    """
    # A file name need not be Unicode; what cannot be written as such becomes a question mark.
    write_bytes(path, render_report(report).encode("utf-8", errors="replace"))


def render_report(report: Report) -> str:
    """The page as text; the same report gives the same page.

    Args:
        report: what to show.

    Example:
        >>> from seco.common.labels import LabelSpace
        >>> from seco.report import ImageSteps, summarise
        >>> image, label = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.uint8)
        >>> steps = ImageSteps("<b>1</b>", {"raw": label, "PSA": label}, lambda: image)
        >>> summary = summarise(steps, LabelSpace(names=("road",)))
        >>> page = render_report(Report("Streets", summary, [steps]))
        >>> "<h1>Streets</h1>" in page, "<b>1</b>" in page, "&lt;b&gt;1&lt;/b&gt;" in page
        (True, False, True)
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "count": _count}
    template = (files("seco.report") / "page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(_page(report))


def percent(share: float, digits: int = 1) -> str:
    """A share as percent; a dash where there is none.

    Example:
        >>> percent(0.123), percent(float("nan"))
        ('12.3 %', '–')
    """
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else "–"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed; nothing where there is none.

    Example:
        >>> points(0.0123), points(-0.5), points(float("nan"))
        ('+1.2', '−50.0', '')
    """
    if not math.isfinite(difference):
        return ""
    return f"{100 * difference:+.1f}".replace("-", "−")


def _count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 image``, ``1,200 images``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _page(report: Report) -> dict[str, Any]:
    summary = report.summary
    return {
        "report": report,
        "summary": summary,
        "actions": _actions(summary),
        "classes": _classes(summary),
        "steps": _steps(summary),
        "meanings": _meanings(summary),
        "recognition": _recognition(report),
        "repair": _repair(summary),
        "figures": _figures(report),
        "noise": None if report.fit is None else _noise(report.fit, report.tau_ns),
        "legend": _legend(report),
        "exhibits": [_exhibit(item, summary.space) for item in report.gallery],
        "settings": _settings(report),
        "failures": report.failures[:_REASONS],
        "more_failures": max(0, len(report.failures) - _REASONS),
    }


def _hex(colour: Colour) -> str:
    return f"#{bytes(colour).hex()}"


def _actions(summary: Summary) -> list[dict[str, Any]]:
    regions, pixels = summary.decisions.sum(axis=0).tolist()
    return [
        {
            "name": ACTIONS[action],
            "colour": _hex(ACTION_COLOURS[action]),
            "regions": int(summary.decisions[action, 0]),
            "share": _ratio(summary.decisions[action, 0], regions),
            "pixels": _ratio(summary.decisions[action, 1], pixels),
        }
        for action in (KEEP, CORRECT, DROP)
    ]


def _classes(summary: Summary) -> list[dict[str, Any]]:
    space, total = summary.space, summary.pixels
    names = list(summary.quality)
    iou = [summary.quality[name].confusion.iou for name in (names[:1] + names[-1:])]
    counts, before, after = summary.transitions, summary.before, summary.after
    widest = max(int(before.max()), int(after.max()), 1)
    rows = []
    for k, name in enumerate(space.names):
        kept, ignored = counts[k, k], counts[k, -1]
        rows.append(
            {
                "name": name,
                "colour": _hex(space.colours[k]),
                "before": _ratio(before[k], total),
                "after": _ratio(after[k], total),
                "bars": (before[k] / widest, after[k] / widest),
                "kept": _ratio(kept, before[k]),
                "relabelled": _ratio(before[k] - kept - ignored, before[k]),
                "dropped": _ratio(ignored, before[k]),
                "iou": [float(values[k]) for values in iou],
            }
        )
    return rows


def _steps(summary: Summary) -> list[dict[str, Any]]:
    """One row per step: each measure with its difference to the raw labels; the best is marked."""
    if not summary.quality:
        return []
    measured = {
        name: (
            quality.confusion.mean_iou,
            quality.confusion.labelled.mean_iou,
            quality.confusion.accuracy,
            quality.confusion.coverage,
            quality.boundary.mean_iou,
        )
        for name, quality in summary.quality.items()
    }
    table = np.array(list(measured.values()))
    best = [float(np.nanmax(column)) if np.isfinite(column).any() else 0.0 for column in table.T]
    return [
        {
            "name": name,
            "cells": [
                {"value": value, "change": value - first, "best": value == top}
                for value, first, top in zip(row, table[0].tolist(), best, strict=True)
            ],
        }
        for name, row in zip(measured, table.tolist(), strict=True)
    ]


def _meanings(summary: Summary) -> list[tuple[str, str]]:
    """What the steps are, as far as they are the usual ones."""
    return [(step, _MEANINGS[step]) for step in summary.steps if step in _MEANINGS]


def _recognition(report: Report) -> list[dict[str, Any]]:
    found = report.summary.connectivities
    if len(found) == 0:
        return []
    measures = [recognition(found, threshold=report.tau_ns, by_area=by) for by in (False, True)]
    names = (
        "AUROC of noise probability",
        "wrong among all",
        "wrong among those taken for clean",
        "wrong among those taken for noise",
        "taken for noise",
    )
    columns = list(zip(*(astuple(one) for one in measures), strict=True))
    shown = [[f"{value:.3f}" if math.isfinite(value) else "–" for value in columns[0]]]
    shown += [[percent(value) for value in column] for column in columns[1:]]
    return [{"name": name, "values": values} for name, values in zip(names, shown, strict=True)]


def _repair(summary: Summary) -> list[dict[str, Any]]:
    found = summary.connectivities
    if len(found) == 0:
        return []
    columns = list(zip(*(astuple(repair(found, by_area=by)) for by in (False, True)), strict=True))
    fates = (
        ("given the right class", True),
        ("given another wrong class", False),
        ("dropped", None),
        ("kept", False),
        ("kept", True),
        ("given a wrong class", False),
        ("dropped", None),
    )
    rows = [
        {"name": name, "good": good, "values": values}
        for (name, good), values in zip(fates, columns, strict=True)
    ]
    noisy = int(found.noisy.sum())
    return [
        {"title": "Of the wrong regions", "regions": noisy, "rows": rows[:4]},
        {"title": "Of the right regions", "regions": len(found) - noisy, "rows": rows[4:]},
    ]


def _noise(fit: FitRecord, tau_ns: float) -> dict[str, Any]:
    """What the text beside the histogram says."""
    model = fit.noise_model
    probability = model.noise_probability(fit.losses.numpy(), fit.classes.numpy())
    return {
        "mixture": model.overall,
        "own_mixtures": len(model.per_class),
        "limited": bool(model.floors),
        "regions": len(probability),
        "noisy": int((probability >= tau_ns).sum()),
    }


def _figures(report: Report) -> dict[str, str]:
    if report.fit is None:
        return {}
    mixture = report.fit.noise_model.overall
    figures = {
        "all": loss_figure(report.fit.losses.numpy(), mixture, tau_ns=report.tau_ns),
    }
    found = report.summary.connectivities
    if len(found):
        figures["true"] = loss_figure(
            found.losses, mixture, tau_ns=report.tau_ns, noisy=found.noisy
        )
    return {name: figure_picture(figure_png(figure)) for name, figure in figures.items()}


def _legend(report: Report) -> list[tuple[str, str]]:
    """Name and colour of the classes in the gallery, ignore last."""
    space, found = report.summary.space, set()
    for item in report.gallery:
        for label in (*item.labels.values(), *([] if item.truth is None else [item.truth])):
            found.update(np.unique(label).tolist())
    entries = [(name, _hex(space.colours[k])) for k, name in enumerate(space.names) if k in found]
    return [*entries, ("ignore (no label)", _hex(IGNORE_COLOUR))]


def _exhibit(item: ImageSteps, space: LabelSpace) -> Exhibit:
    image = item.image()
    pictures = [Picture("image", photo(image))]
    # The selection is the raw label with holes: in the table of steps, not here.
    shown = {step: label for step, label in item.labels.items() if step != _SELECTION}
    for position, (step, label) in enumerate(shown.items()):
        if item.judgement is not None and position == len(shown) - 1:
            note = ", ".join(
                f"{count:,} {name}"
                for count, name in zip(item.regions or (), ACTIONS, strict=False)
                if count
            )
            pictures.append(Picture("decisions", decision_picture(image, item.judgement()), note))
        note = "" if item.truth is None else _quality(label, item.truth, space)
        pictures.append(Picture(step, label_picture(label, space), note))
    if item.truth is not None:
        pictures.append(Picture("truth", label_picture(_known(item.truth, space), space)))
    return Exhibit(item.name, item.changed, _changes(item.before, item.after, space), pictures)


def _quality(label: Array, truth: Array, space: LabelSpace) -> str:
    return f"mIoU {percent(confusion(label, truth, space).mean_iou, 0)}"


def _known(truth: Array, space: LabelSpace) -> Array:
    """Truth with ignore where it holds no class: raw label files hold more ids than are judged."""
    inside = (truth >= 0) & (truth < space.num_classes)
    known: Array = np.where(inside, truth.astype(np.int64), space.ignore_index)
    return known


def _changes(before: Array, after: Array, space: LabelSpace, most: int = 4) -> list[str]:
    """The largest changes in words, by pixels."""
    changed = before != after
    pairs, counts = np.unique(
        np.stack([before[changed], after[changed]]).astype(np.int64), axis=1, return_counts=True
    )
    names = dict(enumerate(space.names))
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        f"{names.get(old, 'ignore')} → {names.get(new, 'ignore')} {percent(share)}"
        for (old, new), share in zip(
            pairs.T[order].tolist(), (counts[order] / changed.size).tolist(), strict=True
        )
    ]


def _settings(report: Report) -> list[dict[str, Any]]:
    """Steps with their settings, those that are not the default first."""
    return [
        {"name": step, "rows": sorted(rows, key=lambda setting: not setting.changed)}
        for step, rows in report.settings.items()
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
