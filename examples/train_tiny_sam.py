"""Train the tiny SAM that the library bundles, on generated images only.

    python examples/train_tiny_sam.py DIR                          # all of it, about 75 minutes
    python examples/train_tiny_sam.py DIR --minutes 10 --shapes 1000 --streets 0

Images are generated once into DIR/images; DIR/state.pt is written every minute and a run started
again goes on from there; DIR/tiny_sam.safetensors is the result (averaged weights, fp16).
``--minutes`` is the whole training time, over all runs; the learning rate falls linearly.
On a GPU add ``--device cuda`` and, with its speed, more images and larger batches.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from segment_anything.modeling import Sam
from tiny_sam.boxes_first import learn_boxes, sharpen_positions
from tiny_sam.images import generate, load, shapes_image
from tiny_sam.losses import PromptLoss, prompt_loss
from tiny_sam.network import DenseHead, decode_view, encode_views
from tiny_sam.prompts import (
    FRAME,
    Targets,
    View,
    draw_targets,
    embed_prompts,
    random_view,
    surroundings,
)
from torch import nn

from seco.sam.tiny import build_tiny_sam

HELD_OUT_SHAPES = 900_000
AVERAGE_EVERY = 4
ADAMW_SHARE = 0.4  # of Muon's learning rate


@dataclass(frozen=True)
class Stage:
    """Until this fraction of the time: side of the views, images per step, prompts per image.

    A step's images are learnt ``unit`` at a time by several threads of one core each. That beats
    threads inside every operation, which wait for the slowest and suffer when others use the CPU.
    """

    until: float
    side: int
    images: int
    prompts: int
    unit: int


STAGES = (Stage(0.1, 128, 2, 16, 1), Stage(0.42, 128, 4, 12, 2), Stage(1.0, 256, 2, 16, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--shapes", type=int, default=8000, help="generated shape images")
    parser.add_argument("--streets", type=int, default=4000, help="generated street views")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lr", type=float, default=2.2e-3)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights (.safetensors) to start from")
    parser.add_argument("--box-steps", type=int, default=1000, help="without --start: boxes first")
    args = parser.parse_args()

    images = args.folder / "images"
    workers = os.cpu_count() or 1
    sources = []
    for name, count in (("shapes", args.shapes), ("streets", args.streets)):
        if count:
            generate(images, name, count, workers=workers)
            sources.append(load(images, name))
    train(args, sources)


def train(args: argparse.Namespace, sources: list[list[tuple[np.ndarray, np.ndarray]]]) -> None:
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    sam = build_tiny_sam()
    if args.start is None:
        sharpen_positions(sam)
        # Random features as loud as usual would drown the position code in the decoder's attention.
        sam.image_encoder.neck[-1].weight.data.mul_(0.15)
    else:
        sam.load_state_dict({name: part.float() for name, part in load_file(args.start).items()})
    sam = sam.to(device)
    dense = DenseHead(sam.image_encoder.neck[2].out_channels).to(device)
    optimizers = make_optimizers(sam, dense, args.lr)

    def set_rate(rate: float) -> None:
        for optimizer in optimizers:
            share = 1.0 if isinstance(optimizer, torch.optim.Muon) else ADAMW_SHARE
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate * share

    step, elapsed = 0, 0.0
    state_path = args.folder / "state.pt"
    if args.start is None and not state_path.exists():
        found = learn_boxes(sam, optimizers, set_rate, steps=args.box_steps, seed=args.seed)
        print(f"boxes without an image: IoU {found:.3f}", flush=True)
    average = copy.deepcopy(sam).requires_grad_(False)
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        step, elapsed = state["step"], state["elapsed"]
        for module, name in ((sam, "sam"), (dense, "dense"), (average, "average")):
            module.load_state_dict(state[name])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        print(f"going on at step {step}, {elapsed / 60:.1f} min", flush=True)

    def save() -> None:
        write(
            state_path,
            lambda path: torch.save(
                {
                    "step": step,
                    "elapsed": elapsed,
                    "sam": sam.state_dict(),
                    "dense": dense.state_dict(),
                    "average": average.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                },
                path,
            ),
        )
        weights = {k: v.half().contiguous().cpu() for k, v in average.state_dict().items()}
        write(args.folder / "tiny_sam.safetensors", lambda path: save_file(weights, path))

    budget = args.minutes * 60
    log: list[dict[str, float]] = []
    last_save = last_check = elapsed
    clock = time.monotonic()
    torch.set_num_threads(1)
    workers = ThreadPoolExecutor(os.cpu_count() if device.type == "cpu" else 1)
    pool = ThreadPoolExecutor(1)  # the next batch is cut out while this one is learnt

    def prepare(number: int, at: float) -> tuple[Stage, list[tuple[View, Targets]]]:
        stage = next(s for s in STAGES if at / budget < s.until or s is STAGES[-1])
        return stage, draw_batch(sources, stage, np.random.default_rng([args.seed, number]))

    ahead = pool.submit(prepare, step, elapsed)
    while elapsed < budget:
        stage, batch = ahead.result()
        ahead = pool.submit(prepare, step + 1, elapsed)
        progress = min(elapsed / budget, 1.0)
        rate = min((step + 1) / 100, 1.0) * max(1 - progress, 0.01)
        set_rate(rate)
        units = [batch[k : k + stage.unit] for k in range(0, len(batch), stage.unit)]
        if device.type != "cpu":
            units = [batch]
        weight = 0.5 * (1 - progress)
        records = list(
            workers.map(
                lambda k, units=units, weight=weight, step=step: learn(
                    sam,
                    dense,
                    units[k],
                    weight,
                    len(units),
                    device,
                    np.random.default_rng([args.seed, 1, step, k]),
                ),
                range(len(units)),
            )
        )
        record = {key: float(np.mean([r[key] for r in records])) for key in records[0]}
        norm = nn.utils.clip_grad_norm_([*sam.parameters(), *dense.parameters()], 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % AVERAGE_EVERY == 0:
            keep = min(args.ema, (1 + step) / (20 + step)) ** AVERAGE_EVERY
            with torch.no_grad():
                for mean, value in zip(average.parameters(), sam.parameters(), strict=True):
                    mean.lerp_(value, 1 - keep)
        log.append({**record, "grad": float(norm)})
        step += 1
        elapsed, clock = elapsed + time.monotonic() - clock, time.monotonic()
        if step % 50 == 0:
            means = " ".join(f"{k} {np.mean([r[k] for r in log]):.3f}" for k in log[0])
            print(
                f"step {step} {elapsed / 60:.1f} min view {stage.side} lr {args.lr * rate:.1e} "
                f"{means}",
                flush=True,
            )
            log = []
        if elapsed - last_save > 60:
            save()
            last_save = elapsed
        if elapsed - last_check > 180:
            print(f"held out: {check(average, device)}", flush=True)
            last_check = elapsed
    save()
    print(f"held out: {check(average, device)}", flush=True)


def make_optimizers(sam: Sam, dense: DenseHead, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW for everything else."""
    matrices, rest, plain = [], list(dense.parameters()), []
    for name, parameter in sam.named_parameters():
        inner = ("blocks" in name or "transformer" in name) and "rel_pos" not in name
        if inner and parameter.ndim == 2:
            matrices.append(parameter)
        elif parameter.ndim >= 2 and "embed" not in name and "token" not in name:
            rest.append(parameter)
        else:
            plain.append(parameter)
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [{"params": rest, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
            lr=lr,
            betas=(0.9, 0.98),
        ),
    ]


def draw_batch(
    sources: list[list[tuple[np.ndarray, np.ndarray]]], stage: Stage, rng: np.random.Generator
) -> list[tuple[View, Targets]]:
    """Views of random images, sources alternating, with segments to ask for."""
    batch: list[tuple[View, Targets]] = []
    while len(batch) < stage.images:
        source = sources[len(batch) % len(sources)]
        images, levels = source[int(rng.integers(len(source)))]
        k = int(rng.integers(len(images)))
        view = random_view(rng, images[k], levels[k], stage.side)
        targets = draw_targets(rng, view, stage.prompts)
        if targets is not None:
            batch.append((view, targets))
    return batch


def forward(
    sam: Sam,
    batch: list[tuple[View, Targets]],
    device: torch.device,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[torch.Tensor, list[PromptLoss]]:
    images = torch.stack([view.image for view, _ in batch]).to(device)
    images = (images - sam.pixel_mean) / sam.pixel_std
    side = images.shape[-1]
    for image, (view, _) in zip(images, batch, strict=True):  # SAM pads after normalising
        image[:, view.valid[0] :] = 0
        image[:, :, view.valid[1] :] = 0
    with torch.autocast(device.type, torch.bfloat16):
        embeddings = encode_views(sam.image_encoder, images, [view.offset for view, _ in batch])
    losses = []
    for embedding, (view, targets) in zip(embeddings, batch, strict=True):
        sparse, single, where = embed_prompts(
            rng, generator, sam.prompt_encoder, view, targets, device
        )
        with torch.autocast(device.type, torch.bfloat16):
            logits, quality = decode_view(sam, embedding, sparse, view.offset)
        at = where.nan_to_num(0).clamp(0, side - 1).long()
        names = view.levels[:, at[:, 1], at[:, 0]].T[:, :, None, None]
        around = view.levels[:, ::2, ::2][None] == names
        masks = targets.masks
        candidates = torch.cat([masks[:, None] > 0.5, around], 1)
        losses.append(
            prompt_loss(
                logits,
                quality,
                masks.to(device),
                single.to(device),
                candidates.to(device),
                surroundings(targets.boxes, side).to(device),
            )
        )
    return embeddings, losses


def learn(
    sam: Sam,
    dense: DenseHead,
    batch: list[tuple[View, Targets]],
    dense_weight: float,
    parts: int,
    device: torch.device,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One backward pass; a ``parts``-th of the gradient is added to the parameters."""
    torch.set_num_threads(1)  # holds for the calling thread only
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    embeddings, losses = forward(sam, batch, device, rng, generator)
    levels = torch.stack([view.levels[1] for view, _ in batch]).to(device)
    extra = dense(embeddings.float(), levels, generator)
    loss = torch.stack([item.loss for item in losses]).mean()
    ((loss + dense_weight * extra) / parts).backward()
    return {"loss": loss.item(), "dense": extra.item(), **summary(losses)}


def summary(losses: list[PromptLoss]) -> dict[str, float]:
    return {
        "single": torch.cat([item.single_iou for item in losses]).mean().item(),
        "best3": torch.cat([item.best_iou for item in losses]).mean().item(),
        "iou_rmse": torch.cat([item.iou_error for item in losses]).mean().item(),
    }


def check(sam: Sam, device: torch.device) -> str:
    """Tight boxes on unseen shapes, whole frame: mean IoU of the mask and of the box itself."""
    ours, box = [], []
    with torch.inference_mode():
        for k in range(24):
            rng = np.random.default_rng(k)
            sample = shapes_image(HELD_OUT_SHAPES + k, size=FRAME)
            view = View(
                torch.from_numpy(sample.image.copy()).permute(2, 0, 1).float(),
                torch.from_numpy(sample.levels),
                (0, 0),
                (FRAME, FRAME),
            )
            targets = draw_targets(rng, view, 12)
            if targets is None:
                continue
            image = ((view.image.to(device) - sam.pixel_mean) / sam.pixel_std)[None]
            embedding = sam.image_encoder(image)[0]
            sparse, _ = sam.prompt_encoder(points=None, boxes=targets.boxes.to(device), masks=None)
            logits, _ = decode_view(sam, embedding, sparse, (0, 0))
            truth = targets.masks > 0.5
            x = torch.arange(0.5, FRAME, 2)
            x0, y0, x1, y1 = targets.boxes[:, :, None].unbind(1)
            inside = ((x >= y0) & (x < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None, :]
            for found, scores in ((logits[:, 0].cpu() > 0, ours), (inside, box)):
                both = (found & truth).sum((1, 2))
                scores += (both / (found | truth).sum((1, 2)).clamp(min=1)).tolist()
    return f"box prompts {np.mean(ours):.3f}, the box itself {np.mean(box):.3f}"


def write(path: Path, put: Callable[[Path], None]) -> None:
    """Write beside, then rename: a killed run leaves the last whole file."""
    part = path.with_suffix(".part")
    put(part)
    os.replace(part, path)


if __name__ == "__main__":
    main()
