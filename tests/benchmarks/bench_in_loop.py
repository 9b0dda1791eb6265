"""What regions that travel with an image cost, from their file to the refined label of a crop.

    python tests/benchmarks/bench_in_loop.py --out docs/results/bench_in_loop.json

One thread, CPU time (other jobs may share the machine), medians with the range. The crop is
512x512 out of an image resized to 512x1024, flipped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench_refine import crowded_regions
from record import summary, write_record

import seco
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict

CROP = {"resize": (512, 1024), "crop": (0, 300, 512, 512), "flip": "horizontal"}


def measured(work: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    result, times = work(), []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return summary(times, digits=4), result


def of_regions(regions: seco.Regions, repeats: int) -> dict[str, object]:
    image = street_scene(DEV_SEEDS[0], size=(512, 512), domain="camera").image
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    label, confidence = predict(load_segmenter(), batch)
    weight = torch.full(label.shape, 0.7)
    out: dict[str, object] = {"regions": len(regions), "atoms": regions.members.shape[1] - 1}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.npz"
        regions.save(path)
        out["file, kB"] = round(path.stat().st_size / 1000)
        out["read, ms"], (whole, table) = measured(lambda: seco.read_region_map(path), repeats)
    out["move, ms"], moved = measured(lambda: seco.transform_region_map(whole, **CROP), repeats)
    out["build, ms"], cropped = measured(lambda: seco.from_region_map(moved, table), repeats)

    def call(**options: Any) -> Callable[[], Any]:
        options |= {"regions": cropped, "label_space": STREETS, "outside": "keep"}
        return lambda: seco.refine_in_loop(None, label, weight, **options)

    out["call, ms"] = measured(call(), repeats)[0]
    out["call with agreement, ms"] = measured(call(weight="agreement"), repeats)[0]
    out["call with confidence, ms"] = measured(call(confidence=confidence), repeats)[0]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (1024, 2048)
    image = street_scene(DEV_SEEDS[0], size=size, domain="camera").image
    found = seco.propose_regions(image, seco.load_sam("tiny"))
    write_record(
        "bench_in_loop.py",
        options.out,
        size=size,
        found_regions=of_regions(found, options.repeats),
        overlapping_boxes=of_regions(crowded_regions(150, size), options.repeats),
    )


if __name__ == "__main__":
    main()
