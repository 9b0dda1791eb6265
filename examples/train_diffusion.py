"""Train a diffusion model on unlabelled images of the target domain, for ``sgg.translate``.

    python examples/train_diffusion.py OUT --images FOLDER --height 512 --crop 256 512
    accelerate launch examples/train_diffusion.py OUT --images FOLDER    # several GPUs
    python examples/train_diffusion.py OUT --images FOLDER --init MODEL  # from one that knows more
    python examples/train_diffusion.py OUT --streets 4000 --half         # the bundled demo model

Needs diffusers and accelerate. ``OUT/model`` is the result, a diffusers pipeline folder of the
averaged weights. ``OUT/checkpoint.pt`` is written every minute: the same command, started again
after whatever ended it, goes on from there with the very images and noise that came next.
``OUT/samples.png`` and ``OUT/losses.jsonl`` show how far it is.

What a translation needs is good denoising of images that are noised by a part of the chain, not
samples out of pure noise. So only the first ``--max-t`` of the chain is trained, and with min-SNR
weights: do not translate with a ``strength`` beyond it. The learning rate is constant after its
warm-up and falls to 0 over the last fifth of ``--steps``; ``--steps`` may be changed when a run
goes on.

With few target images begin from a model of related ones: ``--init`` is the diffusers folder of
such a model, as ``OUT/model`` of an earlier run. Its network, schedule and prediction are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from diffusion.crops import Crops, Numbers, list_images, random_crop
from diffusion.losses import BUCKETS, held_out_losses, min_snr_weights, targets
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import sgg
from seco.demo.scenes import DEV_SEEDS, TRAIN_SEEDS, street_scene

SHOWN = 6
STRENGTHS = (0.3, 0.5, 0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder of target images, also below it")
    source.add_argument("--streets", type=int, help="generate this many camera street scenes")
    parser.add_argument("--source", type=Path, help="folder of source images for samples.png")
    parser.add_argument("--init", type=Path, help="diffusers folder to begin from")
    parser.add_argument("--held-out", type=int, default=64, help="images that losses are told of")
    parser.add_argument("--height", type=int, help="scale images to this height before the crop")
    parser.add_argument("--crop", type=int, nargs=2, default=(64, 128), metavar=("H", "W"))
    parser.add_argument("--channels", type=int, nargs="+", default=(32, 64, 96, 128))
    parser.add_argument("--layers", type=int, default=1, help="per block")
    parser.add_argument("--attention", type=int, default=0, help="how many of the deepest blocks")
    parser.add_argument("--schedule", choices=("cosine", "linear"), default="cosine")
    parser.add_argument("--prediction", choices=("v_prediction", "epsilon"), default="v_prediction")
    parser.add_argument("--max-t", type=float, default=0.8, help="part of the chain to train")
    parser.add_argument("--min-snr", type=float, default=5.0, help="gamma of the weights")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8, help="images per step and process")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="bf16")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that read images; by default 8, or one per CPU core, and with --cpu none",
    )
    parser.add_argument("--check-every", type=int, default=500, help="steps")
    parser.add_argument("--half", action="store_true", help="write the result in half precision")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kept = ("channels", "layers", "attention", "schedule", "prediction")
    changed = [f"--{name}" for name in kept if getattr(args, name) != parser.get_default(name)]
    if args.init is not None and changed:
        parser.error(f"{', '.join(changed)}: the model of --init has its own")
    if args.workers is None:  # a crop follows from its number, whoever reads it
        args.workers = 0 if args.cpu else min(8, os.cpu_count() or 1)
    accelerator = Accelerator(mixed_precision=args.precision, cpu=args.cpu)
    folder, shown = args.images, args.source
    args.out.mkdir(parents=True, exist_ok=True)
    if args.streets:
        folder, shown = args.out / "camera", args.out / "game"
        if accelerator.is_main_process:
            render(folder, "camera", TRAIN_SEEDS[: args.streets], tuple(args.crop))
            render(shown, "game", DEV_SEEDS[:SHOWN], tuple(args.crop))
    accelerator.wait_for_everyone()
    paths = list_images(folder)
    if len(paths) <= args.held_out:
        raise SystemExit(f"{folder}: expected more than {args.held_out} images, got {len(paths)}")
    train(args, accelerator, paths, list_images(shown) if shown else None)


def render(folder: Path, domain: str, seeds: range, size: tuple[int, int]) -> None:
    """Write street scenes as PNG files, those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in tqdm(seeds, desc=f"drawing {domain} scenes"):
        path = folder / f"{seed:06}.png"
        if not path.exists():
            part = path.with_suffix(".part")
            Image.fromarray(street_scene(seed, size=size, domain=domain).image).save(part, "PNG")
            os.replace(part, path)


def make_unet(args: argparse.Namespace) -> UNet2DModel:
    if args.init is not None:
        return UNet2DModel.from_pretrained(args.init, subfolder="unet").float()
    count = len(args.channels)
    deep = [k >= count - args.attention for k in range(count)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(args.seed)
        return UNet2DModel(
            sample_size=tuple(args.crop),
            block_out_channels=tuple(args.channels),
            layers_per_block=args.layers,
            down_block_types=tuple("AttnDownBlock2D" if d else "DownBlock2D" for d in deep),
            up_block_types=tuple("AttnUpBlock2D" if d else "UpBlock2D" for d in reversed(deep)),
            add_attention=args.attention > 0,
            norm_num_groups=8,
            resnet_time_scale_shift="scale_shift",
        )


def make_scheduler(args: argparse.Namespace) -> DDPMScheduler:
    if args.init is not None:
        return DDPMScheduler.from_pretrained(args.init, subfolder="scheduler")
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2" if args.schedule == "cosine" else "linear",
        prediction_type=args.prediction,
        clip_sample=True,
    )


def train(
    args: argparse.Namespace,
    accelerator: Accelerator,
    paths: list[Path],
    source: list[Path] | None,
) -> None:
    device, size = accelerator.device, (int(args.crop[0]), int(args.crop[1]))
    learnt, unseen = paths[: -args.held_out], paths[-args.held_out :]
    rng = np.random.default_rng([args.seed, 1])
    held_out = torch.stack([random_crop(p, size, args.height, rng) for p in unseen])
    shown = [random_crop(p, size, args.height, rng) for p in (source or unseen)[:SHOWN]]

    scheduler, unet = make_scheduler(args), make_unet(args)
    unet = unet.to(device, memory_format=torch.channels_last)
    average = EMAModel(
        unet.parameters(),
        decay=args.ema,
        use_ema_warmup=True,
        power=0.75,
        model_cls=UNet2DModel,
        model_config=unet.config,
    )
    average.to(device)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=args.lr, weight_decay=1e-2)
    checkpoint, first = args.out / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        unet.load_state_dict(state["unet"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        accelerator.print(f"going on at step {first}")
    model, optimizer = accelerator.prepare(unet, optimizer)

    rank, world = accelerator.process_index, accelerator.num_processes
    loader = DataLoader(
        Crops(learnt, size, args.height, args.seed),
        batch_sampler=Numbers(first, args.steps, args.batch, rank, world),
        num_workers=args.workers,
    )
    limit = max(1, round(args.max_t * len(scheduler.alphas_cumprod)))

    def save(step: int) -> None:
        state = {
            "unet": unet.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        part = checkpoint.with_suffix(".part")
        accelerator.save(state, part)
        os.replace(part, checkpoint)

    def check(step: int, loss: float) -> None:
        average.store(unet.parameters())
        average.copy_to(unet.parameters())
        unet.eval()
        found = held_out_losses(unet, scheduler, held_out.to(device))
        record = {
            "step": step,
            "training": round(loss, 5),
            "held_out": [round(x, 5) for x in found],
        }
        with open(args.out / "losses.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
        where = " ".join(f"{(k + 1) / BUCKETS:.2f}T {x:.4f}" for k, x in enumerate(found))
        accelerator.print(f"step {step}: held-out noise MSE up to {where}")
        write_samples(args.out / "samples.png", unet, scheduler, shown)
        write_model(args.out / "model", unet, scheduler, half=args.half)
        unet.train()
        average.restore(unet.parameters())

    mean, saved_at = 0.0, time.monotonic()
    bar = tqdm(
        loader,
        initial=first,
        total=args.steps,
        desc="training",
        mininterval=5,
        disable=not accelerator.is_main_process,
    )
    for step, images in enumerate(bar, first):
        falling = min(1.0, 5 * (1 - step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / args.warmup) * falling
        generator = torch.Generator().manual_seed((args.seed * world + rank) << 40 | step)
        noise = torch.randn(images.shape, generator=generator).to(device)
        # one t of every part of the chain, so that losses of small batches differ less
        offsets = torch.rand((), generator=generator) + torch.arange(len(images))
        t = (offsets / len(images) % 1 * limit).long().to(device)
        images = images.to(device, memory_format=torch.channels_last)
        output = model(scheduler.add_noise(images, noise, t), t).sample
        error = (output.float() - targets(scheduler, images, noise, t)).square().mean((1, 2, 3))
        loss = (min_snr_weights(scheduler, t, args.min_snr) * error).mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(unet.parameters())
        mean += (loss.item() - mean) * max(0.01, 1 / (step - first + 1))
        bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
        if accelerator.is_main_process:
            done = step + 1
            if time.monotonic() - saved_at > 60 or done == args.steps:
                save(done)
                saved_at = time.monotonic()
            if done % args.check_every == 0 or done == args.steps:
                check(done, mean)


def write_samples(path: Path, unet: UNet2DModel, scheduler: Any, images: list[Tensor]) -> None:
    """A picture: in each row an image, and its translations of rising strength."""
    stack = (torch.stack(images) + 1) / 2
    label = torch.full((len(stack), *stack.shape[-2:]), 255)
    columns = [stack]
    for strength in STRENGTHS:
        columns.append(
            sgg.translate(
                stack,
                label,
                (unet, scheduler),
                None,
                guidance="none",
                strength=strength,
                num_inference_steps=20,
                generator=torch.Generator().manual_seed(0),
            )
        )
    grid = torch.cat(columns, -1).permute(0, 2, 3, 1).flatten(0, 1)
    part = path.with_suffix(".part")
    Image.fromarray((grid * 255).round().to(torch.uint8).numpy()).save(part, "PNG")
    os.replace(part, path)


def write_model(folder: Path, unet: UNet2DModel, scheduler: Any, *, half: bool) -> None:
    """Write a diffusers pipeline folder beside, then put it in the place of the last one."""
    copy = UNet2DModel.from_config(unet.config)
    copy.load_state_dict(unet.state_dict())
    part, old = folder.with_suffix(".part"), folder.with_suffix(".old")
    for stale in (part, old):
        shutil.rmtree(stale, ignore_errors=True)
    DDPMPipeline(copy.half() if half else copy, scheduler).save_pretrained(part)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    main()
