"""Measure what labels are worth: a segmenter trained on each set of labels, and its target mIoU.

    python examples/measure_training.py --out docs/results/training_streets.json

Source-free: the bundled segmenter, which knows the game look, labels camera scenes; it is then
trained on each refinement of these labels alone, and measured on other camera scenes. Every
result is kept, so that a killed run goes on, and seeds may run side by side (``--seeds 0`` ...).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring.record import write_record
from measuring.samples import EncodeOnce, street_sample
from measuring.training import train
from tqdm import tqdm

import seco
from seco.common.confusion import Confusion, confusion
from seco.common.files import write_bytes
from seco.connectivities import Connectivities
from seco.correction.samples import find_connectivities
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS
from seco.demo.segmenter import load_segmenter, predict
from seco.sam.proposal_settings import proposal_settings_of

SIZE, CROP = (256, 256), (192, 192)
METHODS = {
    "prompts only": ("prompts", "ignore"),
    "alignment": ("alignment", "ignore"),
    "PSA": ("psa", "ignore"),
    "PSA, rest kept": ("psa", "keep"),
}
CORRECTED = {"PSA": "PSA + SCC", "PSA, rest kept": "PSA + SCC, rest kept"}


def label_sets(seeds: Sequence[int], folder: Path) -> dict[str, np.ndarray]:
    """Images, truth and every set of labels, each (N, H, W[, 3]) uint8; kept on disk."""
    path = folder / f"labels-{seeds[0]}-{len(seeds)}.npz"
    if path.exists():
        with np.load(path) as file:
            return dict(file)
    sam, segmenter = seco.load_sam("tiny"), load_segmenter()
    base = dataclasses.replace(seco.PSASettings(), proposals=proposal_settings_of(sam))
    rows: dict[str, list[np.ndarray]] = {}
    samples: dict[str, list[tuple[np.ndarray, Connectivities]]] = {}
    for seed in tqdm(seeds, desc="labels"):
        item, remembered = street_sample(seed, SIZE, segmenter), EncodeOnce(sam)
        proposals = seco.propose_regions(item.image, remembered, settings=base.proposals)
        wide = torch.from_numpy(item.label.astype(np.int64))
        chosen = seco.select_confident(wide, torch.from_numpy(item.confidence)).numpy()
        found = {"images": item.image, "truth": item.truth, "raw": item.label, "base": chosen}
        for name, (method, outside) in METHODS.items():
            refinement = seco.refine_with_details(
                item.image,
                item.label,
                remembered,
                label_space=STREETS,
                confidence=item.confidence,
                regions=proposals,
                outside=outside,
                settings=dataclasses.replace(base, method=method),
            )
            found[name] = refinement.labels[0].numpy()
            if name in CORRECTED:
                known = refinement.connectivities[0]
                regions = find_connectivities(
                    refinement.labels[0], STREETS.ignore_index, seco.SCCSettings(), known=known
                )
                samples.setdefault(name, []).append((item.image, regions))
        for name, value in found.items():
            rows.setdefault(name, []).append(value.astype(np.uint8))
    for name, new in CORRECTED.items():
        corrector = seco.ConnectivityCorrector(STREETS, sam).fit(samples[name])
        rows[new] = [
            corrector.correct(image, label, connectivities=regions)
            for (image, regions), label in zip(samples[name], rows[name], strict=True)
        ]
    arrays = {name: np.stack(values) for name, values in rows.items()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path.with_suffix(".partial.npz"), **arrays)
    path.with_suffix(".partial.npz").replace(path)
    return arrays


def measure(model: torch.nn.Module, seeds: Sequence[int]) -> Confusion:
    """On camera scenes."""
    counts = []
    for seed in seeds:
        scene = street_scene(seed, size=SIZE, domain="camera")
        label, _ = predict(model, scene.image[None])
        counts.append(confusion(label[0], scene.label, STREETS).counts)
    return Confusion(np.sum(counts, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=80, help="training scenes (DEV_SEEDS)")
    parser.add_argument("--held-out", type=int, default=60, help="scenes to measure (TEST_SEEDS)")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("training-work"), help="kept results")
    parser.add_argument("--out", type=Path, help="write JSON here")
    args = parser.parse_args()

    started = time.time()
    arrays = label_sets(DEV_SEEDS[: args.images], args.work)
    held_out = TEST_SEEDS[: args.held_out]
    arms = ["before training", "prompts only", "raw", "base", "alignment", "PSA", "PSA + SCC"]
    arms += ["PSA, rest kept", "PSA + SCC, rest kept"]
    results: dict[str, dict[str, object]] = {}
    for arm in [*arms, "truth"]:
        rows = []
        for seed in args.seeds:
            kept = args.work / f"{arm} {seed} {args.images} {args.steps} {args.rate}.json"
            if not kept.exists():
                if arm == "before training":
                    model: torch.nn.Module = load_segmenter()
                else:
                    model = train(
                        load_segmenter(),
                        arrays["images"],
                        arrays[arm],
                        crop=CROP,
                        steps=args.steps,
                        batch=args.batch,
                        rate=args.rate,
                        seed=seed,
                    )
                found = measure(model, held_out)
                iou = dict(zip(STREETS.names, (100 * found.iou).round(2).tolist(), strict=True))
                row = {"mIoU": 100 * found.mean_iou, "accuracy": 100 * found.accuracy, "IoU": iou}
                write_bytes(kept, json.dumps(row).encode())
                print(arm, seed, round(row["mIoU"], 2), flush=True)
            rows.append(json.loads(kept.read_bytes()))
        values = [row["mIoU"] for row in rows]
        results[arm] = {
            "mIoU": round(float(np.mean(values)), 2),
            "std": round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else 0.0,
            "accuracy": round(float(np.mean([row["accuracy"] for row in rows])), 2),
            "seeds": rows,
        }
        if arm in arrays:
            pairs = zip(arrays[arm], arrays["truth"], strict=True)
            pooled = Confusion(np.sum([confusion(a, b, STREETS).counts for a, b in pairs], axis=0))
            results[arm]["labels"] = {
                "mIoU": round(100 * pooled.mean_iou, 2),
                "accuracy": round(100 * pooled.accuracy, 2),
                "coverage": round(100 * pooled.coverage, 2),
            }
    for arm, row in results.items():
        print(f"{arm:18} {row['mIoU']:.2f} ± {row['std']:.2f}   labels {row.get('labels', '')}")
    if args.out:
        write_record(args.out, "examples/measure_training.py", started=started, results=results)


if __name__ == "__main__":
    main()
