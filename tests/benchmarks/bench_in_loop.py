"""What regions that travel with an image cost, from their file to the refined label of a crop.

    python tests/benchmarks/bench_in_loop.py --out docs/results/bench_in_loop.json

Medians with the range; on one thread of a CPU the time that the process ran (other jobs may share
the machine). The crop is half as wide as an image resized to half its height and width, flipped.
What a data loader does (read, move) and the building run on the CPU, the calls on ``--device``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import clock_of, in_turns
from record import common_parser, summary, write_record
from scenes import Size, crowded_regions

import seco
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict

CPU = torch.device("cpu")


def measured(
    work: Callable[[], Any], repeats: int, device: torch.device = CPU
) -> tuple[dict[str, float], Any]:
    (seconds,) = in_turns({"": work}, device, repeats=repeats).values()
    return summary([1000 * value for value in seconds], digits=4), work()


def of_regions(
    regions: seco.Regions, side: int, repeats: int, device: torch.device
) -> dict[str, object]:
    image = street_scene(DEV_SEEDS[0], size=(side, side), domain="camera").image
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    label, confidence = (found.to(device) for found in predict(load_segmenter(), batch))
    weight = torch.full(label.shape, 0.7, device=device)
    moving: dict[str, Any] = {
        "resize": (side, 2 * side), "crop": (0, side // 2, side, side), "flip": "horizontal",
    }  # fmt: skip
    out: dict[str, object] = {"regions": len(regions), "atoms": regions.members.shape[1] - 1}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.npz"
        regions.save(path)
        out["file, kB"] = round(path.stat().st_size / 1000)
        out["read, ms"], (whole, table) = measured(lambda: seco.read_region_map(path), repeats)
    out["move, ms"], moved = measured(lambda: seco.transform_region_map(whole, **moving), repeats)
    out["build, ms"], cropped = measured(lambda: seco.from_region_map(moved, table), repeats)
    there = cropped.to(device)

    def call(**options: Any) -> Callable[[], Any]:
        options |= {"regions": there, "label_space": STREETS, "outside": "keep"}
        return lambda: seco.refine_in_loop(None, label, weight, **options)

    for name, options in {
        "call": {},
        "call with agreement": {"weight": "agreement"},
        "call with confidence": {"confidence": confidence},
    }.items():
        out[f"{name}, ms"] = measured(call(**options), repeats, device)[0]
    return out


def main() -> None:
    parser = common_parser(__doc__, repeats=15)
    parser.add_argument("--height", type=int, default=1024, help="of the image; twice as wide")
    parser.add_argument("--boxes", type=int, default=150, help="over each other, as regions")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size: Size = (args.height, 2 * args.height)
    image = street_scene(DEV_SEEDS[0], size=size, domain="camera").image
    kinds = {
        "found_regions": seco.propose_regions(image, seco.load_sam("tiny")),
        "overlapping_boxes": crowded_regions(args.boxes, size),
    }
    rest = args.height // 2, args.repeats, args.device
    write_record(
        "bench_in_loop.py", args.out, device=args.device, size=size, clock=clock_of(args.device),
        **{name: of_regions(regions, *rest) for name, regions in kinds.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
