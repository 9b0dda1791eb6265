"""Measure what refining does to label quality: every arm on the same images, against the truth.

    python examples/measure_psa.py streets --images 200 --out docs/results/psa_streets.json
    python examples/measure_psa.py camvid DIR --frames report --out docs/results/psa_camvid.json

``streets`` needs nothing: generated camera scenes, labelled by the bundled segmenter that was
trained on the game look. ``camvid`` takes a folder with images/, labels/, pseudo/NETWORK/ and
edges/, each with train/ and val/. The truth is read for measuring only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import watershed
from tqdm import tqdm

import seco
from seco.common.files import read_confidence, read_image, read_label, write_bytes
from seco.common.settings_text import change_settings
from seco.evaluation import Confusion, confusion
from seco.sam.proposal_settings import proposal_settings_of


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image with a real model's label of it, and the truth to measure with."""

    group: str
    image: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    regions: dict[str, seco.Regions]


class EncodeOnce:
    """A segmenter that remembers the last image, since every arm asks about the same one."""

    def __init__(self, segmenter: seco.PromptableSegmenter) -> None:
        self.segmenter, self.key, self.device = segmenter, b"", segmenter.device
        self.decode = segmenter.decode
        self.proposal_settings = getattr(segmenter, "proposal_settings", None)

    def encode(self, images: torch.Tensor) -> Sequence[seco.Embedding]:
        """Encode, or answer from memory."""
        key = images.numpy().tobytes()
        if key != self.key:
            self.key, self.value = key, self.segmenter.encode(images)
        return self.value


def street_samples(images: int, start: int, size: tuple[int, int]) -> Iterator[Sample]:
    """Camera scenes with the labels of a segmenter that knows only the game look."""
    from seco.demo import street_scene
    from seco.demo.segmenter import load_segmenter, predict

    segmenter = load_segmenter()
    for seed in range(start, start + images):
        scene = street_scene(seed, size=size, domain="camera")
        label, confidence = predict(segmenter, scene.image[None])
        ideal = seco.Regions.from_label_map(torch.from_numpy(scene.instances))
        yield Sample(
            "streets",
            scene.image,
            label[0],
            confidence[0],
            scene.label,
            {"ideal": ideal},
        )


def camvid_samples(root: Path, frames: str, network: str, every: int) -> Iterator[Sample]:
    """Real frames: day and dusk apart, the frames for choosing and for reporting apart."""
    train = sorted(path.stem for path in (root / "images/train").iterdir())
    val = sorted(path.stem for path in (root / "images/val").iterdir())
    dusk = [name for name in train if name.startswith("0001TP")]
    day = [name for name in train if not name.startswith("0001TP")]
    half = len(dusk) // 2
    parts = {
        "choose": [("day", "train", day), ("dusk", "train", dusk[:half])],
        "report": [("day", "val", val), ("dusk", "train", dusk[half:])],
    }[frames]
    for group, split, names in parts:
        for name in names[::every]:
            image = read_image(next((root / "images" / split).glob(f"{name}.*")))
            truth = read_label(root / "labels" / split / f"{name}.png")
            pseudo = root / "pseudo" / network / split
            edges = read_label(root / "edges" / split / f"{name}.png")
            space = seco.CAMVID
            objects = seco.connected_components(truth, ignore_index=space.ignore_index)
            yield Sample(
                f"{group} {network}",
                image,
                read_label(pseudo / f"{name}_label.png"),
                read_confidence(pseudo / f"{name}_conf.png"),
                truth,
                {
                    "ideal": seco.Regions.from_label_map(torch.from_numpy(objects.ids)),
                    "edges": edge_regions(edges),
                },
            )


def edge_regions(
    edges: np.ndarray, levels: Sequence[int] = (15, 30, 50, 75, 100, 130), min_area: int = 20
) -> seco.Regions:
    """Overlapping regions: the basins of a boundary map, flooded from several levels."""
    masks = []
    for level in levels:
        markers, count = ndimage.label(edges < level)
        areas = np.bincount(markers.ravel(), minlength=count + 1)
        markers[(areas < min_area)[markers]] = 0
        basins = torch.from_numpy(watershed(edges, markers))
        masks.append(seco.Regions.from_label_map(basins).masks())
    return seco.Regions.from_masks(torch.cat(masks))


Arm = Callable[[Sample, object, seco.Regions, seco.LabelSpace], np.ndarray]


def arms(settings: seco.PSASettings) -> dict[str, Arm]:
    """Every arm of the table; ``keep`` and ``ignore`` say what pixels outside all masks become."""

    def arm(
        options: seco.PSASettings, outside: str, source: str = "sam", prompt: bool = True
    ) -> Arm:
        def run(
            sample: Sample, sam: object, proposals: seco.Regions, space: seco.LabelSpace
        ) -> np.ndarray:
            return seco.refine_pseudo_labels(
                sample.image,
                sample.label,
                sam if prompt else None,
                label_space=space,
                confidence=sample.confidence,
                regions=proposals if source == "sam" else sample.regions[source],
                outside=outside,
                settings=options,
            )

        return run

    def selection(sample: Sample, *_: object) -> np.ndarray:
        label = torch.from_numpy(sample.label)
        return seco.select_confident(label, torch.from_numpy(sample.confidence)).numpy()

    def of(base: seco.PSASettings, method: str) -> seco.PSASettings:
        return dataclasses.replace(base, method=method)

    table: dict[str, Arm] = {"raw": lambda sample, *_: sample.label, "selection": selection}
    for outside in ("ignore", "keep"):
        for name, base in (("", settings), (" (paper's settings)", seco.PAPER)):
            for method in ("prompts", "alignment", "psa"):
                table[f"{method}, {outside}{name}"] = arm(of(base, method), outside)
        table[f"edges, vote only, {outside}"] = arm(settings, outside, "edges", prompt=False)
        table[f"edges, vote only, {outside} (paper's settings)"] = arm(
            seco.PAPER, outside, "edges", prompt=False
        )
        table[f"edges + prompts, {outside}"] = arm(settings, outside, "edges")
        table[f"ideal regions, {outside}"] = arm(settings, outside, "ideal", prompt=False)
        table[f"ideal regions, {outside} (paper's settings)"] = arm(
            seco.PAPER, outside, "ideal", prompt=False
        )
    return table


def measure(
    samples: Iterator[Sample],
    total: int | None,
    sam: seco.PromptableSegmenter,
    space: seco.LabelSpace,
    settings: seco.PSASettings,
    only: Sequence[str] = (),
) -> dict[str, dict[str, list[Confusion]]]:
    """Confusions per group and arm, one per image."""
    table = {
        name: run
        for name, run in arms(settings).items()
        if not only or name == "raw" or any(name.startswith(start) for start in only)
    }
    found: dict[str, dict[str, list[Confusion]]] = {}
    remembered = EncodeOnce(sam)
    for sample in tqdm(samples, total=total):
        proposals = seco.propose_regions(sample.image, remembered, settings=settings.proposals)
        for name, run in table.items():
            if name.startswith("edges") and "edges" not in sample.regions:
                continue
            label = run(sample, remembered, proposals, space)
            found.setdefault(sample.group, {}).setdefault(name, []).append(
                confusion(label, sample.truth, space)
            )
    return found


def summarise(
    found: dict[str, dict[str, list[Confusion]]], space: seco.LabelSpace, resamples: int = 200
) -> dict[str, object]:
    """Pooled figures, with standard errors from resampling images."""
    rng = np.random.default_rng(0)
    out: dict[str, object] = {}
    for group, results in found.items():
        count = len(results["raw"])
        picks = rng.integers(0, count, (resamples, count))
        raw = np.stack([item.counts for item in results["raw"]])
        rows = {}
        drawn = {}  # mIoU of every resampling, the same for all arms, so that differences pair up
        for name, items in results.items():
            counts = np.stack([item.counts for item in items])
            pooled = Confusion(counts.sum(axis=0))
            drawn[name] = np.array([Confusion(counts[p].sum(axis=0)).mean_iou for p in picks])
            rows[name] = {
                "mIoU": round(pooled.mean_iou, 4),
                "gain over raw": round(pooled.mean_iou - Confusion(raw.sum(axis=0)).mean_iou, 4),
                "standard error of gain": round(float(np.std(drawn[name] - drawn["raw"])), 4),
                "accuracy": round(pooled.accuracy, 4),
                "coverage": round(pooled.coverage, 4),
                "IoU": dict(zip(space.names, pooled.iou.round(4).tolist(), strict=True)),
            }
        differences = {}
        for name in rows:
            for better, worse in (("psa", "alignment"), ("alignment", "prompts")):
                other = name.replace(better, worse, 1)
                if name.startswith(better) and other in rows:
                    differences[f"{name} - {worse}"] = {
                        "mIoU": round(rows[name]["mIoU"] - rows[other]["mIoU"], 4),
                        "standard error": round(float(np.std(drawn[name] - drawn[other])), 4),
                    }
        out[group] = {"images": count, "arms": rows, "differences": differences}
    return out


def show(summary: dict[str, object]) -> str:
    """The summary as markdown."""
    lines = []
    for group, part in summary.items():
        lines += [f"\n**{group}**, {part['images']} images\n"]
        lines += ["| labels | mIoU | gain | accuracy | coverage |", "|---|---|---|---|---|"]
        for name, row in part["arms"].items():
            gain = f"{100 * row['gain over raw']:+.1f} ± {100 * row['standard error of gain']:.1f}"
            lines.append(
                f"| {name} | {100 * row['mIoU']:.1f} | {gain} | {100 * row['accuracy']:.1f} "
                f"| {100 * row['coverage']:.1f} |"
            )
        lines += ["\n| difference | mIoU |", "|---|---|"]
        for name, row in part["differences"].items():
            lines.append(
                f"| {name} | {100 * row['mIoU']:+.2f} ± {100 * row['standard error']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", choices=("streets", "camvid"))
    parser.add_argument("folder", nargs="?", type=Path, help="the CamVid folder")
    parser.add_argument("--images", type=int, default=200, help="street scenes")
    parser.add_argument("--start", type=int, help="first scene seed; default: report seeds")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("H", "W"))
    parser.add_argument("--frames", choices=("choose", "report"), default="report")
    parser.add_argument("--every", type=int, default=1, help="take every n-th CamVid frame")
    parser.add_argument("--networks", nargs="+", default=["espnetv2_0.5", "espnetv2_2.0"])
    parser.add_argument("--sam", default="tiny")
    parser.add_argument("--checkpoint", help="weights, for --sam vit_*")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="PSASettings")
    parser.add_argument("--only", nargs="*", default=[], help="only arms that start so")
    parser.add_argument("--out", type=Path, help="write JSON here")
    args = parser.parse_args()

    sam = seco.load_sam(args.sam, checkpoint=args.checkpoint)
    own = dataclasses.replace(seco.PSASettings(), proposals=proposal_settings_of(sam))
    settings = change_settings(own, args.set)
    started = time.time()
    if args.data == "streets":
        from seco.demo import STREETS as space
        from seco.demo.scenes import TEST_SEEDS

        start = TEST_SEEDS[0] if args.start is None else args.start
        samples = street_samples(args.images, start, tuple(args.size))
        found = measure(samples, args.images, sam, space, settings, args.only)
    else:
        space, found = seco.CAMVID, {}
        for network in args.networks:
            samples = camvid_samples(args.folder, args.frames, network, args.every)
            found |= measure(samples, None, sam, space, settings, args.only)
    summary = summarise(found, space)
    print(show(summary))
    if args.out:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        record = {
            "command": shlex.join(
                ["python", "examples/measure_psa.py"]
                + ["DIR" if Path(word) == args.folder else word for word in sys.argv[1:]]
            ),
            "commit": commit,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "seconds": round(time.time() - started),
            "settings": dataclasses.asdict(settings),
            "results": summary,
        }
        write_bytes(args.out, json.dumps(record, indent=1).encode())


if __name__ == "__main__":
    main()
