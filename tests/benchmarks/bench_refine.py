"""Today's practice with SAM against ours, by stage and whole: same model, images and thresholds.

    python tests/benchmarks/bench_refine.py --threads 2 --out docs/results/bench_refine.json
    python tests/benchmarks/bench_refine.py --device cuda --models vit_b vit_l --components 100

Labels are what a network that knows another look gives generated streets, those with at least
``--least`` components of things; with ``--components``, road with so many boxes of things. Stages:
the encoder with what prepares its input; "segment everything" on the encoded image; a prompt for
every component, with what paints their masks; the vote of the regions. For practice that is
SamAutomaticMaskGenerator, SamPredictor.predict per component, and numpy mask by mask
(tests/benchmarks/practice.py); practice encodes twice, since its two classes do not share what they
have seen, and its whole is the sum. Ours is refine_pseudo_labels from scratch; "accelerated" has
accelerate_sam's encoder, with its defaults. "Own work" is what is not spent in SAM's networks.

All but the tiny SAM have random weights: their time is that of trained ones as far as it does not
depend on what they see. So the threshold of the predicted IoU is such that the chosen share of
their masks pass it, none is dropped for being unstable, and ours asks the full grid, as practice
does. "adaptive" (points in found masks are left out, our default) means something for the tiny SAM
alone, whose whole call has it. Practice and ours take turns; medians over images and turns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from measuring import clock_of, in_turns, seconds_of
from models import MODELS, load_model
from practice import Practice, encoded
from record import common_parser, summary, write_record
from scenes import Size, crowded_scenes, label_of_boxes
from torch import Tensor
from tqdm import tqdm

import seco
from seco.common.arrays import Array
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.sam.proposal_settings import proposal_settings_of
from seco.sam.tiny import PROPOSALS

WHOLE = "whole"
Calls = dict[str, Callable[[], Any]]
Turns = dict[str, list[float]]


class Known:
    """A segmenter that has looked at the one image it is asked about."""

    def __init__(self, segmenter: Any, embedding: seco.Embedding) -> None:
        self.segmenter, self.embedding = segmenter, embedding
        self.device, self.decode = segmenter.device, segmenter.decode

    def encode(self, images: Tensor) -> list[seco.Embedding]:
        return [self.embedding]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.segmenter, name)


class Timed:
    """A segmenter that adds up the seconds spent in its networks."""

    def __init__(self, segmenter: seco.PromptableSegmenter) -> None:
        self.segmenter, self.device, self.seconds = segmenter, segmenter.device, 0.0
        self.proposal_settings = proposal_settings_of(segmenter)

    def encode(self, *args: Any, **options: Any) -> Any:
        return self._timed(self.segmenter.encode, *args, **options)

    def decode(self, *args: Any, **options: Any) -> Any:
        return self._timed(self.segmenter.decode, *args, **options)

    def _timed(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        seconds, out = seconds_of(lambda: function(*args, **options), self.device)
        self.seconds += seconds
        return out


def passing(sam: Any, image: Tensor, points: int, share: float) -> seco.ProposalSettings:
    """Settings that so large a share of the masks of a model with random weights pass."""
    (embedding,) = sam.encode(image[None])
    grid = seco.ProposalSettings(points_per_side=points, skip_covered=False)
    size = image.shape[-2:]
    rng = torch.Generator().manual_seed(0)
    asked = torch.rand(grid.points_per_batch, 1, 2, generator=rng) * torch.tensor(size[::-1])
    labels = torch.ones(len(asked), 1, dtype=torch.int64)
    answer = sam.decode(embedding, points=asked, point_labels=labels, multimask=True)
    threshold = answer.scores.flatten().quantile(1 - share).item()
    return replace(grid, pred_iou_thresh=threshold, stability_score_thresh=0.0)


class Compared:
    """One model: practice and ours on one image after another.

    Args:
        args: the command's options.
        name: one of ``MODELS``.
        image: one to choose the thresholds of random weights by.
    """

    def __init__(self, args: Any, name: str, image: Array) -> None:
        self.args, self.name, self.trained = args, name, name == "tiny"
        self.model = load_model(name, args.side).to(args.device)
        self.plain = seco.load_sam(self.model)
        self.backends: dict[str, Any] = {
            "ours": self.plain,
            "ours, accelerated": seco.accelerate_sam(self.model, compile=args.compile or False),
        }
        if self.trained:
            self.full = replace(PROPOSALS, points_per_side=args.points, skip_covered=False)
        else:
            self.full = passing(self.plain, self._pixels(image), args.points, args.share)
        self.usual = replace(self.full, skip_covered=self.trained)
        self.practice = Practice(self.model, STREETS, self.full)
        self.seconds: dict[str, Turns] = defaultdict(lambda: defaultdict(list))
        self.found: Turns = defaultdict(list)
        self.own_work: list[float] = []

    def see(self, image: Array, label: Array, warm_up: int) -> None:
        """Measure all stages of one image, and the whole of ours."""
        args, pixels = self.args, self._pixels(image)
        labels = torch.from_numpy(label).to(args.device)
        (embedding,) = self.plain.encode(pixels[None])
        known = Known(self.plain, embedding)
        nothing = seco.Regions.from_masks(torch.zeros(0, *label.shape, dtype=torch.bool))
        seen: dict[str, Any] = {}  # what the full grid has found, for the vote

        def everything() -> None:
            with encoded(self.model, embedding.features[0]):
                seen["masks"] = self.practice.everything(image)

        def full_grid() -> None:
            seen["regions"] = seco.propose_regions(pixels, known, settings=self.full)

        def adaptive() -> None:
            seco.propose_regions(pixels, known, settings=self.usual)

        def refined(sam: object, **chosen: Any) -> Callable[[], Any]:
            settings = seco.PSASettings(proposals=self.usual)
            given = (None if sam is None else pixels), labels, sam
            options = {"label_space": STREETS, "settings": settings} | chosen
            return lambda: seco.refine_with_details(*given, **options)

        # Every call with no more than it needs to know; practice prompts what it has looked at.
        looks = {who: partial(sam.encode, pixels[None]) for who, sam in self.backends.items()}
        ours = {"ours": full_grid, **({"ours, adaptive": adaptive} if self.trained else {})}
        stages: dict[str, Calls] = {
            "encode": {"practice": partial(self.practice.encode, image), **looks},
            "segment everything": {"practice": everything, **ours},
            "prompts": {
                "practice": partial(self.practice.prompts, label),
                "ours": refined(known, regions=nothing.to(args.device)),
            },
            "vote": {
                "practice": lambda: self.practice.vote(label, seen["masks"], []),
                "ours": lambda: refined(None, regions=seen["regions"])(),
            },
            WHOLE: {who: refined(sam) for who, sam in self.backends.items()},
        }  # fmt: skip
        spent = {
            stage: in_turns(calls, args.device, repeats=args.repeats, warm_up=warm_up)
            for stage, calls in stages.items()
        }
        parts = [spent[stage]["practice"] for stage in ("encode", *stages) if stage != WHOLE]
        added = [sum(turn) for turn in zip(*parts, strict=True)]
        spent[WHOLE] = {"practice": added, **spent[WHOLE]}
        for stage, turns in spent.items():
            for who, seconds in turns.items():
                self.seconds[stage][who] += seconds
        timed = Timed(self.plain)
        whole, _ = seconds_of(refined(timed), args.device)
        self.own_work.append(1 - timed.seconds / whole)
        self.found["practice"].append(len(seen["masks"]))
        self.found["ours"].append(len(seen["regions"]))

    def told(self) -> dict[str, Any]:
        """What has been measured."""
        who = "ours, accelerated"
        beside_encoder = np.divide(self.seconds[WHOLE][who], self.seconds["encode"][who]).tolist()
        return {
            "model": self.name,
            "weights": "bundled" if self.trained else "random",
            "side": self.model.image_encoder.img_size,
            "points per side": self.args.points,
            "masks found by practice": summary(self.found["practice"]),
            "regions found by ours": summary(self.found["ours"]),
            "stages": {stage: _compared(turns) for stage, turns in self.seconds.items()},
            "ours: own work, share": summary(self.own_work, digits=4),
            "accelerated: whole / encode": summary(beside_encoder),
        }

    def _pixels(self, image: Array) -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1).to(self.args.device)


def _compared(turns: Turns) -> dict[str, Any]:
    said: dict[str, Any] = {
        f"{who}, ms": summary([1000 * value for value in seconds]) for who, seconds in turns.items()
    }
    for who, seconds in turns.items():
        if who != "practice":
            said[f"practice / {who}"] = summary(np.divide(turns["practice"], seconds).tolist())
    return said


def main() -> None:
    parser = common_parser(__doc__, repeats=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("tiny",))
    parser.add_argument("--side", type=int, default=1024, help="of images for random weights")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--least", type=int, default=30, help="components of things in a label")
    parser.add_argument("--components", type=int, help="one image, so many boxes as its label")
    parser.add_argument("--warm-up", type=int, default=1, help="turns on the first image before")
    parser.add_argument("--points", type=int, default=32, help="of the grid, along a side")
    parser.add_argument("--share", type=float, default=0.1, help="of random masks that pass")
    parser.add_argument("--compile", help="mode of torch.compile for the accelerated encoder")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size: Size = tuple(args.size)
    if args.components is None:
        scenes = crowded_scenes(args.images, size, args.least)
    else:
        image = street_scene(DEV_SEEDS[0], size=size, domain="camera").image
        scenes = [(image, label_of_boxes(args.components, size), args.components)]
    results: list[dict[str, Any]] = []
    for number, name in enumerate(args.models, 1):
        with torch.no_grad():
            compared = Compared(args, name, scenes[0][0])
            for place, (image, label, _) in enumerate(tqdm(scenes, desc=name)):
                compared.see(image, label, 0 if place else args.warm_up)
            results.append(compared.told())
        write_record(
            "bench_refine.py", args.out, device=args.device, unfinished=number < len(args.models),
            size=size, images=len(scenes), components=summary([count for *_, count in scenes]),
            clock=clock_of(args.device), results=results,
        )  # fmt: skip


if __name__ == "__main__":
    main()
