"""The suite about translation: what translated sets are worth, alone and with refined labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from measuring.training import train

import seco
from evidence.adaptation import SETTINGS, student
from evidence.cells import Cell
from evidence.context import Context, settings_of
from evidence.domains import Domains, ImageSet, quality, seen
from evidence.labelling import BASE, Labelled
from evidence.plain_source import PLAIN
from evidence.scales import SggScale
from evidence.translations import (
    PTL,
    adaptation_scale,
    key_of,
    progressive,
    translated,
    translating,
)
from seco.common.numbers import plain
from sgg.demo.demo import ARMS
from sgg.demo.measures import Ruler, oracle_labels

SOURCE_ONLY, SOURCE_TRAINED, UPPER = "source only", "source images", "target images"
TRANSLATION, GUIDANCE_SCALE, STAGES, TOGETHER = (
    "translation", "guidance scale", "number of stages", "both papers",
)  # fmt: skip
SOURCES = (SOURCE_ONLY, SOURCE_TRAINED, "unguided", "SGG", PTL)
LABELS = ("no self-training", BASE, "raw", "PSA + SCC")


def sgg_cells(data: str, scale: SggScale, seeds: range) -> list[Cell]:
    """All cells, in the order in which they are best run."""
    of = partial(Cell.of, "sgg", data)
    middle = scale.strengths[len(scale.strengths) // 2]
    found: list[Cell] = []
    for seed in seeds:
        found += [of(TRANSLATION, arm, seed) for arm in (SOURCE_ONLY, SOURCE_TRAINED, UPPER)]
        found += [
            of(TRANSLATION, arm, seed, strength=strength)
            for strength in scale.strengths
            for arm in (*ARMS, PTL)
        ]
    for seed in seeds:
        found += [
            of(TOGETHER, source, seed, labels=labels)
            for source in SOURCES
            if source != "unguided" or data == PLAIN  # there alone it teaches as much as SGG does
            for labels in LABELS
        ]
        found.append(of(TOGETHER, UPPER, seed))
    for value in scale.guidance_scales:
        found += [of(GUIDANCE_SCALE, "SGG", seed, strength=middle, scale=value) for seed in seeds]
    for stages in scale.stages:
        said = " ".join(f"{strength:g}" for strength in stages)
        found += [of(STAGES, PTL, seed, stages=said) for seed in seeds]
    return found


def sgg_made_with(cell: Cell, context: Context) -> dict[str, Any]:
    """All that decides a cell's numbers."""
    scale = context.scale.sgg
    names = ["held_out", "ruler", "steps", "batch", "rate", "guidance_scale"]
    if cell.arm == PTL:
        names += ["strengths", "stage_steps", "stage_rate"]
    said = {**key_of(context, cell.seed), **context.describe("oracle")}
    if cell.setting == TOGETHER:
        names += ["target", "adapt_steps", "adapt_rate", "strengths"]
        said |= {
            **context.describe("sam"),
            "psa": asdict(seco.PSASettings()),
            "scc": asdict(seco.SCCSettings()),
        }
    return {**said, **settings_of(scale, *names)}


def run_sgg(cell: Cell, context: Context) -> Mapping[str, Any]:
    """Translate, train on it, measure both."""
    if cell.setting == TOGETHER:
        return _run_together(cell, context)
    domains = translating(context, cell.seed).domains
    if cell.arm == SOURCE_ONLY:
        model, numbers = domains.segmenter(), {}
    else:
        scenes, numbers = _training_set(cell, context)
        model = _student(scenes.images, scenes.truth, cell.seed, context)
        numbers |= _set_quality(scenes, cell.seed, context)
    found, _ = seen(model, domains.held_out.images, context.device)
    return numbers | {"target": quality(found, domains.held_out.truth, domains.space)}


def _training_set(cell: Cell, context: Context) -> tuple[ImageSet, dict[str, Any]]:
    """What an arm's segmenter learns from, and what else was found out on the way."""
    made = translating(context, cell.seed)
    domains, scale = made.domains, context.scale.sgg
    if cell.arm in (SOURCE_ONLY, SOURCE_TRAINED):
        return domains.source, {}
    if cell.arm == UPPER:
        return made.perfect, {}
    if cell.arm != PTL:
        guidance = cell.option("scale", scale.guidance_scale)
        images = translated(context, cell.seed, cell.arm, cell.option("strength"), guidance)
        return replace(domains.source, images=images), {}
    strengths, stage = scale.strengths, len(scale.strengths)
    if cell.setting == STAGES:
        strengths = tuple(float(word) for word in cell.option("stages").split())
        stage = len(strengths)
    elif cell.setting == TRANSLATION:
        stage = strengths.index(cell.option("strength")) + 1
    images, handed = progressive(context, cell.seed, strengths, stage)
    found, _ = seen(handed, domains.held_out.images, context.device)
    on_target = quality(found, domains.held_out.truth, domains.space)
    return replace(domains.source, images=images), {"stage's own segmenter": on_target}


def _student(
    images: np.ndarray, labels: np.ndarray, seed: int, context: Context
) -> torch.nn.Module:
    """The source segmenter, trained further on a labelled set."""
    scale = context.scale.sgg
    return train(
        translating(context, seed).domains.segmenter(),
        images,
        labels,
        crop=scale.size,
        steps=scale.steps,
        batch=scale.batch,
        rate=scale.rate,
        seed=seed,
    )


def _set_quality(scenes: ImageSet, seed: int, context: Context) -> dict[str, Any]:
    """Whether labels hold in the oracle's eyes, and how far the target is (source = 1)."""
    made = translating(context, seed)
    images = _tensor(scenes.images)
    found = oracle_labels(images, made.oracle).numpy()
    network, colour = _ruler(context, seed).measure(images, made.oracle)
    return {
        "labels": quality(found, scenes.truth, made.domains.space),
        "distance": {"features": plain(network, 4), "colours": plain(colour, 4)},
    }


@cache
def _ruler(context: Context, seed: int) -> Ruler:
    made = translating(context, seed)
    sets = (made.domains.source.images, made.ruler.images)
    source, target = map(_tensor, sets)
    return Ruler.between(source, target, made.oracle)


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _run_together(cell: Cell, context: Context) -> Mapping[str, Any]:
    """Self-training on target images beside source or translated ones."""
    scale, sizes = context.scale.sgg, adaptation_scale(context.scale.sgg)
    domains = translating(context, cell.seed).domains
    numbers: dict[str, Any] = {}
    if cell.arm == UPPER:
        known = domains.labelled()
        model = student(SETTINGS["UDA"], domains, known, known.truth, sizes, cell.seed)
    else:
        source = _training_set(
            replace(cell, options=(("strength", scale.strengths[-1]),)), context
        )[0]
        domains = _taught(cell, source, context)
        labels = _target_labels(cell, domains, context)
        if labels is None:
            model = domains.segmenter()
        else:
            numbers["labels"] = quality(labels, domains.target.truth, domains.space)
            model = student(SETTINGS["UDA"], domains, domains.target, labels, sizes, cell.seed)
    found, _ = seen(model, domains.held_out.images, context.device)
    return numbers | {"target": quality(found, domains.held_out.truth, domains.space)}


def _taught(cell: Cell, source: ImageSet, context: Context) -> Domains:
    """Domains whose source is a set, and whose model has learnt from it."""
    domains = translating(context, cell.seed).domains
    if cell.arm == SOURCE_ONLY:
        return domains  # and their model, as it came
    key = {**sgg_made_with(cell, context), "student of": cell.arm, "seed": cell.seed}

    def teacher() -> torch.nn.Module:
        model = domains.segmenter()

        def fill() -> None:
            trained = _student(source.images, source.truth, cell.seed, context)
            model.load_state_dict(trained.state_dict())

        return context.kept.weights("teacher", key, model, fill)

    return replace(
        domains, key={**domains.key, "source set": cell.arm}, source=source, segmenter=teacher
    )


def _target_labels(cell: Cell, domains: Domains, context: Context) -> np.ndarray | None:
    """Labels of the target images by the domains' model, as they are or refined."""
    how = cell.option("labels")
    if how == "no self-training":
        return None
    labels, confidence = seen(domains.segmenter(), domains.target.images, context.device)
    models = {**context.describe("sam"), "size": context.scale.sgg.size}
    key = {
        "images": {**translating(context, cell.seed).domains.key, **models},
        "labels": {"by": cell.arm, **sgg_made_with(cell, context)},
    }
    labelled = Labelled(
        domains.target, labels, confidence, key, domains.space, context.segmenter, context.kept,
        domains.features,
    )  # fmt: skip
    if how == "raw":
        return labels
    if how == BASE:
        return labelled.base()
    refined = labelled.refined("PSA", "kept", seco.PSASettings(), 0.5)
    return labelled.corrected(refined, seco.SCCSettings(), cell.seed)
