"""Measure whether masks stay the same with accelerate_sam, on photographs of your own.

    python examples/measure_acceleration.py PHOTOS --out docs/results/acceleration_photos.json
    python examples/measure_acceleration.py PHOTOS --sam vit_h --checkpoint FILE --device cuda

Every photograph is asked for a grid of points, three masks each. A mask of the model's own encoder
in float32 is compared with the same mask (same point, same level) of each accelerated encoder.
Masks that are empty in both are left out; "believed" are those that segmenting everything would
take by the model's own thresholds on score and stability.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measuring.record import write_record
from tqdm import tqdm

import seco
from seco.common.files import read_image
from seco.sam.masks import crop_to_extent, stability_score
from seco.sam.proposal_settings import proposal_settings_of
from seco.sam.proposals import point_grid
from seco.sam.protocol import MaskLogits, PromptableSegmenter

VARIANTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def answers(sam: PromptableSegmenter, image: torch.Tensor, points_per_side: int) -> MaskLogits:
    """Three masks of every point of a grid."""
    (embedding,) = sam.encode(image[None])
    points = point_grid(points_per_side, embedding.size)[0].to(sam.device)
    labels = torch.ones(len(points), 1, dtype=torch.int64, device=sam.device)
    return sam.decode(embedding, points=points[:, None], point_labels=labels, multimask=True)


def compare(own: MaskLogits, other: MaskLogits, sam: PromptableSegmenter) -> dict[str, np.ndarray]:
    """IoU of every pair of masks, and which of the own ones are believed."""
    settings = proposal_settings_of(sam)
    logits = crop_to_extent(own.logits, own.extent)
    one, two = logits > 0, crop_to_extent(other.logits, other.extent) > 0
    union = (one | two).sum((2, 3))
    shared = (one & two).sum((2, 3))
    stability = stability_score(logits, offset=settings.stability_score_offset)
    believed = (own.scores >= settings.pred_iou_thresh) & (
        stability >= settings.stability_score_thresh
    )
    there = union > 0
    return {
        "iou": (shared[there] / union[there]).cpu().numpy(),
        "believed": believed[there].cpu().numpy(),
    }


def summary(iou: np.ndarray) -> dict[str, float | int]:
    """Of some masks, if there are any."""
    if not len(iou):
        return {"masks": 0}
    return {
        "masks": len(iou),
        "mean IoU": round(float(iou.mean()), 5),
        "share below 0.95": round(float((iou < 0.95).mean()), 5),
        "identical, share": round(float((iou == 1).mean()), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder; looked through for images")
    parser.add_argument("--images", type=int, default=100, help="the first so many by name")
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--sam", default="tiny")
    parser.add_argument("--checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    started = time.time()
    kinds = {".jpg", ".jpeg", ".png"}
    paths = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in kinds)[: args.images]
    if not paths:
        parser.error(f"photos: expected images in {args.photos}, found none")
    exact = seco.load_sam(args.sam, checkpoint=args.checkpoint, device=args.device)
    fast = {name: seco.accelerate_sam(exact, dtype=dtype) for name, dtype in VARIANTS.items()}
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in fast}
    for path in tqdm(paths, unit="image"):
        image = torch.from_numpy(read_image(path)).permute(2, 0, 1)
        own = answers(exact, image, args.points_per_side)
        for name, sam in fast.items():
            found[name].append(compare(own, answers(sam, image, args.points_per_side), exact))
    results = {}
    for name, each in found.items():
        iou, believed = (np.concatenate([one[key] for one in each]) for key in ("iou", "believed"))
        results[name] = {"all": summary(iou), "believed": summary(iou[believed])}
        print(name, results[name])
    if args.out is not None:
        script = "examples/measure_acceleration.py"
        write_record(
            args.out, script, started=started, hidden=args.photos, images=len(paths),
            results=results,
        )  # fmt: skip


if __name__ == "__main__":
    main()
