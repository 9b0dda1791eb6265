"""Self-training with seco in the loop, in the manner of DAFormer: teacher, class mixing, weights.

    python examples/self_train.py OUT                      # generated scenes, bundled models
    python examples/self_train.py OUT --seco off           # the same without the call
    python examples/self_train.py OUT --source gta/images gta/labels --target city/train \\
        --segmenter my_models:segmenter --crop 512 512 --steps 40000 \\
        --sam vit_h --checkpoint sam_vit_h_4b8939.pth --device cuda

In every step the teacher, an average of the students so far, labels a batch of target crops; seco
refines the labels; half of the source's classes are pasted over, colours are jittered; and the
student learns from that and from the source. Regions are found once, before, and travel with
their image. ``OUT/student.safetensors`` is the result. Killed at any moment, the same command goes
on from ``OUT/state.pt`` with the crops that came next, and ends with the same weights (on a CPU).
"""

from __future__ import annotations

import argparse
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from recipes.finetuning import add_training_options
from recipes.labelling import quality, run_seco, sam_words
from recipes.sets import Sets, add_options, check_settings, find_sets
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as colours
from tqdm import tqdm

import seco
from seco.common.files import read_image, write_bytes
from seco.common.items import label_of
from seco.common.tensor_files import pack_tensors
from seco.in_loop import WEIGHT_POLICIES
from sgg.folder import load_segmenter


class Batches(Dataset[dict[str, Any]]):
    """Batch number k: its images, windows and mirrorings follow from the seed and k alone."""

    def __init__(self, sets: Sets, regions: Path, args: argparse.Namespace) -> None:
        self.sets, self.regions, self.args = sets, regions, args

    def __getitem__(self, step: int) -> dict[str, Any]:
        rng, sets = np.random.default_rng([self.args.seed, 1, step]), self.sets
        images, labels, target, regions = [], [], [], []
        for files in rng.choice(sets.source.files, self.args.batch):
            label = label_of(files, sets.source, sets.space)
            pixels, label = self.cut(rng, read_image(files.image), label, sets.space.ignore_index)
            images.append(pixels)
            labels.append(torch.from_numpy(label.astype(np.int64)))
        for files in rng.choice(sets.target.files, self.args.batch):
            found, table = seco.read_region_map(self.regions / f"{files.image_place}.npz")
            pixels, found = self.cut(rng, read_image(files.image), found, 255)
            target.append(pixels)
            regions.append(seco.from_region_map(found, table))
        stacks = [torch.stack(some) for some in (images, labels, target)]
        return dict(zip(("images", "labels", "target"), stacks, strict=True), regions=regions)

    def cut(
        self, rng: np.random.Generator, image: np.ndarray, ids: np.ndarray, padding: int
    ) -> tuple[Tensor, np.ndarray]:
        """The same window of an image and its map, mirrored every other time; in 0-1."""
        lack = [
            (0, max(want - have, 0)) for want, have in zip(self.args.crop, ids.shape, strict=True)
        ]
        image, ids = np.pad(image, [*lack, (0, 0)]), np.pad(ids, lack, constant_values=padding)
        top, left = (
            rng.integers(have - want + 1)
            for have, want in zip(ids.shape, self.args.crop, strict=True)
        )
        window = np.s_[top : top + self.args.crop[0], left : left + self.args.crop[1]]
        image, ids = image[window], ids[window]
        if rng.random() < 0.5:
            image, ids = image[:, ::-1], ids[:, ::-1]
        return torch.from_numpy(image.copy()).permute(2, 0, 1) / 255, ids.copy()


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, step: int, decay: float) -> None:
    """Move the teacher to the student: a running mean at first, then an exponential average."""
    for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        old.lerp_(new, 1 - min(1 - 1 / (step + 1), decay))
    for old, new in zip(teacher.buffers(), student.buffers(), strict=True):
        old.copy_(new)


def mix_classes(
    rng: np.random.Generator, source: tuple[Tensor, Tensor], target: tuple[Tensor, ...], ignore: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Paste half of the classes of each source image, with weight 1, over a target image."""
    (images, labels), pasted = source, []
    for label in labels:
        classes = label[label != ignore].unique().numpy(force=True)
        chosen = rng.choice(classes, (len(classes) + 1) // 2, replace=False)
        pasted.append(torch.isin(label, torch.from_numpy(chosen).to(label.device)))
    mask = torch.stack(pasted)
    image, label, weight = target
    mixed = torch.where(mask[:, None], images, image)
    return mixed, torch.where(mask, labels, label), weight.masked_fill(mask, 1.0)


def recolour(rng: np.random.Generator, image: Tensor, strength: float = 0.2) -> Tensor:
    """Jitter the colours of four images in five, blur every other one; (3, H, W) in 0-1."""
    if rng.random() < 0.8:
        for change in (
            colours.adjust_brightness,
            colours.adjust_contrast,
            colours.adjust_saturation,
        ):
            image = change(image, rng.uniform(1 - strength, 1 + strength))
        image = colours.adjust_hue(image, rng.uniform(-strength, strength))
    if rng.random() < 0.5:
        side = 2 * (min(image.shape[1:]) // 20) + 1
        image = colours.gaussian_blur(image, [side, side], [rng.uniform(0.15, 1.15)] * 2)
    return image


def losses_of(
    student: Any, teacher: Any, batch: dict[str, Any], step: int, space: seco.LabelSpace,
    args: argparse.Namespace,
) -> tuple[Tensor, Tensor, float]:  # fmt: skip
    """Loss on the source, loss on the mixed images, share of the pseudo-label that seco changed."""
    rng, ignore = np.random.default_rng([args.seed, 2, step]), space.ignore_index
    images, labels, target = (
        batch[name].to(args.device) for name in ("images", "labels", "target")
    )
    with torch.no_grad():
        sure, label = logits_of(teacher(target * 2 - 1), target).softmax(1).max(1)
    weight = torch.full_like(sure, float((sure >= args.threshold).float().mean()))
    refined, weight = seco.refine_in_loop(
        None, label, weight, regions=batch["regions"], enabled=args.seco == "on",
        weight=args.weight, confidence=sure, iteration=step, warm_up=args.warm_up,
        label_space=space,
    )  # fmt: skip
    mixed, wanted, weight = mix_classes(rng, (images, labels), (target, refined, weight), ignore)
    mixed = torch.stack([recolour(rng, image) for image in mixed])
    given = logits_of(student.learning_logits(images * 2 - 1), images)
    on_source = F.cross_entropy(given, labels, ignore_index=ignore)
    given = logits_of(student.learning_logits(mixed * 2 - 1), mixed)
    on_mixed = F.cross_entropy(given, wanted, ignore_index=ignore, reduction="none")
    return on_source, (on_mixed * weight).mean(), float((refined != label).float().mean())


def logits_of(logits: Tensor, images: Tensor) -> Tensor:
    """Logits in the images' size."""
    return F.interpolate(logits.float(), images.shape[2:], mode="bilinear")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, source=True)
    parser.add_argument("--regions", type=Path, help="what seco regions wrote of --target")
    parser.add_argument("--seco", choices=("on", "off"), default="on")
    parser.add_argument("--weight", choices=WEIGHT_POLICIES, default="keep")
    parser.add_argument("--warm-up", type=int, default=0, help="steps before seco begins")
    parser.add_argument("--threshold", type=float, default=0.968, help="of a sure pixel")
    parser.add_argument("--ema", type=float, default=0.999)
    add_training_options(parser, batch=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that read images")
    parser.add_argument("--save-every", type=int, default=500, help="steps")
    args = parser.parse_args(words)
    check_settings(args, free=("workers", "save_every"))
    sets, regions = find_sets(args), args.regions or args.out / "regions"
    if args.regions is None:
        run_seco("regions", sets.images, regions, *sam_words(args))
    train(sets, regions, args)


def train(sets: Sets, regions: Path, args: argparse.Namespace) -> None:
    student, path = load_segmenter(args.segmenter, device=args.device), args.out / "state.pt"
    print("before:", quality(student, sets.held_out, sets.space))
    student.model.requires_grad_(True)
    teacher, first = copy.deepcopy(student), 0
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=args.rate, weight_decay=0.01)
    if path.exists():
        saved = torch.load(path, map_location=args.device, weights_only=True)
        for part, state in zip(
            (student.model, teacher.model, optimizer), saved["parts"], strict=True
        ):
            part.load_state_dict(state)
        first = saved["step"]
    student.model.train()
    loader = DataLoader(
        Batches(sets, regions, args), batch_size=None, sampler=range(first, args.steps),
        num_workers=args.workers, generator=torch.Generator(),
    )  # fmt: skip
    bar = tqdm(loader, initial=first, total=args.steps, desc="training", unit="step")
    for step, batch in enumerate(bar, first):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * (1 - step / args.steps) ** 0.9
        with torch.random.fork_rng():
            torch.manual_seed(args.seed << 32 | step)  # of dropout
            source, mixed, changed = losses_of(student, teacher, batch, step, sets.space, args)
        optimizer.zero_grad()
        (source + mixed).backward()
        optimizer.step()
        follow(teacher.model, student.model, step, args.ema)
        bar.set_postfix_str(f"source {source:.3f} mixed {mixed:.3f} changed {changed:.1%}")
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            parts = [part.state_dict() for part in (student.model, teacher.model, optimizer)]
            torch.save({"parts": parts, "step": step + 1}, buffer := io.BytesIO())
            write_bytes(path, buffer.getvalue())
    student.model.eval()
    write_bytes(args.out / "student.safetensors", pack_tensors(student.model.state_dict()))
    print("after:", quality(student, sets.held_out, sets.space))


if __name__ == "__main__":
    main()
