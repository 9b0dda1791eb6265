"""The report as one HTML page that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from importlib.resources import files
from typing import Any

import numpy as np

from seco.common.files import PathLike
from seco.common.pages import render_page, write_page
from seco.common.pages.pictures import figure_picture
from seco.common.pages.text import in_hex, percent
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.fitting import FitRecord
from seco.evaluation import recognition, repair
from seco.plots import ACTION_COLOURS, loss_figure
from seco.report.content import MEANINGS, Report
from seco.report.gallery import exhibit, legend
from seco.report.summary import ACTIONS, LabelChanges

_REASONS = 200


def write_report(path: PathLike, report: Report) -> None:
    """Write the page atomically.

    Args:
        path: where to; its folder must exist.
        report: what to show.

    Raises:
        OSError, ValueError: the file cannot be written, or an image of the gallery not read.
    """
    write_page(path, render_report(report))


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
    template = (files("seco.report") / "page.html").read_text(encoding="utf-8")
    return render_page(template, _page(report))


def _page(report: Report) -> dict[str, Any]:
    summary = report.summary
    return {
        "title": report.title,
        "report": report,
        "summary": summary,
        "actions": _actions(summary),
        "classes": _classes(summary),
        "steps": _steps(summary),
        "meanings": [(step, MEANINGS[step]) for step in summary.steps if step in MEANINGS],
        "recognition": _recognition(report),
        "repair": _repair(summary),
        "figures": _figures(report),
        "noise": None if report.fit is None else _noise(report.fit, report.tau_ns),
        "legend": legend(report),
        "exhibits": [exhibit(item, summary.space) for item in report.gallery],
        "settings": _settings(report),
        "failures": report.failures[:_REASONS],
        "more_failures": max(0, len(report.failures) - _REASONS),
    }


def _actions(summary: LabelChanges) -> list[dict[str, Any]]:
    regions, pixels = summary.decisions.sum(axis=0).tolist()
    return [
        {
            "name": ACTIONS[action],
            "colour": in_hex(ACTION_COLOURS[action]),
            "regions": int(summary.decisions[action, 0]),
            "share": _ratio(summary.decisions[action, 0], regions),
            "pixels": _ratio(summary.decisions[action, 1], pixels),
        }
        for action in (KEEP, CORRECT, DROP)
    ]


def _classes(summary: LabelChanges) -> list[dict[str, Any]]:
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
                "colour": in_hex(space.colours[k]),
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


def _steps(summary: LabelChanges) -> list[dict[str, Any]]:
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


def _recognition(report: Report) -> list[dict[str, Any]]:
    found = report.summary.connectivities
    if len(found) == 0:
        return []
    measures = [recognition(found, threshold=report.tau_ns, by_area=by) for by in (False, True)]
    names = (
        "AUROC of the loss",
        "AUROC of the noise probability",
        "wrong among all",
        "wrong among those taken for clean",
        "wrong among those taken for noise",
        "taken for noise",
    )
    columns = list(zip(*(astuple(one) for one in measures), strict=True))
    shown = [
        [f"{value:.3f}" if math.isfinite(value) else "–" for value in column]
        for column in columns[:2]
    ]
    shown += [[percent(value) for value in column] for column in columns[2:]]
    return [{"name": name, "values": values} for name, values in zip(names, shown, strict=True)]


def _repair(summary: LabelChanges) -> list[dict[str, Any]]:
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
    losses, classes = fit.losses.numpy(), fit.classes.numpy()
    probability = model.noise_probability(losses, classes)
    return {
        "mixture": model.overall,
        "own_mixtures": len(model.per_class),
        "limited": _limited(fit, tau_ns),
        "regions": len(probability),
        "noisy": int((probability >= tau_ns).sum()),
    }


def _limited(fit: FitRecord, tau_ns: float) -> bool:
    """Whether a class has more regions of large loss than may be taken for noise."""
    model = fit.noise_model
    given = fit.losses.numpy(), fit.classes.numpy()
    free = replace(model, floors={}).noise_probability(*given)
    limited = model.noise_probability(*given)
    return bool(((free >= tau_ns) & (limited < tau_ns)).any())


def _figures(report: Report) -> dict[str, str]:
    if report.fit is None:
        return {}
    mixture = report.fit.noise_model.overall
    differs = bool(report.fit.noise_model.per_class) or _limited(report.fit, report.tau_ns)
    losses = report.fit.losses.numpy()
    figures = {
        "all": loss_figure(losses, mixture, tau_ns=report.tau_ns, differs=differs),
    }
    found = report.summary.connectivities
    if len(found):
        figures["true"] = loss_figure(
            found.losses, mixture, tau_ns=report.tau_ns, noisy=found.noisy, differs=differs
        )
    return {name: figure_picture(figure) for name, figure in figures.items()}


def _settings(report: Report) -> list[dict[str, Any]]:
    """Steps with their settings, those that are not the default first."""
    return [
        {"name": step, "rows": sorted(rows, key=lambda setting: not setting.changed)}
        for step, rows in report.settings.items()
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
