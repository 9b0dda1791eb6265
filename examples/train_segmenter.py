"""Train the bundled street segmenters on one domain, and report them on both domains.

    python examples/train_segmenter.py --work WORK --out FILE       # about 20 minutes on 1 core
    python examples/train_segmenter.py --evaluate                   # per-class IoU, both domains

Without ``--out`` the weights go into ``--work``, and ``--evaluate`` is of the bundled ones.

The two of ``sgg.demo``, for scenes of 64 x 128: the source segmenter goes on from the bundled one,
the oracle starts anew, so that nothing but the scenes' classes is common to both.

    python examples/train_segmenter.py --work /tmp/game --heights 64 80 --input 64 128 \\
        --batch 16 --scenes 4000 --start seco/demo/weights/segmenter.safetensors \\
        --steps 1200 --lr 2e-3 --report-heights 64 --out sgg/demo/weights/segmenter.safetensors
    python examples/train_segmenter.py --work /tmp/camera --heights 64 80 --input 64 128 \\
        --batch 16 --scenes 4000 --domain camera --steps 3000 --seed 1 \\
        --report-heights 64 --out sgg/demo/weights/oracle.safetensors

Killed at any moment, the same command goes on from the last checkpoint. Only ``TRAIN_SEEDS`` are
trained on; the table is of ``TEST_SEEDS`` (``--dev`` for ``DEV_SEEDS``).

The bundled weights are from one run of 2,600 steps in which blur, noise and wider colour jitter
were added to the augmentation after step 600, and the scenes rendered anew after step 1,200, when
their layout had changed a little.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from measuring.training import new_segmenter
from safetensors.torch import save_file
from torch.nn import functional as F
from tqdm import tqdm

from seco.demo import STREETS, scenes, segmenter
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS, TRAIN_SEEDS, street_scene

CHUNK = 125  # scenes per cached file


def render_chunk(seeds: range, path: Path, domain: scenes.Domain, heights: tuple[int, int]) -> None:
    """Render scenes of random height and store one or two crops of the lowest height of each."""
    low, high = heights
    images, labels = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 99])
        height = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        scene = street_scene(seed, size=(height, 2 * height), domain=domain)
        for _ in range(1 if height < 300 else 2):
            top = rng.integers(0, height - low + 1)
            left = rng.integers(0, 2 * (height - low) + 1)
            window = np.s_[top : top + low, left : left + 2 * low]
            images.append(scene.image[window])
            labels.append(scene.label[window])
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, images=np.stack(images), labels=np.stack(labels))
    os.replace(partial, path)


def crops(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """All training crops: images (N, 3, h, w) and labels (N, h, w), uint8."""
    count = options.scenes
    chunks = {
        options.work / f"crops-{a:05d}.npz": TRAIN_SEEDS[a : min(a + CHUNK, count)]
        for a in range(0, count, CHUNK)
    }
    missing = {path: seeds for path, seeds in chunks.items() if not path.exists()}
    with ProcessPoolExecutor(options.threads) as pool:
        jobs = [
            pool.submit(render_chunk, seeds, path, options.domain, tuple(options.heights))
            for path, seeds in missing.items()
        ]
        for job in tqdm(jobs, desc="rendering", unit="chunk", disable=not jobs):
            job.result()
    loaded = [np.load(path) for path in chunks]
    images = np.concatenate([file["images"] for file in loaded])
    labels = np.concatenate([file["labels"] for file in loaded])
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def augment(
    images: torch.Tensor, labels: torch.Tensor, size: tuple[int, int], rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random window of a size, mirror, colour jitter, blur and noise."""
    height, width = size

    def uniform(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(images), channels, 1, 1, generator=rng)

    top = int(torch.randint(images.shape[-2] - height + 1, (), generator=rng))
    left = int(torch.randint(images.shape[-1] - width + 1, (), generator=rng))
    window = np.s_[..., top : top + height, left : left + width]
    pixels, targets = images[window].float() / 255, labels[window].long()
    mirrored = torch.rand(len(images), generator=rng) < 0.5
    pixels[mirrored] = pixels[mirrored].flip(-1)
    targets[mirrored] = targets[mirrored].flip(-1)

    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * uniform(0.2, 1.3)
    pixels = pixels * uniform(0.85, 1.15, channels=3)
    pixels = 0.5 + (pixels - 0.5) * uniform(0.5, 1.25) + uniform(-0.2, 0.15)
    pixels = pixels.clamp(0, 1) ** uniform(-0.5, 0.5).exp()
    sigma = 0.3 + 1.3 * float(torch.rand((), generator=rng))
    kernel = torch.exp(-0.5 * (torch.arange(-4.0, 5.0) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 9)
    blurred = F.conv2d(pixels, kernel, padding=(0, 4), groups=3)
    blurred = F.conv2d(blurred, kernel.transpose(2, 3), padding=(4, 0), groups=3)
    pixels = torch.where(uniform(0, 1) < 0.5, blurred, pixels)
    for scale, strength in ((1, 0.08), (3, 0.08), (12, 0.06)):
        shape = (len(images), 1 if scale > 1 else 3, height // scale, width // scale)
        noise = F.interpolate(torch.randn(shape, generator=rng), size, mode="bilinear")
        pixels = pixels + noise * uniform(0, strength)
    return pixels.clamp(0, 1), targets


def train(options: argparse.Namespace) -> None:
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    images, labels = crops(options)
    share = torch.bincount(labels.flatten(), minlength=STREETS.num_classes) / labels.numel()
    weight = (share + 0.003).pow(-0.3)
    weight /= (weight * share).sum()

    rng = torch.Generator().manual_seed(options.seed)
    model = new_segmenter(options.seed, STREETS.num_classes)
    if options.start is not None:
        model.load_state_dict(segmenter.load_segmenter(options.start).state_dict())
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=1e-2)
    checkpoint, first = work / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        rng.set_state(saved["rng"])
        first = saved["step"]

    bar = tqdm(range(first, options.steps), initial=first, total=options.steps, desc="training")
    mean_loss = 0.0
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = (
                options.lr * min(1.0, (step + 1) / 200) * (1 - step / options.steps) ** 0.9
            )
        chosen = torch.randint(len(images), (options.batch,), generator=rng)
        pixels, targets = augment(images[chosen], labels[chosen], tuple(options.input), rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(pixels.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), targets, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean_loss += 0.02 * (float(loss.detach()) - mean_loss) if step else float(loss.detach())
        bar.set_postfix(loss=f"{mean_loss:.3f}", refresh=False)
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            state = {
                "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "rng": rng.get_state(), "step": step + 1,
            }  # fmt: skip
            torch.save(state, checkpoint.with_suffix(".partial"))
            os.replace(checkpoint.with_suffix(".partial"), checkpoint)
    weights = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial = options.out.with_suffix(".partial")
    save_file(weights, partial)
    os.replace(partial, options.out)


def evaluate(
    weights: Path | None, seeds: range, domain: scenes.Domain, size: tuple[int, int]
) -> tuple[np.ndarray, dict[str, float]]:
    """IoU per class (percent), and what the confidence says about the errors."""
    model, count = segmenter.load_segmenter(weights), STREETS.num_classes
    confusion = np.zeros((count, count), np.int64)
    right, wrong = [], []
    for seed in tqdm(seeds, desc=f"{domain} {size[0]}x{size[1]}", leave=False):
        scene = street_scene(seed, size=size, domain=domain)
        labels, confidence = segmenter.predict(model, scene.image[None])
        pair = scene.label.astype(np.int64) * count + labels[0]
        confusion += np.bincount(pair.ravel(), minlength=count * count).reshape(count, count)
        good = labels[0] == scene.label
        right.append(confidence[0][good].mean())
        wrong.append(confidence[0][~good].mean() if (~good).any() else np.nan)
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    extra = {
        "accuracy": 100 * hit.sum() / confusion.sum(),
        "confidence where right": float(np.mean(right)),
        "confidence where wrong": float(np.nanmean(wrong)),
    }
    return 100 * hit / np.maximum(union, 1), extra


def report(weights: Path | None, seeds: range, heights: list[int]) -> None:
    columns = [(d, (h, 2 * h)) for h in heights for d in ("game", "camera")]
    results = [evaluate(weights, seeds, domain, size) for domain, size in columns]
    print(f"{'':24}" + "".join(f"{d} {s[0]:<8}" for d, s in columns))
    for k, name in enumerate(STREETS.names):
        print(f"{name:24}" + "".join(f"{iou[k]:<12.1f}" for iou, _ in results))
    print(f"{'mIoU':24}" + "".join(f"{iou.mean():<12.1f}" for iou, _ in results))
    for key in results[0][1]:
        print(f"{key:24}" + "".join(f"{extra[key]:<12.3f}" for _, extra in results))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=Path("segmenter-work"), help="cache, checkpoint"
    )
    parser.add_argument("--out", type=Path, help="weights file")
    parser.add_argument("--domain", choices=("game", "camera"), default="game")
    parser.add_argument(
        "--heights", type=int, nargs=2, default=(208, 560), metavar=("LOW", "HIGH"),
        help="of the scenes, twice as wide; crops of the lowest are kept",
    )  # fmt: skip
    parser.add_argument(
        "--input", type=int, nargs=2, default=(192, 384), metavar=("H", "W"),
        help="cut from the crops anew in every step",
    )  # fmt: skip
    parser.add_argument("--start", type=Path, help="weights to start from")
    parser.add_argument("--report-heights", type=int, nargs="+", default=(256, 512))
    parser.add_argument("--scenes", type=int, default=3000, help="how many of TRAIN_SEEDS")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate", action="store_true", help="only print the table")
    parser.add_argument("--dev", action="store_true", help="table of DEV_SEEDS, not TEST_SEEDS")
    parser.add_argument("--count", type=int, default=300, help="how many scenes in the table")
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    if not options.evaluate:
        options.out = options.out or options.work / segmenter.WEIGHTS
        train(options)
    seeds = (DEV_SEEDS if options.dev else TEST_SEEDS)[: options.count]
    report(options.out, seeds, options.report_heights)


if __name__ == "__main__":
    main()
