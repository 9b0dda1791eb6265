"""The suite about labels: what they are worth, and what a student learns from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

import seco
from evidence.adaptation import SETTINGS, Setting, images_of, student
from evidence.camvid import NETWORKS
from evidence.cells import Cell, before_in_rounds
from evidence.context import Context, settings_of
from evidence.domains import quality, seen
from evidence.labelling import BASE, EDGES, IDEAL, METHODS, Labelled
from evidence.scales import SecoScale
from evidence.streets import scenes_key
from seco.common.numbers import plain

SOURCE_ONLY, UPPER = "source only", "supervised on target"
REFINED = (*METHODS, "PSA + SCC", "PSA + DivideMix", IDEAL, f"{IDEAL} + SCC")
OWN = ("raw", BASE, "SCC without SAM", "DivideMix")
ITERATED = (BASE, "PSA + SCC")
ITERATED_IN = ("UDA", "source-free")
PAPER_ARMS = (*METHODS, "PSA + SCC")
CONFIDENT = ("SCC without SAM", "PSA + SCC")
"""Arms whose correction may count how sure the labels are."""
CONFIDENT_IN = ("source-free", "UDA")
SENSITIVITY = "sensitivity"
RESTS = ("ignored", "kept")


def seco_cells(data: str, scale: SecoScale, seeds: range) -> list[Cell]:
    """All cells, in the order in which they are best run."""
    of = partial(Cell.of, "seco", data)
    found: list[Cell] = []
    for setting in ("source-free", "UDA", "open-set", "black-box", "domain generalisation"):
        plain_arms = [arm for arm in (SOURCE_ONLY, *OWN, UPPER) if _has(SETTINGS[setting], arm)]
        for seed in seeds:
            found += [of(setting, arm, seed) for arm in plain_arms]
            found += [
                of(setting, arm, seed, rest=rest)
                for rest in RESTS
                for arm in (*REFINED, *_by_edges(data, setting))
            ]
    for seed in seeds:
        found += [
            of("source-free", arm, seed, rest="ignored", settings="paper") for arm in PAPER_ARMS
        ]
    for setting in CONFIDENT_IN:
        for seed in seeds:
            found += [
                of(setting, arm, seed, witness="scores", **options)
                for arm in (*CONFIDENT, *_by_edges(data, setting)[1:])
                for options in _rests(arm)
            ]
    for round_ in range(2, scale.rounds + 1):
        for setting in ITERATED_IN:
            for seed in seeds:
                found += [of(setting, arm, seed, round=round_, **_rest(arm)) for arm in ITERATED]
    for name, values in scale.sensitivity.items():
        for value in values:
            found += [of(SENSITIVITY, name, seed, value=value) for seed in seeds]
    return found


def seco_made_with(cell: Cell, context: Context) -> dict[str, Any]:
    """All that decides a cell's numbers."""
    names = ["size", "crop", "target", "source", "held_out", "steps", "batch", "rate"]
    if cell.setting == "black-box":
        names.append("new_steps")
    if context.data != "streets":
        names.append("teacher_steps")
    return {
        **(scenes_key(cell.seed) if context.data == "streets" else {}),
        **context.describe("sam", "street segmenter"),
        **settings_of(context.scale.seco, *names),
        "psa": asdict(_psa(cell)),
        "scc": asdict(_scc(cell, context.scale.seco)),
    }


def run_seco(cell: Cell, context: Context) -> Mapping[str, Any]:
    """Make a cell's labels, train on them, measure both."""
    setting, domains = _setting(cell), context.domains(cell.seed)
    scenes, scale = images_of(setting, domains), context.scale.seco
    numbers: dict[str, Any] = {}
    if cell.arm == SOURCE_ONLY:
        model = domains.segmenter()
    elif cell.arm == UPPER:
        known = domains.labelled()
        model = student(setting, domains, known, known.truth, scale, cell.seed)
    else:
        labels = arm_labels(cell, context)
        numbers["labels"] = quality(labels, scenes.truth, domains.space)
        if scenes.unknown.any():
            named = labels[scenes.unknown] != domains.space.ignore_index
            numbers["unknown things labelled"] = plain(float(named.mean()))
        model = _trained(cell, context, labels)
    found, _ = seen(model, domains.held_out.images, context.device)
    return numbers | {"target": quality(found, domains.held_out.truth, domains.space)}


def arm_labels(cell: Cell, context: Context) -> np.ndarray:
    """The labels that an arm's student learns from."""
    labelled, scc = _labelled(cell, context), _scc(cell, context.scale.seco)
    arm, seed, device = cell.arm, cell.seed, context.device
    if cell.setting == SENSITIVITY:
        arm = "PSA + SCC"
    if arm == "raw":
        return labelled.labels
    if arm == BASE:
        return labelled.base()
    confident = cell.option("witness") is not None
    if arm == "SCC without SAM":
        return labelled.corrected(None, scc, seed, confident=confident)

    setting, domains = _setting(cell), context.domains(seed)

    def warm_up(labels: np.ndarray) -> Any:
        scale = context.scale.seco
        half = (scale.new_steps if cell.setting == "black-box" else scale.steps) // 2
        return student(setting, domains, labelled.scenes, labels, scale, seed, steps=max(half, 1))

    if arm == "DivideMix":
        return labelled.divided(labelled.labels, warm_up, device, seed)
    method = arm.split(" + ")[0]
    keep = cell.option("value") if cell.arm == "keep_fraction" else 0.5
    refined = labelled.refined(method, cell.option("rest", "kept"), _psa(cell), keep)
    if arm.endswith("SCC"):
        return labelled.corrected(refined, scc, seed, confident=confident)
    if arm.endswith("DivideMix"):
        return labelled.divided(refined.labels, warm_up, device, seed)
    return refined.labels


def _labelled(cell: Cell, context: Context) -> Labelled:
    """A setting's images with the labels of the cell's teacher."""
    setting, domains = _setting(cell), context.domains(cell.seed)
    scenes, round_ = images_of(setting, domains), cell.option("round", 1)
    if setting.labels_only and domains.black_box is not None:
        labels, confidence = domains.black_box, None
    else:
        teacher = domains.segmenter()
        if round_ > 1:
            before = before_in_rounds(cell)
            teacher = _trained(before, context)
        labels, sure = seen(teacher, scenes.images, context.device)
        confidence = None if setting.labels_only else sure
    models = context.describe("sam", "street segmenter")
    said: dict[str, Any] = {"confidence": confidence is not None, "round": round_}
    if round_ > 1:
        said |= {"by": before_in_rounds(cell).name, "made with": seco_made_with(cell, context)}
    key = {
        "images": {**domains.key, **models, "which": setting.images},
        "labels": said,
    }
    return Labelled(
        scenes, labels, confidence, key, domains.space, context.segmenter, context.kept,
        domains.features, domains.edges,
    )  # fmt: skip


def _trained(cell: Cell, context: Context, labels: np.ndarray | None = None) -> Any:
    """The student of a cell; kept if a further round needs it."""
    setting, domains, scale = _setting(cell), context.domains(cell.seed), context.scale.seco

    def train() -> Any:
        wanted = arm_labels(cell, context) if labels is None else labels
        return student(setting, domains, images_of(setting, domains), wanted, scale, cell.seed)

    if not _goes_on(cell):
        return train()
    model = domains.segmenter()

    def fill() -> None:
        model.load_state_dict(train().state_dict())

    key = {"cell": cell.name, **seco_made_with(cell, context)}
    return context.kept.weights("student", key, model, fill)


def _goes_on(cell: Cell) -> bool:
    return (
        cell.setting in ITERATED_IN
        and cell.arm in ITERATED
        and cell.option("settings") is None
        and cell.option("witness") is None
        and cell.option("rest", "kept") == "kept"
    )


def _setting(cell: Cell) -> Setting:
    return SETTINGS["source-free" if cell.setting == SENSITIVITY else cell.setting]


def _psa(cell: Cell) -> seco.PSASettings:
    base = seco.PAPER if cell.option("settings") == "paper" else seco.PSASettings()
    if cell.arm == "box_enlargement":
        return replace(base, box_enlargement=cell.option("value"))
    return base


def _scc(cell: Cell, scale: SecoScale) -> seco.SCCSettings:
    base = seco.SCC_PAPER if cell.option("settings") == "paper" else seco.SCCSettings()
    if scale.scc_iterations is not None:
        base = replace(base, iterations=scale.scc_iterations)
    if cell.arm in ("tau_ns", "tau_cr"):
        return replace(base, **{cell.arm: cell.option("value")})
    return base


def _rest(arm: str) -> dict[str, str]:
    return {"rest": "kept"} if arm in REFINED else {}


def _rests(arm: str) -> list[dict[str, str]]:
    refined = arm in REFINED or arm.startswith(EDGES)
    return [{"rest": rest} for rest in RESTS] if refined else [{}]


def _by_edges(data: str, setting: str) -> tuple[str, ...]:
    """The edge maps are of the target images as they are."""
    known = data in NETWORKS and NETWORKS[data].edges and SETTINGS[setting].images == "target"
    return (EDGES, f"{EDGES} + SCC") if known else ()


def _has(setting: Setting, arm: str) -> bool:
    """Without confidences all labels are the base, so that raw would be the same."""
    return not (setting.labels_only and arm == "raw")
