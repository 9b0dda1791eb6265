"""Copy-paste of rare classes: things out of refined labels, pasted into other training images.

    python examples/copy_paste.py IMAGES LABELS SCORES OUT --label-space cityscapes \\
        --classes person rider bicycle --min-score 0.9

``LABELS`` and ``SCORES`` are ``labels`` and ``scores`` of a folder of ``seco run``. ``OUT/images``
and ``OUT/labels`` are as many images again, each with some rare things more: train on them beside.
In a data loader call :func:`paste` instead. A pasted thing keeps its row, as its size in a street
scene goes with it; it may be mirrored with its place, and made a little smaller or larger.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from write_scenes import write_image

from seco import LabelSpace, connected_components, find_label_space
from seco.common.files import read_confidence, read_image, write_label
from seco.common.items import label_of
from seco.folder import find_inputs


@dataclass(frozen=True)
class CutOut:
    """One thing: pixels (h, w, 3) uint8, mask (h, w), its class, middle column and lowest row."""

    pixels: np.ndarray
    mask: np.ndarray
    class_id: int
    middle: float
    bottom: int


def cut_out(
    image: np.ndarray, label: np.ndarray, scores: np.ndarray, classes: Sequence[int],
    *, min_score: float = 0.9, min_area: int = 20,
) -> list[CutOut]:  # fmt: skip
    """The connected regions of some classes whose mean score is high enough."""
    found, things = connected_components(label, classes=classes, min_area=min_area), []
    for number, (left, top, right, bottom) in enumerate(found.boxes, start=1):
        window = np.s_[top:bottom, left:right]
        mask = found.ids[window] == number
        if scores[window][mask].mean() >= min_score:
            class_id, middle = int(found.classes[number - 1]), (left + right) / 2
            things.append(CutOut(image[window].copy(), mask, class_id, middle, int(bottom)))
    return things


def paste(
    image: np.ndarray, label: np.ndarray, things: Sequence[CutOut], rng: np.random.Generator,
    *, scale: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Paste things where they stood, mirrored or not, ``scale`` smaller or larger; copies."""
    image, label = image.copy(), label.copy()
    for thing in things:
        pixels, mask, middle = thing.pixels, thing.mask, thing.middle
        if rng.random() < 0.5:
            pixels, mask, middle = pixels[:, ::-1], mask[:, ::-1], label.shape[1] - middle
        factor = rng.uniform(1 - scale, 1 + scale)
        height, width = (max(1, round(side * factor)) for side in mask.shape)
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height)))
        mask = np.asarray(Image.fromarray(mask).resize((width, height)))  # bool: nearest
        top, left = thing.bottom - height, round(middle - width / 2)
        rows, columns = (
            axis + start for axis, start in zip(mask.nonzero(), (top, left), strict=True)
        )
        inside = (rows >= 0) & (rows < label.shape[0]) & (columns >= 0) & (columns < label.shape[1])
        rows, columns = rows[inside], columns[inside]
        image[rows, columns] = pixels[rows - top, columns - left]
        label[rows, columns] = thing.class_id
    return image, label


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("images", "labels", "scores", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--label-space", default="cityscapes", help="a name or a .json file")
    parser.add_argument("--classes", nargs="+", required=True, help="the rare ones, by name")
    parser.add_argument("--min-score", type=float, default=0.9)
    parser.add_argument("--min-area", type=int, default=20, help="pixels")
    parser.add_argument("--count", type=int, default=3, help="things pasted into an image")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    space: LabelSpace = find_label_space(args.label_space)
    inputs, pool = find_inputs(args.images, args.labels, confidence=args.scores), []
    rare = [space.id_of(name) for name in args.classes]
    for files in inputs.files:
        image, label = read_image(files.image), label_of(files, inputs, space)
        limits = {"min_score": args.min_score, "min_area": args.min_area}
        pool.append(cut_out(image, label, read_confidence(files.confidence), rare, **limits))
    # Classes alike, however often they occur.
    by_class = {name: [t for some in pool for t in some if t.class_id == k]
                for name, k in zip(args.classes, rare, strict=True)}  # fmt: skip
    print("things:", ", ".join(f"{len(some)} {name}" for name, some in by_class.items()))
    kinds = [some for some in by_class.values() if some]
    if not kinds:
        raise SystemExit("nothing to paste: lower --min-score or --min-area")
    for number, files in enumerate(inputs.files):
        rng = np.random.default_rng([args.seed, number])
        of_kinds = [kinds[rng.integers(len(kinds))] for _ in range(args.count)]
        chosen = [some[rng.integers(len(some))] for some in of_kinds]
        image, label = read_image(files.image), label_of(files, inputs, space)
        image, label = paste(image, label, chosen, rng)
        for kind in ("images", "labels"):
            (args.out / kind / files.name).parent.mkdir(parents=True, exist_ok=True)
        write_image(args.out / f"images/{files.name}.png", image)
        write_label(args.out / f"labels/{files.name}.png", label, space)
    print(f"{len(inputs.files)} images in {args.out}")


if __name__ == "__main__":
    main()
