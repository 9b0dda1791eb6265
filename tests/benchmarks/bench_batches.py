"""Translating several images or tiles at once: images/s; and whether tiles show in a large image.

    python tests/benchmarks/bench_batches.py --out docs/results/bench_batches.json

*Images* are as many as there are ``--classes``, each with a label of so many classes: a mixed lot,
translated with SGG in batches of ``--images-per-batch``, as ``sgg translate --images-per-batch``
does. Beside the time stands how full the segmenter's passes of local guidance are: copies of images
in a pass, of ``max_copies``. *Tiles* are a quarter of an image, which the denoiser sees unguided in
``--tiles-per-batch``. Both with an untrained denoiser and segmenter of the bundled ones' sizes:
their time does not depend on training. What is compared takes turns; medians with the range.

*Seams*: scenes of 128 x 256 by the bundled diffusion model of 64 x 128 scenes (convolutional, so
that it can see them whole, too), unguided. Where tiles meet, the step from column to column is
compared with that of a typical column. This needs no clock.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from measuring import clock_of, in_turns
from record import common_parser, summary, write_record
from torch import Tensor, nn
from translating import load_diffusion, load_segmenter, patches

import sgg
from seco.common.numbers import plain
from seco.demo.scenes import DEV_SEEDS, street_scene
from sgg.demo.models import load_diffusion as load_bundled


def unit_scenes(count: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Scenes (B, 3, H, W) in 0-1."""
    scenes = [street_scene(seed, size=size, domain="game").image for seed in DEV_SEEDS[:count]]
    pixels = torch.stack([torch.from_numpy(scene) for scene in scenes])
    return pixels.permute(0, 3, 1, 2).float().to(device) / 255


def rates(args: Any, calls: Mapping[str, Callable[[], Any]], count: int) -> dict[str, Any]:
    """Of calls that make so many images."""
    with torch.no_grad():
        seconds = in_turns(calls, args.device, repeats=args.repeats)
    first = next(iter(seconds.values()))
    return {
        name: {
            "times the first": round(statistics.median(first) / statistics.median(spent), 2),
            "images/s": plain(count / statistics.median(spent), 4),
            "ms per image": summary([1000 * value / count for value in spent]),
        }
        for name, spent in seconds.items()
    }


def of_images(args: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Images with labels of different numbers of classes, alone and together."""
    count = len(args.classes)
    model = load_diffusion("small", size, args.device)
    segment = load_segmenter("small", max(args.classes), args.device)
    images = unit_scenes(count, size, args.device)
    labels = torch.cat([patches(classes, size) for classes in args.classes]).to(args.device)
    settings = sgg.GuidanceSettings(max_copies=args.max_copies)
    copies: list[int] = []

    def translated(together: int, guidance: str = "sgg") -> Callable[[], None]:
        def call() -> None:
            for image, label in zip(images.split(together), labels.split(together), strict=True):
                sgg.translate(
                    image, label, model, segment, guidance=guidance, settings=settings,
                    num_inference_steps=args.steps, tile_size=None,
                )  # fmt: skip

        return call

    def count_copies(network: nn.Module, given: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled():  # else it is asked which classes it has
            copies.append(len(given[0]))

    rows = rates(args, {str(n): translated(n) for n in args.images_per_batch}, count)
    watch = segment.model.register_forward_pre_hook(count_copies)
    for together in args.images_per_batch:
        copies.clear()
        translated(together, "local")()
        rows[str(together)]["copies in a pass"] = round(statistics.mean(copies), 2)
    watch.remove()
    return {"size": size, "classes": args.classes, "images_per_batch": rows}


def of_tiles(args: Any, size: tuple[int, int]) -> dict[str, Any]:
    """A large image in overlapping tiles, one and several at a time."""
    tile = size[0] // 2, size[1] // 2
    model = load_diffusion("small", tile, args.device)
    (image,) = unit_scenes(1, size, args.device)
    label = patches(1, size)[0].to(args.device)

    def translated(together: int) -> Callable[[], Any]:
        return lambda: sgg.translate(
            image, label, model, None, guidance="none", num_inference_steps=args.steps,
            tile_size=tile, tiles_per_batch=together,
        )  # fmt: skip

    rows = rates(args, {str(n): translated(n) for n in args.tiles_per_batch}, 1)
    return {"size": size, "tile_size": tile, "tiles_per_batch": rows}


def seams(options: argparse.Namespace) -> dict[str, object]:
    """Whole, in blended tiles, and every tile translated for itself."""
    unet, scheduler = load_bundled()
    diffusion = unet.to(options.device), scheduler
    rows: dict[str, list[float]] = {}
    for seed in DEV_SEEDS[: options.scenes]:
        scene = street_scene(seed, size=(128, 256), domain="game")
        image = torch.from_numpy(scene.image).permute(2, 0, 1).float() / 255
        label = torch.from_numpy(scene.label).long()

        def translated(
            place: tuple[slice, slice],
            image: Tensor = image,
            label: Tensor = label,
            **chosen: Any,
        ) -> Tensor:
            return sgg.translate(
                image[(slice(None), *place)], label[place], diffusion, None,
                guidance="none", strength=0.5, num_inference_steps=8, **chosen,
            )  # fmt: skip

        whole = translated((slice(0, 128), slice(0, 256)))
        blended = translated((slice(0, 128), slice(0, 256)), tile_size=(64, 128))
        quarters = [
            [
                translated(
                    (slice(y, y + 64), slice(x, x + 128)),
                    generator=torch.Generator().manual_seed(x + y),
                )
                for x in (0, 128)
            ]
            for y in (0, 64)
        ]
        alone = torch.cat([torch.cat(row, 2) for row in quarters], 1)
        for name, found in (("whole", whole), ("blended", blended), ("each for itself", alone)):
            change = found.diff(dim=2).abs().mean((0, 1))
            ratio = (change[127] / change.median()).item()
            rows.setdefault(f"{name}: step at the border / typical step", []).append(ratio)
            difference = 255 * (found - whole).abs().mean().item()
            rows.setdefault(f"{name}: mean difference to whole, of 255", []).append(difference)
    return {
        "size": (128, 256),
        "tile_size": (64, 128),
        "scenes": options.scenes,
        **{name: [round(value, 2) for value in values] for name, values in rows.items()},
    }


def main() -> None:
    parser = common_parser(__doc__, repeats=3)
    parser.add_argument("--height", type=int, default=64, help="of images; twice as wide")
    parser.add_argument("--tiled-height", type=int, default=128, help="of what is seen in tiles")
    parser.add_argument(
        "--classes", type=int, nargs="+", default=(1, 2, 19, 4, 8, 3, 13, 6), help="image by image"
    )
    parser.add_argument("--images-per-batch", type=int, nargs="+", default=(1, 4, 8))
    parser.add_argument("--tiles-per-batch", type=int, nargs="+", default=(1, 3, 9))
    parser.add_argument("--max-copies", type=int, default=8, help="see sgg.GuidanceSettings")
    parser.add_argument("--steps", type=int, default=4, help="of an image")
    parser.add_argument("--scenes", type=int, default=3, help="for the seams")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = {
        "images": of_images(args, (args.height, 2 * args.height)),
        "tiles": of_tiles(args, (args.tiled_height, 2 * args.tiled_height)),
        "seams": seams(args),
    }
    write_record(
        "bench_batches.py", args.out, device=args.device, clock=clock_of(args.device),
        steps=args.steps, max_copies=args.max_copies, results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
