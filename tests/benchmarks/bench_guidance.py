"""What a guided step costs by part, with crops, and against a loop over classes.

    python tests/benchmarks/bench_guidance.py --out docs/results/bench_guidance.json

One image of a street scene whose eight largest classes are labelled, a ``UNet2DModel`` of the size
of the bundled one (untrained: its time does not depend on that) and the bundled street segmenter.
Kinds of steps take turns, so that a slower moment of the machine meets all of them; figures are
medians with the range. The loop over classes is what one writes without the batch: a forward and
backward of the segmenter per class. By size and number of classes: bench_translate.py.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measuring import clock_of, in_turns
from record import common_parser, summary, write_record
from torch import Tensor
from translating import NEXT, STEP, load_diffusion, noised, stepping

import sgg
from seco.demo.scenes import street_scene
from seco.demo.segmenter import load_segmenter
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


def main() -> None:
    parser = common_parser(__doc__, repeats=7)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 256), metavar=("H", "W"))
    parser.add_argument("--classes", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    write_record(
        "bench_guidance.py", options.out, device=options.device, clock=clock_of(options.device),
        results={"steps": steps(options)}, seeds="street scenes from 0 on; 0 of noise",
    )  # fmt: skip


if __name__ == "__main__":
    main()
