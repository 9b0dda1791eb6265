"""Today's practice with SAM against ours, stage by stage, same model, image and thresholds.

    python tests/benchmarks/bench_stages.py --models tiny vit_b --out docs/results/bench_stages.json
    python tests/benchmarks/bench_stages.py --device cuda --models vit_b vit_l vit_h

Stages: the encoder with what prepares its input; "segment everything" on the encoded image; a
prompt for every component of things, with what paints their masks; the vote of the regions. For
practice that is SamAutomaticMaskGenerator, SamPredictor.predict per component, and numpy mask by
mask (tests/benchmarks/practice.py). Practice encodes twice, since its two classes do not share
what they have seen. "ours, accelerated" has accelerate_sam's encoder, with its defaults.

All but the tiny SAM have random weights: their time is that of trained ones as far as it does not
depend on what they see. So the threshold of the predicted IoU is such that the chosen share of
their masks pass it, none is dropped for being unstable, and ours asks the full grid, as practice
does; "adaptive" (points in found masks are left out, our default) means something for the tiny
SAM alone, whose whole call has it. Practice and ours take turns; medians over turns with the range.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from measuring import clock_of, in_turns
from models import MODELS, load_model
from practice import Practice, encoded
from record import common_parser, summary, write_record
from scenes import Size, label_of_boxes
from torch import Tensor
from tqdm import tqdm

import seco
from seco.common.arrays import Array
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.sam.tiny import PROPOSALS

STAGES = ("encode", "segment everything", "prompts", "vote")


class Known:
    """A segmenter that has looked at the one image it is asked about."""

    def __init__(self, segmenter: Any, embedding: seco.Embedding) -> None:
        self.segmenter, self.embedding = segmenter, embedding
        self.device, self.decode = segmenter.device, segmenter.decode

    def encode(self, images: Tensor) -> list[seco.Embedding]:
        return [self.embedding]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.segmenter, name)


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


def of_model(args: Any, name: str, image: Array, label: Array) -> dict[str, Any]:
    device = args.device
    model = load_model(name, args.side).to(device)
    pixels = torch.from_numpy(image).permute(2, 0, 1).to(device)
    labels = torch.from_numpy(label).to(device)
    backends = {
        "ours": seco.load_sam(model),
        "ours, accelerated": seco.accelerate_sam(model, compile=args.compile or False),
    }
    plain = backends["ours"]
    if name == "tiny":
        settings = replace(PROPOSALS, points_per_side=args.points, skip_covered=False)
    else:
        settings = passing(plain, pixels, args.points, args.share)
    practice = Practice(model, STREETS, settings)
    adaptive = replace(settings, skip_covered=True)
    psa = seco.PSASettings(proposals=adaptive if name == "tiny" else settings)
    (embedding,) = plain.encode(pixels[None])
    known = Known(plain, embedding)
    nothing = seco.Regions.from_masks(torch.zeros(0, *label.shape, dtype=torch.bool)).to(device)
    practice.encode(image)
    with encoded(model, embedding.features[0]):
        masks = practice.everything(image)
    regions = seco.propose_regions(pixels, known, settings=settings)

    def everything() -> object:
        with encoded(model, embedding.features[0]):
            return practice.everything(image)

    def refined(sam: object, **chosen: Any) -> Callable[[], Any]:
        img = None if sam is None else pixels
        return lambda: seco.refine_with_details(
            img, labels, sam, label_space=STREETS, **({"settings": psa} | chosen)
        )

    def proposed(settings: seco.ProposalSettings) -> Callable[[], Any]:
        return lambda: seco.propose_regions(pixels, known, settings=settings)

    # Every call with no more than it needs to know.
    calls: dict[str, dict[str, Callable[[], Any]]] = {
        "encode": {
            "practice": lambda: practice.encode(image),
            **{who: lambda sam=sam: sam.encode(pixels[None]) for who, sam in backends.items()},
        },
        "segment everything": {"practice": everything, "ours": proposed(settings)},
        "prompts": {
            "practice": lambda: practice.prompts(label),
            "ours": refined(known, regions=nothing),
        },
        "vote": {
            "practice": lambda: practice.vote(label, masks, []),
            "ours": refined(None, regions=regions),
        },
    }
    if name == "tiny":
        calls["segment everything"]["ours, adaptive"] = proposed(adaptive)
    rows: dict[str, dict[str, Any]] = {}
    for stage, contenders in tqdm(calls.items(), desc=name):
        seconds = in_turns(contenders, device, repeats=args.repeats)
        rows[stage] = _compared(seconds)
    whole = in_turns(
        {who: refined(sam) for who, sam in backends.items()}, device, repeats=args.repeats
    )
    total = sum(rows[stage]["practice, ms"]["median"] for stage in STAGES)
    total += rows["encode"]["practice, ms"]["median"]  # its two classes look each for itself
    rows["whole"] = {
        "practice, ms": {"median": round(total, 3)},
        **{f"{who}, ms": _milliseconds(found) for who, found in whole.items()},
        **{
            f"practice / {who}": round(total / statistics.median(found) / 1000, 2)
            for who, found in whole.items()
        },
    }
    return {
        "model": name,
        "weights": "bundled" if name == "tiny" else "random",
        "side": model.image_encoder.img_size,
        "points per side": args.points,
        "masks found by practice": len(masks),
        "regions found by ours": len(regions),
        "stages": rows,
    }


def _compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    base = statistics.median(seconds["practice"])
    said: dict[str, Any] = {f"{who}, ms": _milliseconds(found) for who, found in seconds.items()}
    for who, found in seconds.items():
        if who != "practice":
            said[f"practice / {who}"] = round(base / statistics.median(found), 2)
    return said


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    return summary([1000 * value for value in seconds])


def main() -> None:
    parser = common_parser(__doc__, repeats=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("tiny",))
    parser.add_argument("--side", type=int, default=1024, help="of images for random weights")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--points", type=int, default=32, help="of the grid, along a side")
    parser.add_argument("--share", type=float, default=0.1, help="of random masks that pass")
    parser.add_argument("--compile", help="mode of torch.compile for the accelerated encoder")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size: Size = tuple(args.size)
    image = street_scene(DEV_SEEDS[0], size=size, domain="camera").image
    label = label_of_boxes(args.components, size)
    results: list[dict[str, Any]] = []
    for number, name in enumerate(args.models, 1):
        with torch.no_grad():
            results.append(of_model(args, name, image, label))
        write_record(
            "bench_stages.py", args.out, device=args.device, unfinished=number < len(args.models),
            size=size, components=args.components, clock=clock_of(args.device), results=results,
        )  # fmt: skip


if __name__ == "__main__":
    main()
