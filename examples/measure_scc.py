"""Measure what correction (SCC) does: are wrong regions recognised, what becomes of the labels?

    python examples/measure_scc.py streets --out docs/results/scc_streets.json
    python examples/measure_scc.py camvid DIR --out docs/results/scc_camvid.json
    python examples/measure_scc.py openset --out docs/results/scc_openset.json

``streets`` and ``openset`` need nothing, ``camvid`` the folder that measure_psa.py takes.
Correctors are fitted on all images' pseudo-labels; truth is read for measuring only.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.correcting import Case, Remembering, Variant, case, correct, flipped
from measuring.correction_figures import connectivity_figures, mean_and_std, quality, show
from measuring.imagenet import imagenet_features
from measuring.record import write_record
from measuring.refined import Refined, refined
from measuring.samples import camvid_frames, camvid_sample, street_sample
from tqdm import tqdm

import seco
from seco.common.settings_text import change_settings
from seco.connectivities import Connectivities
from seco.demo import STREETS
from seco.demo.scenes import TEST_SEEDS
from seco.demo.segmenter import load_segmenter
from seco.evaluation import TrueConnectivities, confusion
from seco.sam.proposal_settings import proposal_settings_of


def groups_of(items: Sequence[Any]) -> dict[str, list[int]]:
    """Positions by group."""
    found: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        found.setdefault(item.group, []).append(index)
    return found


def measure(
    items: Sequence[Refined],
    bases: dict[str, Callable[[Refined], tuple[np.ndarray, Connectivities | None, np.ndarray]]],
    encoder: object,
    space: seco.LabelSpace,
    variants: dict[str, Variant],
    seeds: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Labels before and after correction, per group and arm."""
    out: dict[str, dict[str, Any]] = {group: {} for group in groups_of(items)}
    for base, of in bases.items():
        cases = [case(item, *of(item), space) for item in items]
        before = [confusion(item.label, item.truth, space) for item in cases]
        for group, own in groups_of(cases).items():
            out[group][base] = quality([before[index] for index in own])
        for name, variant in variants.items():
            rows: dict[str, list[dict[str, float]]] = {}
            for seed in tqdm(seeds, desc=f"{base} + {name}"):
                found = correct(cases, encoder, space, variant, seed)
                for group, own in groups_of(cases).items():
                    mine = [found[index] for index in own]
                    counts = [confusion(label, c.truth, space) for c, label, _ in mine]
                    compared = TrueConnectivities.pool([part for _, _, part in mine])
                    rows.setdefault(group, []).append(
                        quality(counts) | connectivity_figures(compared, variant.settings.tau_ns)
                    )
            for group, listed in rows.items():
                out[group][f"{base} + {name}"] = mean_and_std(listed)
    return out


def measure_flips(
    items: Sequence[Refined],
    encoder: object,
    space: seco.LabelSpace,
    variants: dict[str, Variant],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Injected noise: 20 and 40 % of the true components have another class."""
    out: dict[str, Any] = {}
    for share in (0.2, 0.4):
        for name, variant in variants.items():
            if variant.confident:
                continue  # nobody says how sure an injected class is
            rows = []
            for seed in tqdm(seeds, desc=f"flips {share} + {name}"):
                rng = np.random.default_rng([seed, round(100 * share)])
                cases = [flipped(item, share, space, rng) for item in items]
                found = correct(cases, encoder, space, variant, seed)
                before = quality([confusion(c.label, c.truth, space) for c in cases])
                after = quality([confusion(label, c.truth, space) for c, label, _ in found])
                compared = TrueConnectivities.pool([part for _, _, part in found])
                rows.append(
                    {f"{name} before": value for name, value in before.items()}
                    | after
                    | connectivity_figures(compared, variant.settings.tau_ns)
                )
            out[f"{round(100 * share)} % flipped + {name}"] = mean_and_std(rows)
    return out


class Without(torch.nn.Module):
    """A segmenter that does not know one class: the second best takes its place."""

    def __init__(self, segmenter: torch.nn.Module, held: int) -> None:
        super().__init__()
        self.segmenter, self.held = segmenter, held

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.segmenter(image).clone()
        logits[:, self.held] = -1e4
        return logits


def measure_open_set(
    items: Sequence[Refined],
    held: int,
    refine: Callable[[Refined], tuple[np.ndarray, Connectivities, np.ndarray]],
    encoder: object,
    variants: dict[str, Variant],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Share of a class's area that is dropped when the labels do not know it, and of the rest.

    Its regions have, in turn, a random other class each, or the model's second best.
    """
    space = STREETS

    def random_class(item: Refined, rng: np.random.Generator) -> Case:
        known = case(item, *item.steps["sam, ignore"], space)
        classes = known.regions.classes.numpy().copy()
        own = classes == held
        drawn = rng.integers(0, space.num_classes - 1, own.sum())
        classes[own] = drawn + (drawn >= held)
        table = np.concatenate([[space.ignore_index], classes])
        regions = dataclasses.replace(known.regions, classes=torch.from_numpy(classes))
        return dataclasses.replace(known, label=table[known.regions.ids.numpy()], regions=regions)

    without = [case(item, *refine(item), space) for item in items]
    out: dict[str, Any] = {}
    for name, variant in variants.items():
        for naming in ("random class each", "second best class"):
            rows = []
            for seed in tqdm(seeds, desc=f"{space.names[held]}, {naming} + {name}"):
                rng = np.random.default_rng([seed, held])
                cases = without
                if naming.startswith("random"):
                    cases = [random_class(item, rng) for item in items]
                dropped = np.zeros((2, 2))
                for item, label, _ in correct(cases, encoder, space, variant, seed):
                    labelled = item.label != space.ignore_index
                    gone = label == space.ignore_index
                    for row, part in enumerate((item.truth == held, item.truth != held)):
                        dropped[row] += (gone & part & labelled).sum(), (part & labelled).sum()
                share = 100 * dropped[:, 0] / dropped[:, 1]
                rows.append({"its area dropped": share[0], "other area dropped": share[1]})
            out[f"{naming} + {name}"] = mean_and_std(rows)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", choices=("streets", "camvid", "openset"))
    parser.add_argument("folder", nargs="?", type=Path, help="the CamVid folder")
    parser.add_argument("--images", type=int, default=200, help="street scenes")
    parser.add_argument("--start", type=int, default=TEST_SEEDS[0], help="first scene seed")
    parser.add_argument("--network", default="espnetv2_0.5")
    parser.add_argument("--frames", nargs="+", default=["choose", "report"], help="to fit to")
    parser.add_argument("--every", type=int, default=3, help="fit to every n-th choosing frame")
    parser.add_argument("--encoder", choices=("sam", "small", "imagenet"), default="sam",
                        help="imagenet: see measuring/imagenet.py")  # fmt: skip
    parser.add_argument("--crop-layers", type=int, default=0, metavar="N",
                        help="of windows that the SAM's features see besides")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--held", nargs="+", default=["car", "person"], help="openset: classes")
    parser.add_argument("--variants", nargs="+", default=["SCC", "SCC (paper's settings)"])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="SCCSettings")
    parser.add_argument("--only", nargs="*", default=[], help="only these labels and no flips")
    parser.add_argument("--cache", type=Path, default=Path("scc-cache"), help="refined labels")
    parser.add_argument("--out", type=Path, help="write JSON here")
    args = parser.parse_args()
    if args.crop_layers and args.encoder != "sam":
        parser.error("--crop-layers: only with --encoder sam")

    started = time.time()
    sam = seco.load_sam("tiny")
    psa = dataclasses.replace(seco.PSASettings(), proposals=proposal_settings_of(sam))
    encoder: object = None
    if args.encoder != "small":
        embedding = seco.SegmenterExtractor(sam, crop_n_layers=args.crop_layers)
        encoder = Remembering(embedding if args.encoder == "sam" else imagenet_features())
    own = change_settings(seco.SCCSettings(), args.set)
    variants = {
        "SCC": Variant(own),
        "SCC, confidences": Variant(own, confident=True),
        "SCC (paper's settings)": Variant(seco.SCC_PAPER),
    }
    variants = {name: settings for name, settings in variants.items() if name in args.variants}

    def street(seed: int, folder: str, segmenter: torch.nn.Module) -> Refined:
        return refined(
            lambda: street_sample(seed, (256, 256), segmenter),
            args.cache / folder / f"{seed}.npz",
            "streets",
            sam,
            STREETS,
            psa,
            sources=["sam"],
        )

    segmenter = load_segmenter()
    results: dict[str, Any] = {}
    if args.data == "camvid":
        space = seco.CAMVID
        items = []
        for frames in args.frames:
            every = args.every if frames == "choose" else 1
            for frame in camvid_frames(args.folder, frames, every):
                items.append(
                    refined(
                        lambda frame=frame: camvid_sample(args.folder, frame, args.network),
                        args.cache
                        / "camvid"
                        / args.network
                        / f"{frame.frames}_{frame.group}_{frame.name}.npz",
                        f"{frame.frames}, {frame.group}, {args.network}",
                        sam,
                        space,
                        psa,
                        sources=["edges", "sam"],
                        outside=["keep"],
                    )
                )
    else:
        space = STREETS
        seeds = range(args.start, args.start + args.images)
        items = [street(seed, "streets", segmenter) for seed in tqdm(seeds, desc="refining")]
    if args.data == "openset":
        for name in args.held:
            held = space.names.index(name)
            blind = Without(segmenter, held).eval()

            def refine(
                item: Refined, name: str = name, blind: torch.nn.Module = blind
            ) -> tuple[np.ndarray, Connectivities, np.ndarray]:
                found = street(int(item.name), f"without {name}", blind)
                return found.steps["sam, ignore"]

            results[name] = measure_open_set(items, held, refine, encoder, variants, args.seeds)
        print(show(results, ("its area dropped", "other area dropped")))
    else:
        bases: dict[str, Any] = {"raw": lambda item: (item.label, None, item.confidence)}
        for step in items[0].steps:
            bases[f"PSA ({step})"] = lambda item, step=step: item.steps[step]
        bases = {name: of for name, of in bases.items() if not args.only or name in args.only}
        results = measure(items, bases, encoder, space, variants, args.seeds)
        if args.data == "streets" and not args.only:
            selected = [
                seco.select_confident(
                    torch.from_numpy(item.label.astype(np.int64)), torch.from_numpy(item.confidence)
                ).numpy()
                for item in items
            ]
            pairs = zip(selected, items, strict=True)
            selection = quality([confusion(label, item.truth, space) for label, item in pairs])
            results["streets"] = {"selection": selection} | results["streets"]
            flips = measure_flips(items, encoder, space, variants, args.seeds)
            results["streets, true labels with flips"] = flips
        print(show(results))
    if args.out:
        write_record(
            args.out,
            "examples/measure_scc.py",
            started=started,
            hidden=args.folder,
            images=len(items),
            encoder=args.encoder,
            crop_layers=args.crop_layers,
            settings={name: dataclasses.asdict(one.settings) for name, one in variants.items()},
            results=results,
        )


if __name__ == "__main__":
    main()
