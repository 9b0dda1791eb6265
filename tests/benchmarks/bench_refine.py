"""refine_pseudo_labels against today's practice, same machine, same SAM, same images, same run.

    python tests/benchmarks/bench_refine.py --out docs/results/bench_refine.json

Today's practice is ``SamAutomaticMaskGenerator.generate`` for the regions, ``SamPredictor.predict``
once per component for the things, and a vote mask by mask in numpy. Both use the thresholds that
fit the tiny SAM. Figures are medians over
images with the range; the two take turns image by image, so that a slower moment of the machine
meets both.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import summary, write_record
from tqdm import tqdm

import seco
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict
from seco.prompts import enlarge_boxes
from seco.sam.proposal_settings import proposal_settings_of
from seco.sam.tiny import PROPOSALS, load_tiny_sam


class Timed:
    """A segmenter that adds up the seconds spent in the network."""

    def __init__(self, segmenter: seco.PromptableSegmenter) -> None:
        self.segmenter, self.device, self.seconds = segmenter, segmenter.device, 0.0
        self.proposal_settings = proposal_settings_of(segmenter)

    def encode(self, *args: Any, **options: Any) -> Any:
        return self._timed(self.segmenter.encode, *args, **options)

    def decode(self, *args: Any, **options: Any) -> Any:
        return self._timed(self.segmenter.decode, *args, **options)

    def _timed(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        out = function(*args, **options)
        self.seconds += time.perf_counter() - start
        return out


def plain_practice(
    image: np.ndarray, label: np.ndarray, model: Any, space: seco.LabelSpace
) -> tuple[np.ndarray, dict[str, float]]:
    """What users write today; returns the label and the seconds of each part."""
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor

    seconds = {}
    start = time.perf_counter()
    generator = SamAutomaticMaskGenerator(  # grid and thresholds are the same for both
        model,
        pred_iou_thresh=PROPOSALS.pred_iou_thresh,
        stability_score_thresh=PROPOSALS.stability_score_thresh,
    )
    masks = generator.generate(image)
    seconds["generate"] = time.perf_counter() - start

    start = time.perf_counter()
    predictor = SamPredictor(model)
    predictor.set_image(image)
    found = seco.connected_components(
        label, ignore_index=space.ignore_index, classes=space.thing_ids, min_area=10
    )
    boxes = enlarge_boxes(found.boxes, 1.5, label.shape) - 0.5
    things = []
    for box, centre, kind in zip(boxes, found.centres, found.classes, strict=True):
        mask, _, _ = predictor.predict(
            point_coords=centre[None], point_labels=np.ones(1), box=box, multimask_output=False
        )
        things.append((mask[0], kind))
    seconds["predict"] = time.perf_counter() - start

    start = time.perf_counter()
    out = np.full_like(label, space.ignore_index)
    stuff = np.isin(np.arange(space.num_classes), space.stuff_ids)
    for item in sorted(masks, key=lambda item: -item["area"]):
        votes = label[item["segmentation"]]
        counts = np.bincount(votes[votes < space.num_classes], minlength=space.num_classes)
        shares = counts * stuff / max(counts.sum(), 1)
        if shares.max() > 0.2:
            out[item["segmentation"]] = shares.argmax()
    for mask, kind in things:
        out[mask] = kind
    seconds["vote"] = time.perf_counter() - start
    return out, seconds


def crowded_scenes(count: int, size: tuple[int, int], least: int) -> list[dict[str, np.ndarray]]:
    """Scenes whose labels have at least ``least`` components of things."""
    segmenter, scenes = load_segmenter(), []
    for seed in DEV_SEEDS:
        image = street_scene(seed, size=size, domain="camera").image
        label = predict(segmenter, image[None])[0][0]
        found = seco.connected_components(label, classes=STREETS.thing_ids, min_area=10)
        if len(found) >= least:
            scenes.append({"image": image, "label": label, "components": np.array(len(found))})
        if len(scenes) == count:
            break
    return scenes


def against_practice(images: int, size: tuple[int, int]) -> dict[str, object]:
    model = load_tiny_sam()
    sam = Timed(seco.load_sam(model))
    scenes = crowded_scenes(images, size, 30)
    warm = scenes[0]
    seco.refine_pseudo_labels(warm["image"], warm["label"], sam, label_space=STREETS)
    rows: dict[str, list[float]] = {}
    for scene in tqdm(scenes):
        image, label = scene["image"], scene["label"]
        sam.seconds, start = 0.0, time.perf_counter()
        seco.refine_pseudo_labels(image, label, sam, label_space=STREETS)
        ours = time.perf_counter() - start
        _, parts = plain_practice(image, label, model, STREETS)
        practice = parts["generate"] + parts["predict"]
        for name, value in {
            "components": float(scene["components"]),
            "ours, s": ours,
            "ours: network, s": sam.seconds,
            "ours: own work, share": 1 - sam.seconds / ours,
            "practice, s": practice,
            "practice: generate, s": parts["generate"],
            "practice: predict, s": parts["predict"],
            "practice: vote (not counted), s": parts["vote"],
            "practice / ours": practice / ours,
        }.items():
            rows.setdefault(name, []).append(value)
    return {
        "size": size,
        "images": len(scenes),
        "threads": torch.get_num_threads(),
        **{name: summary(values, digits=4) for name, values in rows.items()},
    }


def in_loop(repeats: int = 30) -> dict[str, object]:
    """The call with cached regions at 512x512 on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sam = seco.load_sam("tiny")
    label, regions, confidence = [], [], []
    for seed in DEV_SEEDS[:4]:
        image = street_scene(seed, size=(512, 512), domain="camera").image
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        labels, sure = predict(load_segmenter(), batch)
        label.append(labels[0])
        confidence.append(sure[0])
        regions.append(seco.propose_regions(image, sam))
    out: dict[str, object] = {"size": (512, 512), "threads": 1}
    crowd = [crowded_regions(150, (512, 512))] * len(label)
    for kind, cached in (("found regions", regions), ("150 overlapping regions", crowd)):
        for name, options in (("labels only", False), ("labels and confidence", True)):
            seconds = []
            for turn in range(repeats + 3):
                pick = turn % len(label)
                start = time.perf_counter()
                seco.refine_pseudo_labels(
                    None,
                    label[pick],
                    regions=cached[pick],
                    label_space=STREETS,
                    confidence=confidence[pick] if options else None,
                    outside="keep",
                )
                seconds.append(1000 * (time.perf_counter() - start))
            out[f"{kind}, {name}, ms"] = summary(seconds[3:], digits=4)
    out["regions found per image"] = summary([float(len(item)) for item in regions], digits=4)
    torch.set_num_threads(threads)
    return out


def crowded_regions(count: int, size: tuple[int, int]) -> seco.Regions:
    """Random boxes over each other, from a few pixels to a third of the sides."""
    rng = np.random.default_rng(0)
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        h, w = (int(side * rng.uniform(0.02, 0.33)) for side in size)
        y, x = int(rng.integers(size[0] - h)), int(rng.integers(size[1] - w))
        mask[y : y + h, x : x + w] = True
    return seco.Regions.from_masks(masks)


def memory() -> dict[str, object]:
    """Peak memory above the loaded model: 1024x2048 with 300 components of things."""
    sam = seco.load_sam("tiny")
    rng = np.random.default_rng(0)
    image = street_scene(DEV_SEEDS[0], size=(1024, 2048), domain="camera").image
    label = np.zeros((1024, 2048), np.uint8)
    for index in range(300):
        y, x = 50 * (index // 20) + 100, 100 * (index % 20) + 10
        label[y : y + 40, x : x + rng.integers(10, 80)] = STREETS.thing_ids[index % 7]
    seco.refine_pseudo_labels(image[:64, :64], label[:64, :64], sam, label_space=STREETS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seco.refine_pseudo_labels(image, label, sam, label_space=STREETS)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = len(seco.connected_components(label, classes=STREETS.thing_ids, min_area=10))
    believed = seco.PSASettings(thing_agreement=0.0, thing_coverage=0.0)
    seco.refine_pseudo_labels(image, label, SameMask(), label_space=STREETS, settings=believed)
    worst = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "size": (1024, 2048),
        "components": count,
        "MB": round((after - before) / 1024),
        "MB, every mask a quarter of the image": round((worst - before) / 1024),
    }


class SameMask:
    """A segmenter that takes every component for the same large object."""

    device = torch.device("cpu")

    def encode(self, images: torch.Tensor) -> list[seco.Embedding]:
        """Remember the sizes."""
        return [seco.Embedding(None, tuple(images.shape[-2:])) for _ in images]

    def decode(
        self,
        embedding: seco.Embedding,
        *,
        boxes: torch.Tensor | None = None,
        points: torch.Tensor | None = None,
        point_labels: torch.Tensor | None = None,
        multimask: bool = False,
    ) -> seco.MaskLogits:
        """The middle of the image, whatever is asked."""
        asked = len(points if boxes is None else boxes)
        logits = torch.full((asked, 3 if multimask else 1, 128, 256), -8.0)
        logits[:, :, 32:96, 64:192] = 8.0
        return seco.MaskLogits(logits, torch.ones(logits.shape[:2]), (128.0, 256.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=("refine", "in_loop", "memory"), help="only this one")
    args = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "memory": memory,  # first: the peak of a process never falls
        "in_loop": in_loop,
        "refine": lambda: against_practice(args.images, tuple(args.size)),
    }
    results = {name: run() for name, run in parts.items() if args.part in (None, name)}
    write_record("bench_refine.py", args.out, results=results)


if __name__ == "__main__":
    main()
