"""Translation per step and per image, by size and number of classes, and by how it is guided.

    python tests/benchmarks/bench_translate.py --out docs/results/bench_translate.json
    python tests/benchmarks/bench_translate.py --device cuda --models large --dtype bfloat16

``small`` is a denoiser of the bundled one's size with the bundled street segmenter's architecture,
``large`` one of 114 M parameters, as public pixel-space models for 256 x 256 have, with DeepLab v3
on a ResNet-101; all untrained: their time does not depend on that. Labels are patches of so many
classes all over the image. A step of SGG is a GSG or an LCG step, in turn; it is measured with
whole images; with crops, and by part: bench_guidance.py. Images are translated in ``--steps`` steps
with ``--image-classes`` classes; "one step in 2" is GuidanceSettings(interval=2). Kinds take turns;
medians with the range. ``--dtype``, ``--channels-last`` and ``--compile`` are sgg.translate's, of
steps too: with these, weights are converted once, before. What is compiled needs
``--image-warm-up 1``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from measuring import clock_of, in_turns
from record import common_parser, summary, write_record
from scenes import Size
from torch import Tensor
from tqdm import tqdm
from translating import MODELS, load_diffusion, load_segmenter, noised, patches, stepping

import sgg
from seco.demo.scenes import DEV_SEEDS, street_scene
from sgg.acceleration import accelerated, in_powers_of_two

UNGUIDED, GSG, LCG = "unguided", "GSG", "LCG"


def per_step(args: Any, name: str, size: Size, classes: int, images: Tensor) -> dict[str, Any]:
    model = load_diffusion(name, size, args.device)
    segment = load_segmenter(name, max(args.classes), args.device)
    labels = patches(classes, size).to(args.device)
    asked = in_powers_of_two(segment) if args.compile else segment
    here = model, asked, labels, noised(model, images)
    whole = {"max_copies": args.max_copies}
    calls = {
        UNGUIDED: stepping(*here, "none"),
        GSG: stepping(*here, "global", **whole),
        LCG: stepping(*here, "local", **whole),
    }
    with accelerated(model, segment, **networks(args)):
        found = seconds(args, calls, repeats=args.repeats)
    middle = {kind: statistics.median(spent) for kind, spent in found.items()}
    return {
        "size": size,
        "classes": classes,
        "GSG / unguided": round(middle[GSG] / middle[UNGUIDED], 2),
        "LCG / unguided": round(middle[LCG] / middle[UNGUIDED], 2),
        "LCG / GSG": round(middle[LCG] / middle[GSG], 2),
        "ms": milliseconds(found),
    }


def per_image(args: Any, name: str, size: Size, images: Tensor) -> dict[str, Any]:
    model = load_diffusion(name, size, args.device)
    segment = load_segmenter(name, max(args.classes), args.device)
    unit, labels = (images + 1) / 2, patches(args.image_classes, size).to(args.device)

    def translated(guidance: str, interval: int = 1) -> Callable[[], Tensor]:
        settings = sgg.GuidanceSettings(interval=interval, max_copies=args.max_copies)
        return lambda: sgg.translate(
            unit, labels, model, segment, guidance=guidance, num_inference_steps=args.steps,
            settings=settings, tile_size=None, **networks(args),
        )  # fmt: skip

    calls = {UNGUIDED: translated("none"), GSG: translated("global"), LCG: translated("local")}
    for interval in args.intervals:
        told = "every step" if interval == 1 else f"one step in {interval}"
        calls[f"SGG, {told}"] = translated("sgg", interval)
    found = seconds(args, calls, repeats=args.image_repeats, warm_up=args.image_warm_up)
    base = statistics.median(found[UNGUIDED])
    return {
        "size": size,
        "classes": args.image_classes,
        "steps": args.steps,
        "times unguided": {
            kind: round(statistics.median(spent) / base, 2)
            for kind, spent in found.items()
            if kind != UNGUIDED
        },
        "ms": milliseconds(found),
    }


def seconds(args: Any, calls: Mapping[str, Callable[[], Any]], **turns: int) -> Any:
    """Of every call, in the precision that was asked for."""
    with (
        torch.no_grad(),
        torch.autocast(args.device.type, dtype=args.dtype, enabled=args.dtype is not None),
    ):
        return in_turns(calls, args.device, **turns)


def networks(args: Any) -> dict[str, Any]:
    """How sgg.translate is told to run the networks."""
    return {name: getattr(args, name) for name in ("dtype", "channels_last", "compile")}


def milliseconds(found: Mapping[str, list[float]]) -> dict[str, Any]:
    return {kind: summary([1000 * value for value in spent]) for kind, spent in found.items()}


def main() -> None:
    parser = common_parser(__doc__, repeats=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("small",))
    parser.add_argument(
        "--heights", type=int, nargs="+", default=(256, 512), help="images are twice as wide"
    )
    parser.add_argument("--classes", type=int, nargs="+", default=(1, 8, 19))
    parser.add_argument("--max-copies", type=int, default=19, help="see sgg.GuidanceSettings")
    parser.add_argument("--image-heights", type=int, nargs="+", help="of whole images, as above")
    parser.add_argument("--image-classes", type=int, default=19)
    parser.add_argument("--image-repeats", type=int, default=1)
    parser.add_argument("--image-warm-up", type=int, default=0, help="the steps have warmed up")
    parser.add_argument("--steps", type=int, default=4, help="of an image")
    parser.add_argument("--intervals", type=int, nargs="+", default=(1, 2, 4))
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), help="of autocast")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    args.dtype = None if args.dtype is None else getattr(torch, args.dtype)
    torch.set_num_threads(args.threads)
    results: dict[str, Any] = {}

    def write(*, unfinished: bool) -> None:
        write_record(
            "bench_translate.py", args.out, device=args.device, unfinished=unfinished,
            clock=clock_of(args.device), dtype=str(args.dtype or torch.float32).split(".")[1],
            channels_last=args.channels_last, compiled=args.compile, max_copies=args.max_copies,
            results=results,
        )  # fmt: skip

    for name in args.models:
        results[name] = {"steps": [], "images": []}
        for height in args.heights:
            size = height, 2 * height
            scene = street_scene(DEV_SEEDS[0], size=size, domain="game")
            images = torch.from_numpy(scene.image).permute(2, 0, 1)[None] / 127.5 - 1
            images = images.to(args.device)
            for classes in tqdm(args.classes, desc=f"{name}, {size[0]} x {size[1]}"):
                results[name]["steps"].append(per_step(args, name, size, classes, images))
            if height in (args.image_heights or args.heights):
                results[name]["images"].append(per_image(args, name, size, images))
            write(unfinished=True)
    write(unfinished=False)


if __name__ == "__main__":
    main()
