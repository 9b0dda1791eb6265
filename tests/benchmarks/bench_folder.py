"""Images/s of refining a folder: from files on disk to files on disk, in one process and in more.

    python tests/benchmarks/bench_folder.py --out docs/results/bench_folder.json
    python tests/benchmarks/bench_folder.py --device cuda --model vit_h --accelerate --processes 1

PNG images and labels of generated streets, the labels as a network that knows another look gave
them. "scratch": regions and things with SAM; "prompts": the regions of ``seco regions`` are read
and things are prompted, one pass of the encoder; "regions": the regions are read, no SAM is asked.
The processes are torchrun's, each with ``--threads`` threads (on several GPUs each with its own).
Timed is the job alone (seco.folder.refine_folder), by the clock, from when all processes have
loaded and refined one label to when the last has written its last; every time to an empty folder.
Files may be in the page cache. Only the tiny SAM has trained weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from models import MODELS, load_model
from PIL import Image
from record import common_parser, summary, write_record
from scenes import Size, labelled_scenes
from tqdm import tqdm

import seco
from seco.common.files import write_bytes, write_label
from seco.common.jobs import JobOptions
from seco.common.processes import Processes, local_device
from seco.demo import STREETS
from seco.folder import Refiner, find_inputs, find_regions, refine_folder

KINDS = ("scratch", "prompts", "regions")


def make_inputs(here: Path, images: int, size: Size) -> None:
    """Folders ``images``, ``labels`` and ``regions``, the latter by the tiny SAM."""
    for name in ("images", "labels"):
        (here / name).mkdir()
    for index, (image, label) in enumerate(labelled_scenes(images, size)):
        Image.fromarray(image).save(here / "images" / f"{index:04}.png")
        write_label(here / "labels" / f"{index:04}.png", label, STREETS)
    find_regions(find_inputs(here / "images"), here / "regions", seco.load_sam("tiny"))


def worker(args: argparse.Namespace) -> None:
    """One of torchrun's processes: refine the folder, as often as asked; the first one tells."""
    processes = Processes.join()
    device = torch.device(local_device(str(args.device)))
    sam: Any = None
    if args.worker != "regions":
        model = load_model(args.model).to(device)
        sam = seco.accelerate_sam(model) if args.accelerate else seco.load_sam(model)
    inputs = find_inputs(args.inputs / "images", args.inputs / "labels")
    regions = None if args.worker == "scratch" else args.inputs / "regions"
    refiner = Refiner(sam, STREETS, regions=regions)
    refiner.refine(refiner.read(inputs.files[0], inputs))
    seconds, utilisation = [], []
    for turn in range(args.repeats):
        out = args.inputs / f"out-{turn}"
        processes.gather(None)
        watched = _watch(device) if processes.first else None
        start = time.perf_counter()
        summed = refine_folder(inputs, out, refiner, options=JobOptions(processes=processes))
        processes.gather(None)
        seconds.append(time.perf_counter() - start)
        if watched is not None:
            watched.terminate()
            said = [int(word) for word in watched.communicate()[0].split() if word.isdigit()]
            utilisation += [sum(said) / len(said)] if said else []
        assert len(summed.of("written")) == len(inputs.files), summed
        if processes.first:
            shutil.rmtree(out)
    if processes.first:
        rates = [len(inputs.files) / value for value in seconds]
        told: dict[str, Any] = {"images/s": summary(rates)}
        if utilisation:
            told["GPU at work, %"] = summary(utilisation, digits=0)
        write_bytes(args.inputs / "told.json", json.dumps(told).encode())


def _watch(device: torch.device) -> subprocess.Popen[str] | None:
    """Ask the GPU five times a second how busy it is, where that can be asked."""
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        return None
    asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    return subprocess.Popen(
        ["nvidia-smi", f"--id={device.index or 0}", *asked], stdout=subprocess.PIPE, text=True
    )


def measured(args: argparse.Namespace, kind: str, processes: int, here: Path) -> dict[str, Any]:
    """What the first of so many processes tells."""
    started = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words = ["--worker", kind, "--inputs", str(here), "--device", str(args.device)]
    words += ["--model", args.model, "--threads", str(args.threads), "--repeats", str(args.repeats)]
    words += ["--accelerate"] * args.accelerate
    subprocess.run(
        [sys.executable, *started, __file__, *words],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(args.threads)},
    )
    found: dict[str, Any] = json.loads((here / "told.json").read_bytes())
    return found


def main() -> None:
    parser = common_parser(__doc__, repeats=3)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--accelerate", action="store_true", help="the encoder: accelerate_sam")
    parser.add_argument("--processes", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--inputs", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.worker is not None:
        worker(args)
        return
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        make_inputs(here, args.images, tuple(args.size))
        for kind in tqdm(args.kinds):
            found = {str(n): measured(args, kind, n, here) for n in args.processes}
            one = found[str(args.processes[0])]["images/s"]["median"]
            for told in found.values():
                told["times the first"] = round(told["images/s"]["median"] / one, 2)
            results[kind] = found
    write_record(
        "bench_folder.py", args.out, device=args.device, size=args.size, images=args.images,
        model=args.model, accelerated=args.accelerate, clock="wall", processes=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
