"""Measure the bundled tiny SAM on prompts for single segments.

    python examples/evaluate_tiny_sam.py --out docs/results/tiny_sam.json \\
        --figure docs/results/tiny_sam.png [--bsds BSDS_FOLDER --split val]

Three sets: generated shapes and street scenes that training never saw and, where a folder is
given, the human segments of BSDS500 (``images/SPLIT/NAME.*`` and ``segments/SPLIT/NAME_K.png``, one
id per segment). One rule everywhere, for every method: a segment counts if it has at least 100
pixels and covers at most 70 % of its image; per image at most 8 of them are drawn at random (of
BSDS, from one annotator, drawn at random).

Compared for the tight box of the segment: the tiny SAM, the box itself as the mask, and OpenCV's
GrabCut started from the box (5 iterations; on the whole image and, stronger, on the surroundings of
the box; needs ``opencv-python``). Standard errors are over images (bootstrap), as segments of one
image are alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from measuring.record import write_record
from PIL import Image
from scipy import ndimage
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import calculate_stability_score
from shapes import shapes_image
from tiny_sam.images import street_levels

from seco.demo.scenes import street_scene
from seco.sam.tiny import load_tiny_sam

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

MIN_PIXELS, MAX_SHARE, PER_IMAGE = 100, 0.7, 8


@dataclass(frozen=True)
class Item:
    """An image ``(H, W, 3)`` and the masks ``(N, H, W)`` to ask for."""

    name: str
    image: Bytes
    masks: Bools


@dataclass
class Scores:
    """IoU of each prompt for each method, its image, the share of the image it covers."""

    image: list[int] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    iou: dict[str, list[float]] = field(default_factory=dict)
    predicted: dict[str, list[float]] = field(default_factory=dict)

    def add(self, method: str, values: npt.NDArray[np.floating]) -> None:
        """Append the IoUs of one image's prompts."""
        self.iou.setdefault(method, []).extend(float(v) for v in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--bsds", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=100, help="images per set")
    parser.add_argument("--no-grabcut", action="store_true", help="leave out the slow baseline")
    args = parser.parse_args()
    started = time.time()

    sets: dict[str, Callable[[], Iterator[Item]]] = {
        "shapes": lambda: shapes_items(args.images),
        "streets": lambda: street_items(args.images),
    }
    generated = tuple(sets)
    if args.bsds:
        sets[f"bsds500 {args.split}"] = lambda: bsds_items(args.bsds, args.split, args.images)
    sam = load_tiny_sam()
    results, rows = {}, []
    for name, items in sets.items():
        scores, examples = evaluate(sam, items(), grabcut=not args.no_grabcut)
        results[name] = report(scores)
        if name in generated:  # photographs carry licences of their own: never in our figures
            rows += examples[:2]
        print(name, json.dumps(results[name], indent=1), flush=True)
    grid = grid_report(sam, count=12)
    print("grid of points", json.dumps(grid, indent=1), flush=True)
    if args.out:
        rule = {"min_pixels": MIN_PIXELS, "max_share": MAX_SHARE, "per_image": PER_IMAGE}
        write_record(
            args.out, "examples/evaluate_tiny_sam.py", started=started, hidden=args.bsds,
            rule=rule, sets=results, grid=grid,
        )  # fmt: skip
    if args.figure:
        draw(args.figure, rows)


def shapes_items(count: int) -> Iterator[Item]:
    for k in range(count):
        sample = shapes_image(920_000 + k)
        level = k % 3  # parts, objects and groups in turn
        yield from choose(f"shapes {k}", k, sample.image, sample.levels[level])


def street_items(count: int) -> Iterator[Item]:
    for k in range(count):
        scene = street_scene(300_500 + k, size=(256, 512), domain=("camera", "game")[k % 2])
        levels = street_levels(np.asarray(scene.label), np.asarray(scene.instances))
        yield from choose(f"street {k}", k, np.asarray(scene.image), levels[0])


def bsds_items(folder: Path, split: str, count: int) -> Iterator[Item]:
    for k, path in enumerate(sorted((folder / "images" / split).iterdir())[:count]):
        human = sorted((folder / "segments" / split).glob(f"{path.stem}_*.png"))
        one = human[int(np.random.default_rng([7, k]).integers(len(human)))]
        image = np.asarray(Image.open(path).convert("RGB"))
        yield from choose(path.stem, k, image, np.asarray(Image.open(one)))


def choose(name: str, seed: int, image: Bytes, ids: npt.NDArray[np.integer]) -> Iterator[Item]:
    """Segments by the rule in this file's first lines; nothing where an image has none."""
    values, areas = np.unique(ids, return_counts=True)
    fit = values[(areas >= MIN_PIXELS) & (areas <= MAX_SHARE * ids.size)]
    if fit.size:
        rng = np.random.default_rng([11, seed])
        fit = rng.permutation(fit)[:PER_IMAGE]
        yield Item(name, image, ids[None] == fit[:, None, None])


def evaluate(
    sam: Sam, items: Iterator[Item], *, grabcut: bool
) -> tuple[Scores, list[tuple[Item, int, Bools, Bools]]]:
    scores, examples = Scores(), []
    predictor = SamPredictor(sam)
    for number, item in enumerate(items):
        masks, size = item.masks, item.image.shape[:2]
        rng = np.random.default_rng([13, number])
        boxes = tight_boxes(masks)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        deep = np.stack([deepest_point(mask) for mask in masks])
        scores.image += [number] * len(masks)
        scores.share += masks.mean((1, 2)).tolist()
        predictor.set_image(item.image)

        def ask(
            box: npt.NDArray[np.floating] | None,
            point: npt.NDArray[np.floating] | None,
            several: bool = False,
            size: tuple[int, ...] = size,
        ) -> tuple[Bools, npt.NDArray[np.floating]]:
            to = predictor.transform
            b = None if box is None else to.apply_boxes_torch(torch.from_numpy(box).float(), size)
            p = label = None
            if point is not None:
                p = to.apply_coords_torch(torch.from_numpy(point).float()[:, None], size)
                label = torch.ones(len(point), 1)
            found, quality, _ = predictor.predict_torch(p, label, b, multimask_output=several)
            return found.numpy(), quality.numpy()

        found, quality = ask(boxes, None)
        ours = found[:, 0]
        scores.add("tiny SAM, box", iou(ours, masks))
        scores.predicted.setdefault("box", []).extend(quality[:, 0].tolist())
        noise = np.clip(rng.normal(0, 0.1, boxes.shape), -0.25, 0.25)
        jitter = boxes + noise * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        jitter = np.clip(jitter, 0, np.tile(size[::-1], 2))
        scores.add("tiny SAM, box with 10 % noise", iou(ask(jitter, None)[0][:, 0], masks))
        scores.add("tiny SAM, box and its centre", iou(ask(boxes, centres)[0][:, 0], masks))
        scores.add("tiny SAM, box and a point inside", iou(ask(boxes, deep)[0][:, 0], masks))
        found, quality = ask(None, deep, several=True)
        each = np.stack([iou(found[:, k], masks) for k in range(3)], 1)
        scores.add("tiny SAM, point, best of 3", each.max(1))
        scores.add(
            "tiny SAM, point, its own choice",
            np.take_along_axis(each, quality.argmax(1)[:, None], 1)[:, 0],
        )
        scores.add("the box itself", iou(fill(boxes, size), masks))
        scores.add("the noisy box itself", iou(fill(jitter, size), masks))
        if grabcut:
            cut = np.stack([grab_cut(item.image, box) for box in boxes])
            scores.add("GrabCut, box", iou(cut, masks))
            near = np.stack([grab_cut_near(item.image, box) for box in boxes])
            scores.add("GrabCut near the box, or the box", iou(near, masks))
            areas = masks.sum((1, 2)) / masks[0].size
            examples.append((item, int(np.argmin(np.abs(areas - 0.15))), ours, cut))
    return scores, examples[3::11]


def tight_boxes(masks: Bools) -> npt.NDArray[np.float64]:
    """``(N, 4)`` x0, y0, x1, y1 as pixel edges: x1 and y1 are one past the last pixel."""
    slices = [ndimage.find_objects(mask.astype(np.uint8))[0] for mask in masks]
    return np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices], np.float64)


def deepest_point(mask: Bools) -> npt.NDArray[np.float64]:
    """x, y of the pixel farthest from the outside (the image's border counts as outside)."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(depth), mask.shape)
    return np.array([x, y], np.float64)


def fill(boxes: npt.NDArray[np.floating], size: tuple[int, ...]) -> Bools:
    y, x = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    x0, y0, x1, y1 = boxes.T[:, :, None]
    return ((y > y0) & (y < y1))[:, :, None] & ((x > x0) & (x < x1))[:, None, :]


def grab_cut(image: Bytes, box: npt.NDArray[np.floating]) -> Bools:
    """GrabCut's foreground; the box itself where OpenCV refuses (a box that fills the image)."""
    x0, y0, x1, y1 = (int(v) for v in box)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            np.ascontiguousarray(image[..., ::-1]),
            mask,
            (x0, y0, x1 - x0, y1 - y0),
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            5,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error:
        return fill(box[None], image.shape[:2])[0]
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


def grab_cut_near(image: Bytes, box: npt.NDArray[np.floating]) -> Bools:
    """A stronger baseline: GrabCut on twice the box; the box itself where that finds nothing.

    On a whole photograph the background often explains the foreground's colours too, and GrabCut
    returns an empty mask.
    """
    size = image.shape[:2]
    grow = np.tile(box[2:] - box[:2], 2) / 2 * [-1, -1, 1, 1]
    x0, y0, x1, y1 = np.clip(box + grow, 0, np.tile(size[::-1], 2)).astype(int)
    out = np.zeros(size, np.bool_)
    out[y0:y1, x0:x1] = grab_cut(image[y0:y1, x0:x1], box - [x0, y0, x0, y0])
    return out if out.any() else fill(box[None], size)[0]


def iou(found: Bools, truth: Bools) -> npt.NDArray[np.float64]:
    both = (found & truth).sum((1, 2))
    return both / np.maximum((found | truth).sum((1, 2)), 1)


def report(scores: Scores) -> dict[str, object]:
    image = np.array(scores.image)
    draws = np.random.default_rng(0).multinomial(
        image.max() + 1, np.full(image.max() + 1, 1 / (image.max() + 1)), size=2000
    )[:, image]

    def mean(values: npt.NDArray[np.float64]) -> dict[str, float]:
        spread = (draws @ values / draws.sum(1)).std()
        return {"mean": round(float(values.mean()), 4), "standard_error": round(float(spread), 4)}

    out: dict[str, object] = {"images": int(np.unique(image).size), "prompts": int(image.size)}
    values = {name: np.array(v) for name, v in scores.iou.items()}
    out["mean_iou"] = {name: mean(v) for name, v in values.items()}
    ours = values["tiny SAM, box"]
    out["tiny SAM, box, minus"] = {
        name: mean(ours - values[name])
        for name in ("the box itself", "GrabCut, box", "GrabCut near the box, or the box")
        if name in values
    }
    share, edges = np.array(scores.share), (0, 0.002, 0.01, 0.05, MAX_SHARE + 1e-9)
    out["by_share_of_image"] = {
        f"{low:g} to {high:g}": {"prompts": int(inside.sum())}
        | {name: round(float(v[inside].mean()), 4) for name, v in values.items()}
        for low, high in itertools.pairwise(edges)
        if (inside := (share >= low) & (share < high)).any()
    }
    guess = np.array(scores.predicted["box"])
    out["predicted_iou"] = {
        "correlation": round(float(np.corrcoef(guess, ours)[0, 1]), 3),
        "mean_predicted": round(float(guess.mean()), 4),
        "mean_absolute_error": round(float(np.abs(guess - ours).mean()), 4),
    }
    return out


def grid_report(sam: Sam, *, count: int) -> dict[str, object]:
    """What thresholds of "segment everything" let through: a 16 × 8 grid on street scenes.

    The true IoU of a mask is that with the better of the segment and the class under its point.
    """
    predictor = SamPredictor(sam)
    guess, stable, true = [], [], []
    for k in range(count):
        scene = street_scene(300_300 + k, size=(256, 512), domain=("camera", "game")[k % 2])
        levels = street_levels(np.asarray(scene.label), np.asarray(scene.instances))[[0, 2]]
        predictor.set_image(np.asarray(scene.image))
        x, y = (v.ravel() for v in np.meshgrid(np.arange(16, 512, 32), np.arange(16, 256, 32)))
        points = torch.from_numpy(np.stack([x, y], 1)).float()[:, None]
        points = predictor.transform.apply_coords_torch(points, (256, 512))
        logits, quality, _ = predictor.predict_torch(
            points, torch.ones(len(x), 1), None, multimask_output=True, return_logits=True
        )
        logits = logits.flatten(0, 1)
        right = [np.repeat(level[None] == level[y, x][:, None, None], 3, 0) for level in levels]
        true.append(np.maximum(*(iou((logits > 0).numpy(), masks) for masks in right)))
        guess.append(quality.flatten().numpy())
        stable.append(calculate_stability_score(logits, 0.0, 1.0).numpy())
    ious = np.concatenate(true)
    out: dict[str, object] = {"masks": int(ious.size)}
    for name, parts in (("predicted_iou", guess), ("stability", stable)):
        score = np.concatenate(parts)
        rows = {
            str(t): {
                "kept": round(float((score >= t).mean()), 3),
                "mean_true_iou": round(float(ious[score >= t].mean()), 3),
            }
            for t in (0.5, 0.6, 0.7, 0.8, 0.88, 0.95)
            if (score >= t).any()
        }
        out[name] = {"correlation": round(float(np.corrcoef(score, ious)[0, 1]), 3), **rows}
    return out


def draw(path: Path, rows: list[tuple[Item, int, Bools, Bools]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = ("image and box prompt", "true segment", "tiny SAM", "GrabCut")
    figure, axes = plt.subplots(len(rows), 4, figsize=(11, 2.2 * len(rows)), squeeze=False)
    for line, (item, k, ours, cut) in zip(axes, rows, strict=True):
        truth = item.masks[k]
        for axis, title, mask in zip(line, titles, (None, truth, ours[k], cut[k]), strict=True):
            shown = item.image.astype(float) / 255
            if mask is not None:
                shown = np.where(mask[..., None], 0.5 * shown + [0.5, 0.25, 0.0], 0.45 * shown)
            axis.imshow(shown)
            score = ""
            if mask is not None and mask is not truth:
                score = f", IoU {iou(mask[None], truth[None])[0]:.2f}"
            axis.set_title(title + score, fontsize=9)
            axis.set_axis_off()
            if mask is None:
                x0, y0, x1, y1 = tight_boxes(truth[None])[0]
                axis.add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="red"))
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
