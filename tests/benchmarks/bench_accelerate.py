"""The image encoder of accelerate_sam against segment_anything's own, same machine, same run.

    python tests/benchmarks/bench_accelerate.py --out docs/results/bench_accelerate.json
    python tests/benchmarks/bench_accelerate.py --device cuda --models vit_b vit_l vit_h

Encoders take their input size (the tiny SAM 256 x 256, the others 1024 x 1024); all but the tiny
one have random weights, so that their embeddings can be compared and their masks cannot. Every
variant is warmed up and then takes turns with the others. Figures are medians over turns with the
range. ``achieved`` counts what the architecture asks for (2 per multiply-add, padding of windows
not computed twice), whoever computes it, and not what a variant happens to do; beside it stands
what torch's counter counts in the original. The peak is bfloat16's: of a known card that of its
data sheet, of other devices the best product of large matrices seen here. Memory is told on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measuring import clock_of, in_turns, peak_megabytes
from models import MODELS, load_model
from record import common_parser, summary, write_record
from roofline import counted_flops, needed_bytes, needed_flops, peak_of
from torch import Tensor, nn
from tqdm import tqdm

from seco.common.numbers import plain
from seco.demo import street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.sam.accelerated_encoder import AcceleratedEncoder
from seco.sam.inputs import prepare_images

BASE = "stock, float32"  # always the first
TIMES = {"process": "CPU ms per image", "wall": "ms per image"}
Encoder = Callable[[Tensor], Tensor]


def variants(args: argparse.Namespace, encoder: Any) -> dict[str, Callable[[], Encoder]]:
    """What is compared, and how to make it; in the order of importance, for want of time."""

    def ours(dtype: torch.dtype, kinds: str, compile: bool | str = False) -> Callable[[], Encoder]:
        everywhere, in_windows = kinds.split("/")
        return lambda: AcceleratedEncoder(
            encoder,
            dtype=dtype,
            global_attention=everywhere,
            window_attention=in_windows,
            compile=compile,
        )

    def stock_in_half() -> Encoder:
        half = copy.deepcopy(encoder).bfloat16()
        return lambda images: half(images.bfloat16())

    full, half = torch.float32, torch.bfloat16
    made: dict[str, Callable[[], Encoder]] = {
        BASE: lambda: encoder,
        "ours, float32, bias/bias": ours(full, "bias/bias"),
    }
    for kinds in args.attention:
        made[f"ours, bfloat16, {kinds}"] = ours(half, kinds)
    made["stock, bfloat16"] = stock_in_half
    for mode in args.compile:
        for kinds in args.compiled_attention:
            made[f"ours, bfloat16, {kinds}, {mode}"] = ours(half, kinds, mode)
    return made


def images_for(encoder: Any, batch: int, device: torch.device) -> Tensor:
    """Generated scenes of half the encoder's height, padded, as a user's would come in."""
    side = encoder.img_size
    scenes = [street_scene(seed, size=(256, 512)).image for seed in DEV_SEEDS[:batch]]
    pixels = torch.stack([torch.from_numpy(scene) for scene in scenes]).permute(0, 3, 1, 2)
    wide = prepare_images(pixels, (side // 2, side), device=device)
    return nn.functional.pad(wide, (0, 0, 0, side - side // 2))


def compare(
    args: argparse.Namespace, name: str, encoder: Any, batch: int, deadline: float
) -> dict[str, Any]:
    """All variants of one model at one batch size, in turns."""
    images = images_for(encoder, batch, args.device)
    ready: dict[str, Encoder] = {}
    rows: dict[str, dict[str, Any]] = {}
    reference = torch.empty(0)
    for label, make in tqdm(variants(args, encoder).items(), desc=f"{name}, batch {batch}"):
        if time.perf_counter() > deadline and label != BASE:
            rows[label] = {"skipped": "out of time"}
            continue
        start = time.perf_counter()
        try:
            made = make()
            for _ in range(args.warm_up):
                found = made(images).float().cpu()
        except Exception as error:  # what does not run on a machine is a result too
            rows[label] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
            continue
        reference = found if label == BASE else reference
        rows[label] = {
            "warm-up, s": round(time.perf_counter() - start, 1),
            **differences(found, reference),
        }
        ready[label] = made
    calls = {label: partial(made, images) for label, made in ready.items()}
    seconds = in_turns(calls, args.device, repeats=args.repeats, warm_up=0)
    flops, base = needed_flops(encoder), statistics.median(seconds[BASE])
    for label, spent in seconds.items():
        median = statistics.median(spent) / batch
        rows[label] |= {
            TIMES[clock_of(args.device)]: summary([1000 * value / batch for value in spent]),
            "images/s": plain(1 / median, 3),
            "times as fast as stock": round(base / batch / median, 2),
            "achieved TFLOP/s": round(flops / median / 1e12, 3),
            "share of the bfloat16 peak": round(flops / median / args.peak.flops, 3),
        }
        if args.device.type == "cuda":
            rows[label]["peak MB"] = peak_megabytes(calls[label], args.device)
    moved, peak = needed_bytes(encoder, batch) / batch, args.peak
    return {
        "model": name,
        "weights": "bundled" if name == "tiny" else "random",
        "side": encoder.img_size,
        "batch": batch,
        "GFLOP per image": round(flops / 1e9, 1),
        "GFLOP per image, counted in the original": round(counted_flops(encoder) / 1e9, 1),
        "MB per image": round(moved / 1e6, 1),
        "peak": {
            "TFLOP/s": round(peak.flops / 1e12, 3),
            "GB/s": round(peak.bandwidth / 1e9, 1),
            "source": peak.source,
        },
        "roofline, ms per image": {
            "FLOPs at the peak": round(1000 * flops / peak.flops, 3),
            "bytes at the bandwidth": round(1000 * moved / peak.bandwidth, 3),
        },
        "variants": rows,
    }


def differences(found: Tensor, reference: Tensor) -> dict[str, float]:
    """Of an embedding from stock's in float32."""
    apart = (found - reference).abs()
    return {
        "largest difference": float(f"{apart.max():.3g}"),
        "mean difference": float(f"{apart.mean():.3g}"),
        "relative difference": float(f"{apart.norm() / reference.norm():.3g}"),
    }


def main() -> None:
    parser = common_parser(__doc__, repeats=None)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("tiny", "vit_b"))
    parser.add_argument("--side", type=int, default=1024, help="of images for random weights")
    parser.add_argument("--batch", type=int, nargs="+", help="CPU: 1; GPU: 1 and 4")
    parser.add_argument("--attention", nargs="+", help="everywhere/in windows, as bias/channels")
    parser.add_argument("--compile", nargs="*", help="modes; CPU: none; GPU: reduce-overhead")
    parser.add_argument("--compiled-attention", nargs="+", default=("flex/channels", "bias/bias"))
    parser.add_argument("--warm-up", type=int, help="CPU: 1; GPU: 3")
    parser.add_argument("--minutes", type=float, default=7.0, help="then no variant is begun")
    args = parser.parse_args()
    on_gpu = args.device.type == "cuda"
    usual = {
        "batch": ([1], [1, 4]),
        "attention": (["bias/bias"], ["bias/bias", "channels/channels", "channels/bias"]),
        "compile": ([], ["reduce-overhead"]),
        "repeats": (5, 20),
        "warm_up": (1, 3),
    }
    for key, both in usual.items():
        if getattr(args, key) is None:
            setattr(args, key, both[on_gpu])
    torch.set_num_threads(args.threads)
    args.peak = peak_of(args.device)
    runs = [(model, batch) for model in args.models for batch in args.batch]
    start, results = time.perf_counter(), []
    for number, (model, batch) in enumerate(runs):
        encoder = load_model(model, args.side).image_encoder.to(args.device)
        left = 60 * args.minutes - (time.perf_counter() - start)
        deadline = time.perf_counter() + left / (len(runs) - number)
        with torch.no_grad():
            results.append(compare(args, model, encoder, batch, deadline))
        del encoder
        gc.collect()
        if on_gpu:
            torch._dynamo.reset()  # compiled code holds weights
            torch.cuda.empty_cache()
        # After every model: what is done is kept, whatever comes.
        write_record(
            "bench_accelerate.py", args.out, device=args.device,
            unfinished=number + 1 < len(runs), clock=clock_of(args.device), results=results,
        )  # fmt: skip


if __name__ == "__main__":
    main()
