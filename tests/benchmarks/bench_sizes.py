"""Images/s and peak memory of refine_pseudo_labels by size of image and number of components.

    python tests/benchmarks/bench_sizes.py --out docs/results/bench_sizes.json
    python tests/benchmarks/bench_sizes.py --device cuda --models vit_b vit_h --accelerate

The label is road with boxes of things, one component each, on a generated street; things and stuff
from scratch, with the model's own settings of "segment everything". Memory is the peak above the
loaded model and what a small call has left: of torch's allocator on a GPU, resident on a CPU.
``worst`` is a segmenter that takes every component and every point for the same quarter of the
image, at the larger size and number; it is timed once. Models other than the tiny one have random
weights, whose few or many masks are chance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from measuring import clock_of, in_turns, peak_megabytes
from models import MODELS, load_model
from record import common_parser, summary, write_record
from scenes import Size, label_of_boxes
from tqdm import tqdm

import seco
from seco.common.numbers import plain
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.sam.proposal_settings import proposal_settings_of


class SameMask:
    """A segmenter that takes every component for the same large object."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def encode(self, images: torch.Tensor) -> list[seco.Embedding]:
        """Remember the sizes."""
        height, width = images.shape[-2:]
        return [seco.Embedding(None, (height, width)) for _ in images]

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
        asked = boxes if points is None else points
        count = 0 if asked is None else len(asked)
        logits = torch.full((count, 3 if multimask else 1, 128, 256), -8.0, device=self.device)
        logits[:, :, 32:96, 64:192] = 8.0
        scores = torch.ones(logits.shape[:2], device=self.device)
        return seco.MaskLogits(logits, scores, (128.0, 256.0))


def measured(
    sam: seco.PromptableSegmenter,
    size: Size,
    components: int,
    args: Any,
    repeats: int,
    **believed: float,
) -> dict[str, Any]:
    image = street_scene(DEV_SEEDS[0], size=size, domain="camera").image
    pixels = torch.from_numpy(image).permute(2, 0, 1).to(args.device)
    label = torch.from_numpy(label_of_boxes(components, size)).to(args.device)

    proposals = replace(proposal_settings_of(sam), points_per_side=args.points)
    settings = seco.PSASettings(proposals=proposals, **believed)

    def refine(side: int | None = None) -> None:
        part = pixels[:, :side, :side], label[:side, :side]
        seco.refine_pseudo_labels(*part, sam, label_space=STREETS, settings=settings)

    refine(64)
    peak = peak_megabytes(refine, args.device)  # which warms up
    (seconds,) = in_turns({"": refine}, args.device, repeats=repeats, warm_up=0).values()
    middle = summary(seconds, digits=6)["median"]
    return {
        "size": size,
        "components": components,
        "images/s": plain(1 / middle, 3),
        "ms": summary([1000 * value for value in seconds]),
        "peak MB": None if peak is None else round(peak),
    }


def main() -> None:
    parser = common_parser(__doc__, repeats=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("tiny",))
    parser.add_argument("--accelerate", action="store_true", help="the encoder: accelerate_sam")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=(512, 1024), help="heights; twice as wide"
    )
    parser.add_argument("--points", type=int, default=32, help="of the grid, along a side")
    parser.add_argument("--components", type=int, nargs="+", default=(10, 100, 300))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes = [(height, 2 * height) for height in args.sizes]
    results: dict[str, Any] = {}

    def write(*, unfinished: bool) -> None:
        write_record(
            "bench_sizes.py", args.out, device=args.device, unfinished=unfinished,
            clock=clock_of(args.device), accelerated=args.accelerate, results=results,
        )  # fmt: skip

    for name in args.models:
        model = load_model(name).to(args.device)
        sam = seco.accelerate_sam(model) if args.accelerate else seco.load_sam(model)
        results[name] = [
            measured(sam, size, count, args, args.repeats)
            for size in sizes
            for count in tqdm(args.components, desc=f"{name}, {size[0]} x {size[1]}")
        ]
        del model, sam
        write(unfinished=True)
    worst = SameMask(args.device), sizes[-1], max(args.components), args, 1
    results["worst"] = [measured(*worst, thing_agreement=0.0, thing_coverage=0.0)]
    write(unfinished=False)


if __name__ == "__main__":
    main()
