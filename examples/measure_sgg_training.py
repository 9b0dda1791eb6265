"""Measure what translations are worth: a segmenter trained on each, and its target mIoU.

    python examples/measure_sgg_training.py --bf16 --out docs/results/sgg_training.json

Game scenes are translated to the camera look with the bundled models: unguided, with LCG, GSG and
both. The bundled segmenter, which knows the game look, is trained further on each set with the
source labels and measured on other camera scenes; also on the game scenes as they are, and on
the same scenes as the camera sees them, which is what a perfect translation would give. Every set
has as many images and the same steps, mirrorings and jitter. Every seed has scenes and noise of
its own; its training starts from the same weights. Nothing here was chosen on what is reported.

Translations and results are kept (``--work``), so that a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.record import write_record
from measuring.training import train
from tqdm import tqdm
from train_segmenter import augment as source_augmentation

import sgg
from seco.common.confusion import confusion
from seco.common.files import write_bytes
from seco.demo import STREETS
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS, street_scene
from seco.demo.segmenter import StreetSegmenter
from sgg.demo.demo import ARMS, consistency_numbers
from sgg.demo.measures import oracle_labels
from sgg.demo.models import SIZE, load_diffusion, load_oracle, load_segmenter, street_batch

BEFORE, SOURCE, TARGET = "before training", "source only", "camera scenes"
SETS = (BEFORE, SOURCE, *ARMS, TARGET)
CHUNK = 16  # scenes of one kept file
MEASURES = ("mean_iou", "small_iou", "accuracy")


def kind_of(arm: str, args: argparse.Namespace) -> str:
    """How an arm is translated, for names of kept files; default sampler and scale unsaid."""
    kind = f"{args.strength} {args.ddim_steps}" + " bf16" * args.bf16
    if arm in ARMS and args.sampler != "ddim":
        kind += f" {args.sampler}"
    if arm in ARMS and arm != "unguided" and args.guidance_scale != 1:
        kind += f" scale {args.guidance_scale}"
    return kind


def translated(
    arm: str, seeds: range, args: argparse.Namespace, models: tuple[Any, Any]
) -> torch.Tensor:
    """The translations (N, 3, H, W) uint8 of game scenes; every arm starts from the same noise."""
    parts = []
    for first in tqdm(seeds[::CHUNK], desc=f"{arm}, scenes from {seeds[0]}", leave=False):
        own = range(first, min(first + CHUNK, seeds.stop))
        kept = args.work / f"{arm} {kind_of(arm, args)} {first} {len(own)}.npy"
        if not kept.exists():
            source, labels = street_batch([
                street_scene(s, size=SIZE, domain="game") for s in own
            ])  # fmt: skip
            images = sgg.translate(
                source,
                labels,
                *models,
                strength=args.strength,
                num_inference_steps=args.ddim_steps,
                sampler=args.sampler,
                guidance=ARMS[arm],
                guidance_scale=args.guidance_scale,
                dtype=torch.bfloat16 if args.bf16 else None,
                generator=torch.Generator().manual_seed(first),
            )
            with kept.with_suffix(".partial").open("wb") as file:
                np.save(file, images.numpy())
            kept.with_suffix(".partial").replace(kept)
        parts.append(torch.from_numpy(np.load(kept)))
    return torch.cat(parts)


def source_segmenter() -> StreetSegmenter:
    """The bundled one, which is trained further; new at every call."""
    model = load_segmenter().model
    if not isinstance(model, StreetSegmenter):
        raise TypeError(f"load_segmenter: expected a StreetSegmenter in it, got {type(model)}")
    return model


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, in percent, of the measures and the classes."""
    flat = [{name: row[name] for name in MEASURES} | row["iou"] for row in rows]
    return {
        name: [
            round(100 * float(np.mean([row[name] for row in flat])), 2),
            round(100 * float(np.std([row[name] for row in flat], ddof=1)), 2),
        ]
        for name in flat[0]
        if all(row[name] is not None for row in flat)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=64, help="scenes of a seed (DEV_SEEDS)")
    parser.add_argument("--held-out", type=int, default=150, help="scenes to measure")
    parser.add_argument(
        "--split", choices=("dev", "test"), default="test",
        help="of the scenes to measure: choose on the last of DEV_SEEDS, report on TEST_SEEDS",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--sampler", choices=("ddim", "ddpm"), default="ddim")
    parser.add_argument("--ddim-steps", type=int, default=10, help="of either sampler")
    parser.add_argument("--guidance-scale", type=float, default=1.0)
    parser.add_argument("--bf16", action="store_true", help="translate in bfloat16")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument(
        "--shared", action="store_true", help="every seed trains on the scenes of all seeds"
    )
    parser.add_argument(
        "--source-augmentation",
        action="store_true",
        help="that of the bundled segmenter's own training, which is strong",
    )
    parser.add_argument("--work", type=Path, default=Path("sgg-training-work"), help="kept files")
    parser.add_argument("--out", type=Path, help="write JSON here")
    args = parser.parse_args()
    measured, free = TEST_SEEDS[: args.held_out], len(DEV_SEEDS)
    if args.split == "dev":
        measured, free = DEV_SEEDS[-args.held_out :], free - args.held_out
    if args.seeds < 2 or args.images * args.seeds > free:
        raise SystemExit(f"expected 2 seeds or more, of {free} scenes together")
    torch.set_num_threads(1)
    started = time.time()
    args.work.mkdir(parents=True, exist_ok=True)

    models, oracle = (load_diffusion(), load_segmenter()), load_oracle()
    held_out, truth = street_batch([
        street_scene(s, size=SIZE, domain="camera") for s in measured
    ])  # fmt: skip
    training = f"{args.images} {args.steps} {args.batch} {args.rate} {args.held_out}"
    training += " shared" * args.shared + " augmented" * args.source_augmentation
    training += " dev" * (args.split == "dev")
    arms = tuple(args.arms)
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    true_labels: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms if arm != BEFORE}
    for seed in range(args.seeds):
        own = DEV_SEEDS[seed * args.images : (seed + 1) * args.images]
        if args.shared:
            own = DEV_SEEDS[: args.seeds * args.images]
        sets = {
            domain: street_batch([street_scene(s, size=SIZE, domain=domain) for s in own])
            for domain in ("game", "camera")
        }
        labels = sets["game"][1]
        for arm in arms:
            model = source_segmenter()
            if arm != BEFORE:
                if arm in ARMS:
                    images = translated(arm, own, args, models)
                else:
                    images = sets["game" if arm == SOURCE else "camera"][0]
                seen = oracle_labels(images, oracle)
                true_labels[arm].append(consistency_numbers(confusion(seen, labels, STREETS)))
            kept = args.work / f"{arm} {kind_of(arm, args)} {training} {seed}.json"
            if not kept.exists():
                if arm != BEFORE:
                    train(
                        model,
                        images.permute(0, 2, 3, 1).numpy(),
                        labels.numpy(),
                        crop=SIZE,
                        steps=args.steps,
                        batch=args.batch,
                        rate=args.rate,
                        seed=seed,
                        augment=source_augmentation if args.source_augmentation else None,
                    )
                found = confusion(oracle_labels(held_out, model), truth, STREETS)
                write_bytes(kept, json.dumps(consistency_numbers(found)).encode())
            rows[arm].append(json.loads(kept.read_bytes()))
            print(arm, seed, {name: rows[arm][-1][name] for name in MEASURES}, flush=True)

    results = {
        arm: {"target": summary(rows[arm])}
        | ({"labels and oracle": summary(true_labels[arm])} if arm in true_labels else {})
        | {"seeds": rows[arm]}
        for arm in arms
    }
    paired = {
        f"{one} - {other}": {
            name: [round(100 * (a[name] - b[name]), 2) for a, b in zip(*pair, strict=True)]
            for name in MEASURES
        }
        for one, other in (
            ("unguided", SOURCE), ("LCG", "unguided"), ("GSG", "unguided"), ("SGG", "unguided"),
            ("SGG", "LCG"), ("SGG", "GSG"), ("SGG", SOURCE), (TARGET, "SGG"),
        )
        if {one, other} <= set(arms)
        for pair in [(rows[one], rows[other])]
    }  # fmt: skip
    print("| % | " + " | ".join(arms) + " |\n|:---|" + "---:|" * len(arms))
    for name in results[arms[0]]["target"]:
        cells = ["{:.1f} ± {:.1f}".format(*results[arm]["target"][name]) for arm in arms]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for pair_name, found in paired.items():
        print(pair_name, found)
    if args.out:
        options = {k: v for k, v in vars(args).items() if k not in ("work", "out")}
        said = {"options": options, "paired": paired, "results": results}
        write_record(
            args.out,
            "examples/measure_sgg_training.py",
            started=started,
            hidden=args.work,
            **said,
        )


if __name__ == "__main__":
    main()
