"""Regions/s of propose_regions against SamAutomaticMaskGenerator, and what each finds.

    python tests/benchmarks/bench_regions.py --out docs/results/bench_regions.json

The bundled tiny SAM on generated streets, whose every thing and area of stuff is known. "ours,
full grid" prompts every point, as the official generator does; "ours, adaptive" (the default)
leaves out points in found masks. Grid and thresholds are the same. Recall is the share of the
true segments of at least ``--least`` pixels that have a region with an IoU of 0.5 (0.75), pooled
over images. The contenders take turns image by image; medians over images with the range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from measuring import clock_of, seconds_of
from practice import Practice
from record import common_parser, summary, write_record
from scenes import Size
from tqdm import tqdm

import seco
from seco.common.arrays import Array
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.sam.tiny import PROPOSALS, load_tiny_sam


def best_overlaps(regions: seco.Regions, instances: Array, least: int) -> Array:
    """Of every true segment of at least so many pixels, the largest IoU with a region.

    Args:
        regions: on any device.
        instances: (H, W), from 1 without a gap.
        least: pixels.
    """
    atoms, members = regions.atoms.cpu().numpy(), regions.members.cpu().numpy().astype(float)
    count = int(instances.max()) + 1
    cells = instances.astype(np.int64) * members.shape[1] + atoms
    shared = np.bincount(cells.ravel(), minlength=count * members.shape[1]).reshape(count, -1)
    both = shared @ members.T
    areas = shared.sum(1)
    either = areas[:, None] + (members @ shared.sum(0))[None] - both
    best = (both / np.maximum(either, 1)).max(1, initial=0.0)
    return np.asarray(best[1:][areas[1:] >= least])


def regions_of(masks: list[dict[str, Any]], size: Size) -> seco.Regions:
    """What the official generator returns, as regions."""
    found = [torch.from_numpy(item["segmentation"]) for item in masks]
    none = torch.zeros(0, *size, dtype=torch.bool)
    return seco.Regions.from_masks(torch.stack(found) if found else none)


def main() -> None:
    parser = common_parser(__doc__, repeats=1)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--points", type=int, default=32, help="of the grid, along a side")
    parser.add_argument("--least", type=int, default=200, help="pixels of a segment that counts")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_tiny_sam().to(args.device)
    full = replace(PROPOSALS, points_per_side=args.points, skip_covered=False)
    practice = Practice(model, STREETS, full)
    plain, fast = seco.load_sam(model), seco.accelerate_sam(model)

    def proposed(sam: object, settings: seco.ProposalSettings) -> Callable[..., Any]:
        return lambda image, pixels: seco.propose_regions(pixels, sam, settings=settings)

    contenders: dict[str, Callable[..., Any]] = {
        "practice": lambda image, pixels: practice.everything(image),
        "ours, full grid": proposed(plain, full),
        "ours, adaptive": proposed(plain, replace(full, skip_covered=True)),
        "ours, adaptive, accelerated encoder": proposed(fast, replace(full, skip_covered=True)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    counts: dict[str, list[int]] = {name: [] for name in contenders}
    overlaps: dict[str, list[Array]] = {name: [] for name in contenders}
    for number, seed in enumerate(tqdm([DEV_SEEDS[0], *DEV_SEEDS[: args.images]])):
        scene = street_scene(seed, size=tuple(args.size), domain="camera")
        pixels = torch.from_numpy(scene.image).permute(2, 0, 1).to(args.device)
        for name, find in contenders.items():
            for _ in range(args.repeats):
                call = partial(find, scene.image, pixels)
                spent, found = seconds_of(call, args.device)
                if number:  # the first image warms up
                    seconds[name].append(spent)
            if number:
                counts[name].append(len(found))
                # What makes regions of the official generator's list is not timed.
                regions = found if name != "practice" else regions_of(found, tuple(args.size))
                overlaps[name].append(best_overlaps(regions, scene.instances, args.least))
    base = np.median(seconds["practice"])
    results = {}
    for name in contenders:
        best = np.concatenate(overlaps[name])
        spent = seconds[name]
        results[name] = {
            "practice / this": round(float(base / np.median(spent)), 2),
            "images/s": round(len(spent) / sum(spent), 3),
            "regions/s": round(sum(counts[name]) * args.repeats / sum(spent), 1),
            "regions per image": round(float(np.mean(counts[name])), 1),
            "recall at 0.5": round(float((best >= 0.5).mean()), 4),
            "recall at 0.75": round(float((best >= 0.75).mean()), 4),
            "mean best IoU": round(float(best.mean()), 4),
            "ms per image": summary([1000 * value for value in spent]),
        }
    write_record(
        "bench_regions.py", args.out, device=args.device, size=args.size, images=args.images,
        points_per_side=args.points, segments=len(best), least_pixels=args.least,
        clock=clock_of(args.device), results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
