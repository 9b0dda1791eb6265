"""refine_pseudo_labels against today's practice, same machine, same SAM, same images, same run.

    python tests/benchmarks/bench_refine.py --threads 2 --out docs/results/bench_refine.json

Today's practice is ``SamAutomaticMaskGenerator.generate`` for the regions, ``SamPredictor.predict``
once per component for the things, and a vote mask by mask in numpy (not counted). Both use the
thresholds that fit the tiny SAM; ours asks no points in found masks, its default. Figures are
medians over images with the range; the two take turns image by image, so that a slower moment of
the machine meets both. By stage and for other models: bench_stages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from measuring import clock_of, seconds_of
from practice import Practice
from record import common_parser, summary, write_record
from scenes import Size, crowded_scenes
from tqdm import tqdm

import seco
from seco.demo import STREETS
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
        seconds, out = seconds_of(lambda: function(*args, **options), self.device)
        self.seconds += seconds
        return out


def against_practice(images: int, size: Size, least: int, device: torch.device) -> dict[str, Any]:
    model = load_tiny_sam().to(device)
    sam, practice = Timed(seco.load_sam(model)), Practice(model, STREETS, PROPOSALS)
    rows: dict[str, list[float]] = {}
    scenes = crowded_scenes(images, size, least)
    for number, (image, label, components) in enumerate(tqdm([scenes[0], *scenes])):
        pixels = torch.from_numpy(image).permute(2, 0, 1).to(device)
        labels = torch.from_numpy(label).to(device)

        def refine(pixels: Any = pixels, labels: Any = labels) -> object:
            return seco.refine_pseudo_labels(pixels, labels, sam, label_space=STREETS)

        def prompt(image: Any = image, label: Any = label) -> Any:
            practice.encode(image)
            return practice.prompts(label)

        sam.seconds = 0.0
        ours, _ = seconds_of(refine, device)
        if not number:  # the first image warms up; what is compared with takes its time
            continue
        generate, masks = seconds_of(lambda image=image: practice.everything(image), device)
        predict, things = seconds_of(prompt, device)
        vote, _ = seconds_of(
            lambda label=label, masks=masks, things=things: practice.vote(label, masks, things),
            device,
        )
        for name, value in {
            "components": float(components),
            "ours, s": ours,
            "ours: network, s": sam.seconds,
            "ours: own work, share": 1 - sam.seconds / ours,
            "practice, s": generate + predict,
            "practice: generate, s": generate,
            "practice: predict, s": predict,
            "practice: vote (not counted), s": vote,
            "practice / ours": (generate + predict) / ours,
        }.items():
            rows.setdefault(name, []).append(value)
    return {
        "size": size,
        "images": len(scenes),
        "threads": torch.get_num_threads(),
        **{name: summary(values, digits=4) for name, values in rows.items()},
    }


def main() -> None:
    parser = common_parser(__doc__, repeats=1)
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--least", type=int, default=30, help="components of things in a label")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = against_practice(args.images, tuple(args.size), args.least, args.device)
    write_record(
        "bench_refine.py", args.out, device=args.device, clock=clock_of(args.device),
        results={"refine": found},
    )  # fmt: skip


if __name__ == "__main__":
    main()
