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
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring.record import write_record
from measuring.samples import EncodeOnce, Sample, camvid_samples, street_samples
from tqdm import tqdm

import seco
from seco.common.settings_text import change_settings
from seco.evaluation import Confusion, confusion
from seco.sam.proposal_settings import proposal_settings_of

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
        write_record(
            args.out,
            "examples/measure_psa.py",
            started=started,
            hidden=args.folder,
            settings=dataclasses.asdict(settings),
            results=summary,
        )


if __name__ == "__main__":
    main()
