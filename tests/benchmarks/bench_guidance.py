"""What label guidance costs, by part, and whether tiles show in a large image.

    python tests/benchmarks/bench_guidance.py --out docs/results/bench_guidance.json

One image of a street scene whose eight largest classes are labelled, a ``UNet2DModel`` of the size
of the bundled one (untrained: its time does not depend on that) and the bundled street segmenter.
Kinds of steps take turns, so that a slower moment of the machine meets all of them; figures are
medians with the range. The loop over classes is what one writes without the batch: a forward and
backward of the segmenter per class.

Tiles: scenes of 128 x 256 by the bundled diffusion model of 64 x 128 scenes (convolutional, so
that it can see them whole, too), unguided. Where tiles meet, the step from column to column is
compared with that of a typical column.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measuring import clock_of, in_turns
from record import common_parser, summary, write_record
from torch import Tensor
from translating import NEXT, STEP, load_diffusion, noised, stepping

import sgg
from seco.demo.scenes import DEV_SEEDS, street_scene
from seco.demo.segmenter import load_segmenter
from sgg.demo.models import load_diffusion as load_bundled
from sgg.sampling import ddim_step
from sgg.windows import region_windows

MARGINS = (16, 32, 64)


def scene_of_classes(count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first scene with so many classes of at least 20 pixels; the rest of it is unlabelled."""
    for seed in range(1000):
        scene = street_scene(seed, size=size, domain="game")
        labels = torch.from_numpy(scene.label).long()[None]
        pixels = torch.bincount(labels.flatten(), minlength=256)[:255]
        kept = pixels.argsort(descending=True)[:count]
        if pixels[kept].min() < 20:
            continue
        labels[~torch.isin(labels, kept)] = 255
        images = torch.from_numpy(scene.image).permute(2, 0, 1)[None] / 127.5 - 1
        return images, labels
    raise SystemExit(f"--classes: no scene has {count}")


def looped_gradient(images: Tensor, labels: Tensor, segment: sgg.Segmenter) -> Tensor:
    """The local gradient, one class after the other."""
    gradient = torch.zeros_like(images)
    for kind in labels[labels != 255].unique():
        mask = labels == kind
        seen = (images * mask[:, None]).requires_grad_(True)
        target = torch.where(mask, labels, 255)
        with torch.enable_grad():
            loss = F.cross_entropy(segment(seen), target, ignore_index=255, reduction="sum")
        gradient += mask[:, None] * torch.autograd.grad(loss, seen)[0]
    return gradient


@torch.no_grad()
def steps(options: argparse.Namespace) -> dict[str, object]:
    size = tuple(options.size)
    model = load_diffusion("small", size, options.device)
    segment = sgg.Segmenter(load_segmenter().to(options.device), normalization=None)
    images, labels = (x.to(options.device) for x in scene_of_classes(options.classes, size))
    x_t, alphas = noised(model, images), model.alphas_cumprod
    here = model, segment, labels, x_t

    def step_with_loop() -> Tensor:
        prediction = model.predict(x_t, STEP)
        gradient = looped_gradient(prediction.pred_x0, labels, segment)
        return ddim_step(
            x_t, prediction, float(alphas[STEP]), float(alphas[NEXT]),
            gradient=gradient / float(alphas[STEP]) ** 0.5,
        )  # fmt: skip

    batch = {"max_copies": options.classes}
    seen = model.predict(x_t, STEP).pred_x0
    exact = sgg.local_gradient(seen, labels, segment, **batch)
    difference = (looped_gradient(seen, labels, segment) - exact).abs().max() / exact.abs().max()
    calls: dict[str, Callable[[], object]] = {
        "unguided step": stepping(*here, "none"),
        "GSG step": stepping(*here, "global"),
        "LCG step, batched": stepping(*here, "local", **batch),
        "LCG step, loop over classes": step_with_loop,
        "part: denoiser": lambda: model.predict(x_t, STEP),
        "part: global gradient": lambda: sgg.global_gradient(seen, labels, segment),
        "part: local gradient, batched": lambda: sgg.local_gradient(seen, labels, segment, **batch),
        "part: local gradient, loop": lambda: looped_gradient(seen, labels, segment),
        "part: segmenter, one forward": lambda: segment(seen),
        "part: finding regions": lambda: region_windows(labels),
    }
    crops: dict[str, object] = {}
    for margin in MARGINS:
        calls[f"LCG step, margin {margin}"] = stepping(*here, "local", crop_margin=margin, **batch)
        near = sgg.local_gradient(seen, labels, segment, crop_margin=margin, **batch)
        windows = region_windows(labels, margin=margin)
        pixels = sum(h * w * len(group) for (h, w), group in windows.items())
        cosine = F.cosine_similarity(near.flatten(), exact.flatten(), 0)
        crops[f"margin {margin}"] = {
            "pixels, share of whole images": round(pixels / labels.numel() / options.classes, 3),
            "batches": len(windows),
            "cosine to the exact gradient": round(cosine.item(), 4),
        }
    seconds = in_turns(calls, options.device, repeats=options.repeats)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "size": size,
        "classes": options.classes,
        "repeats": options.repeats,
        "largest difference of loop and batch, relative": f"{difference.item():.1e}",
        "ms": {
            name: summary([1000 * value for value in values], digits=2)
            for name, values in seconds.items()
        },
        "LCG step / GSG step": round(middle["LCG step, batched"] / middle["GSG step"], 2),
        **{
            f"LCG step, margin {margin} / GSG step": round(
                middle[f"LCG step, margin {margin}"] / middle["GSG step"], 2
            )
            for margin in MARGINS
        },
        "loop / batched LCG step": round(
            middle["LCG step, loop over classes"] / middle["LCG step, batched"], 2
        ),
        "GSG step / unguided step": round(middle["GSG step"] / middle["unguided step"], 2),
        "SGG (in turn) / unguided step": round(
            (middle["GSG step"] + middle["LCG step, batched"]) / 2 / middle["unguided step"], 2
        ),
        "crops": crops,
    }


def tiles(options: argparse.Namespace) -> dict[str, object]:
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
    parser = common_parser(__doc__, repeats=7)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 256), metavar=("H", "W"))
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=3, help="for the tiles")
    parser.add_argument("--part", choices=("steps", "tiles"), help="only this one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = {"steps": steps, "tiles": tiles}
    results = {name: run(options) for name, run in parts.items() if options.part in (None, name)}
    write_record(
        "bench_guidance.py", options.out, device=options.device, clock=clock_of(options.device),
        results=results, seeds="street scenes from 0 on (steps), from 90000 on (tiles); 0 of noise",
    )  # fmt: skip


if __name__ == "__main__":
    main()
