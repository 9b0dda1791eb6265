"""Measure label-guided translation of generated street scenes with the bundled models.

    python examples/measure_sgg.py run FILE.json --split dev --strengths 0.5 --scales 0.1 0.3 1
    python examples/measure_sgg.py table FILE.json
    python examples/measure_sgg.py curve FILE.json FIGURE.png

``run`` translates game scenes to the camera look in every combination of the options and writes
after each one: what is in FILE already is not run again, and FILE names every run with its commit.
Every seed has scenes of its own and noise of its own, so a standard deviation over seeds is over
both. Choose on ``--split dev``, report ``--split test``.

- Consistency: the source label against what an oracle sees in the translation: mean IoU, also of
  the thin and small classes alone, and accuracy. The oracle was trained on labelled camera scenes
  and is used for nothing else.
- Distance to the target: Fréchet distance to 100 other camera scenes, by the oracle's features and
  by colour and texture of patches, as a part of the source images' distance.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.record import provenance

import sgg
from seco.common.confusion import confusion
from seco.demo import STREETS
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS, street_scene
from seco.demo.segmenter import load_segmenter as load_street_segmenter
from sgg.demo.demo import ARMS, consistency_numbers
from sgg.demo.measures import Ruler, oracle_labels
from sgg.demo.models import SIZE, load_diffusion, load_oracle, load_segmenter, street_batch

TARGETS = DEV_SEEDS[-100:]  # camera scenes that say where the target is; never translated
KEYS = (
    "arm", "strength", "scale", "steps", "sampler", "input", "through", "reduction",
    "normalization", "clip", "interval", "seed",
)  # fmt: skip
MEASURES = ("mean_iou", "small_iou", "accuracy", "distance_network", "distance_colour")


def combinations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What to run; the scale and the segmenter's input mean nothing to the unguided arm."""
    found = []
    for seed, strength, steps, sampler, arm in itertools.product(
        range(options.seeds), options.strengths, options.steps, options.samplers, options.arms
    ):
        fixed = {
            "seed": seed, "strength": strength, "steps": steps, "sampler": sampler, "arm": arm,
        }  # fmt: skip
        if arm == "unguided":
            found.append(dict.fromkeys(KEYS) | fixed)
            continue
        for scale, seen, reduction, normalization, clip, interval in itertools.product(
            options.scales,
            options.inputs,
            options.reductions,
            options.normalizations,
            options.clips,
            options.intervals,
        ):
            found.append(
                fixed
                | {
                    "scale": scale,
                    "input": "x_t" if seen == "x_t" else "pred_x0",
                    "through": seen == "through",
                    "reduction": reduction,
                    "normalization": normalization,
                    "clip": clip,
                    "interval": interval,
                }
            )
    return found


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    diffusion, segmenter, oracle = load_diffusion(), load_segmenter(), load_oracle()
    if options.segmenter is not None:
        segmenter = sgg.as_segmenter(load_street_segmenter(options.segmenter), normalization=None)
    seeds = DEV_SEEDS[:100] if options.split == "dev" else TEST_SEEDS
    if options.images * options.seeds > len(seeds):
        raise SystemExit(f"--images: expected at most {len(seeds)} in all")
    target, _ = street_batch([street_scene(s, size=SIZE, domain="camera") for s in TARGETS])

    record: dict[str, Any] = {
        "split": options.split, "images": options.images, "runs": [], "cells": [],
    }  # fmt: skip
    if options.file.exists():
        record = _read(options.file)
        if (record["split"], record["images"]) != (options.split, options.images):
            raise SystemExit(f"{options.file}: is of another split or number of images")
    done = {tuple(cell[key] for key in KEYS) for cell in record["cells"]}
    command = shlex.join(["python", "examples/measure_sgg.py", *sys.argv[1:]])
    record.setdefault("runs", []).append({"command": command, **provenance()})

    # The ruler's unit is the distance of all source scenes, so that it is one for all seeds.
    every = [
        street_batch([
            street_scene(s, size=SIZE, domain="game")
            for s in seeds[k * options.images : (k + 1) * options.images]
        ])
        for k in range(options.seeds)
    ]  # fmt: skip
    ruler = Ruler.between(torch.cat([source for source, _ in every]), target, oracle)

    def measure(images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        network, colour = ruler.measure(images, oracle)
        return consistency_numbers(confusion(oracle_labels(images, oracle), labels, STREETS)) | {
            "distance_network": round(network, 4),
            "distance_colour": round(colour, 4),
        }

    for seed, (source, labels) in enumerate(every):
        own = seeds[seed * options.images : (seed + 1) * options.images]
        camera, _ = street_batch([street_scene(s, size=SIZE, domain="camera") for s in own])
        for arm, images in (("source", source), ("target", camera)):
            cell = dict.fromkeys(KEYS) | {"arm": arm, "seed": seed}
            if tuple(cell[key] for key in KEYS) not in done:
                record["cells"].append(cell | measure(images, labels))

    for cell in combinations(options):
        if tuple(cell[key] for key in KEYS) in done:
            continue
        source, labels = every[cell["seed"]]
        settings = sgg.GuidanceSettings()
        if cell["arm"] != "unguided":
            settings = sgg.GuidanceSettings(
                differentiate_denoiser=cell["through"],
                reduction=cell["reduction"],
                normalization=cell["normalization"],
                clip=cell["clip"],
                interval=cell["interval"],
            )
        started = time.perf_counter()
        try:
            images = sgg.translate(
                source,
                labels,
                diffusion,
                segmenter,
                strength=cell["strength"],
                num_inference_steps=cell["steps"],
                sampler=cell["sampler"],
                guidance=ARMS[cell["arm"]],
                guidance_scale=1.0 if cell["scale"] is None else cell["scale"],
                guidance_input=cell["input"] or "pred_x0",
                settings=settings,
                dtype=torch.bfloat16 if options.bf16 else None,
                generator=torch.Generator().manual_seed(cell["seed"]),
            )
        except FloatingPointError as error:
            print(cell, error, flush=True)
            continue
        seconds = (time.perf_counter() - started) / len(source)
        found = measure(images, labels) | {"seconds_per_image": round(seconds, 3)}
        record["cells"].append(cell | found)
        part = options.file.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1) + "\n")
        os.replace(part, options.file)
        what = " ".join(f"{key}={cell[key]}" for key in KEYS if cell[key] is not None)
        print(what, " ".join(f"{m} {found[m]:.3f}" for m in MEASURES), f"{seconds:.1f} s")


def _read(file: Path) -> dict[str, Any]:
    """A results file; those of before the option have guided every step."""
    record: dict[str, Any] = json.loads(file.read_text())
    for cell in record["cells"]:
        cell.setdefault("interval", None if cell["arm"] in ("source", "target", "unguided") else 1)
    return record


def pooled(record: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, tuple[float, float]]]:
    """Mean and standard deviation over the seeds, for every combination."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in record["cells"]:
        groups.setdefault(tuple(cell[key] for key in KEYS[:-1]), []).append(cell)
    return {
        key: {
            m: (
                float(np.mean([cell[m] for cell in cells])),
                float(np.std([cell[m] for cell in cells], ddof=1)) if len(cells) > 1 else np.nan,
            )
            for m in MEASURES
        }
        for key, cells in groups.items()
    }


def table(options: argparse.Namespace) -> None:
    """Print the means and standard deviations as Markdown."""
    record = _read(options.file)
    columns = [key for key in KEYS[:-1] if len({str(c[key]) for c in record["cells"]}) > 1]
    print("| " + " | ".join([*columns, *MEASURES]) + " |")
    print("|" + "---|" * len(columns) + "---:|" * len(MEASURES))
    for key, found in pooled(record).items():
        named = dict(zip(KEYS[:-1], key, strict=True))
        cells = ["" if named[c] is None else str(named[c]) for c in columns]
        cells += [_percent(*found[m]) for m in MEASURES]
        print("| " + " | ".join(cells) + " |")


def _percent(mean: float, spread: float) -> str:
    return f"{100 * mean:.1f}" + (f" ± {100 * spread:.1f}" if np.isfinite(spread) else "")


def curve(options: argparse.Namespace) -> None:
    """Draw consistency against distance: one line per arm and scale, one point per strength."""
    from sgg.plots import TradeoffPoint, tradeoff_figure, write_figure

    record = _read(options.file)
    lines: dict[tuple[str, float | None], list[tuple[float, TradeoffPoint]]] = {}
    references = {}
    for key, found in pooled(record).items():
        named = dict(zip(KEYS[:-1], key, strict=True))
        arm, strength = named["arm"], named["strength"]
        point = TradeoffPoint(
            found["mean_iou"][0],
            {"features": found["distance_network"][0], "colours": found["distance_colour"][0]},
            spread=found["mean_iou"][1],
            note=f"strength {strength:g}" if arm == "unguided" else "",
        )
        if strength is None:
            references[arm] = replace(point, spread=np.nan)
        else:
            lines.setdefault((arm, named["scale"]), []).append((strength, point))
    colours = dict(zip(ARMS, ("0.35", "tab:blue", "tab:orange", "tab:red"), strict=True))
    scales = sorted({scale for _, scale in lines if scale is not None}, reverse=True)
    curves, styles = {}, {"target": {"marker": "*"}}
    for (arm, scale), points in lines.items():
        name = arm if scale is None else f"{arm}, scale {scale:g}"
        curves[name] = [point for _, point in sorted(points, key=lambda pair: pair[0])]
        marker = "o" if scale is None else "oxs^"[scales.index(scale) % 4]
        styles[name] = {"color": colours[arm], "marker": marker}
    figure = tradeoff_figure(curves, references=references, styles=styles, unit="source = 1")
    write_figure(options.figure, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.set_defaults(do=run)
    one.add_argument("file", type=Path)
    one.add_argument("--split", choices=("dev", "test"), default="dev")
    one.add_argument("--images", type=int, default=32, help="scenes of each seed")
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    one.add_argument("--strengths", type=float, nargs="+", default=(0.3, 0.5, 0.7))
    one.add_argument("--scales", type=float, nargs="+", default=(1.0,))
    one.add_argument("--steps", type=int, nargs="+", default=(20,))
    one.add_argument("--samplers", nargs="+", choices=("ddim", "ddpm"), default=("ddim",))
    one.add_argument(
        "--inputs", nargs="+", choices=("pred_x0", "x_t", "through"), default=("pred_x0",),
        help="what the segmenter sees; through: pred_x0, with the denoiser differentiated",
    )  # fmt: skip
    one.add_argument("--normalizations", nargs="+", choices=("none", "rms"), default=("rms",))
    one.add_argument("--reductions", nargs="+", choices=("sum", "mean"), default=("sum",))
    one.add_argument("--clips", type=float, nargs="+", default=(None,))
    one.add_argument("--intervals", type=int, nargs="+", default=(1,), help="guide every so many")
    one.add_argument("--segmenter", type=Path, help="other weights of the guiding segmenter")
    one.add_argument("--bf16", action="store_true")
    one.add_argument("--threads", type=int, default=1)
    for name, do in (("table", table), ("curve", curve)):
        other = commands.add_parser(name)
        other.set_defaults(do=do)
        other.add_argument("file", type=Path)
        if do is curve:
            other.add_argument("figure", type=Path)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
