"""Source images translated to the target domain, in every arm, kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from measuring.training import train
from PIL import Image

import sgg
from evidence.camvid import camvid
from evidence.context import Context, settings_of
from evidence.domains import Domains, ImageSet
from evidence.kept import digest, only_here
from evidence.plain_source import PLAIN, plain_made_with, plain_source
from evidence.scales import SecoScale, SggScale
from evidence.streets import own_scenes, scenes, scenes_key, streets
from seco.common.files import read_image, write_label
from seco.common.jobs import JobOptions
from seco.demo.scenes import DEV_SEEDS
from sgg.demo.demo import ARMS

GENERATED = ("streets", PLAIN)
CHUNK = 16  # images of one kept file
PTL = "SGG + PTL"


@dataclass(frozen=True)
class Translating:
    """What one seed translates with.

    Args:
        domains: source, target and held-out images; its segmenter guides.
        perfect: labelled target images for the upper bound: where the data has them, the source
            scenes as the target sees them.
        ruler: images that say where the target is.
        oracle: a segmenter that knows the target, for measuring; on the CPU.
        diffusion: a model of target images.
    """

    domains: Domains
    perfect: ImageSet
    ruler: ImageSet
    oracle: torch.nn.Module
    diffusion: Any


def adaptation_scale(scale: SggScale) -> SecoScale:
    """Sizes of self-training with translated images, in the suite about translation."""
    return SecoScale(
        size=scale.size, crop=scale.size, target=scale.target, source=scale.images,
        held_out=scale.held_out, teacher_steps=2 * scale.steps, steps=scale.adapt_steps,
        new_steps=scale.adapt_steps, batch=scale.batch, rate=scale.adapt_rate,
    )  # fmt: skip


@cache
def translating(context: Context, seed: int) -> Translating:
    """Models and images of a seed."""
    scale, device = context.scale.sgg, context.device
    sizes = adaptation_scale(scale)
    if context.data in GENERATED:
        from sgg.demo.models import load_diffusion, load_oracle, load_segmenter

        unet, scheduler = load_diffusion()

        def segmenter() -> torch.nn.Module:
            if context.data == PLAIN:
                return plain_source(scale, context.kept, device)
            return load_segmenter().model.to(device)

        return Translating(
            replace(streets(sizes, seed, device), segmenter=segmenter),
            scenes(own_scenes(seed, 0), scale.images, scale.size, "camera"),
            scenes(DEV_SEEDS[-scale.ruler], scale.ruler, scale.size, "camera"),
            load_oracle(),
            (unet.to(device), scheduler),
        )
    if context.folder is None or context.diffusion is None:
        raise SystemExit(
            f"--data {context.data} --suite sgg: expected --folder DIR and --diffusion DIR"
        )
    from diffusers import DDPMScheduler, UNet2DModel

    domains = camvid(context.data, context.folder, sizes, seed, device, context.kept)
    known = domains.labelled()
    oracle = domains.new(1_000 + seed).cpu()
    key = {**domains.key, "oracle": True, "steps": sizes.teacher_steps}
    oracle = context.kept.weights(
        "camvid-oracle",
        key,
        oracle,
        lambda: train(
            oracle, known.images, known.truth, crop=scale.size, steps=sizes.teacher_steps,
            batch=scale.batch, rate=3e-3, seed=seed,
        ),
    )  # fmt: skip
    unet = UNet2DModel.from_pretrained(context.diffusion, subfolder="unet").to(device).eval()
    scheduler = DDPMScheduler.from_pretrained(context.diffusion, subfolder="scheduler")
    return Translating(domains, known, known, oracle, (unet, scheduler))


def translated(
    context: Context, seed: int, arm: str, strength: float, guidance_scale: float
) -> np.ndarray:
    """The source images (N, H, W, 3) uint8, translated; every arm starts from the same noise."""
    made, scale = translating(context, seed), context.scale.sgg
    images = torch.from_numpy(made.domains.source.images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(made.domains.source.truth)
    parts = []
    for first in range(0, len(images), CHUNK):
        own = slice(first, first + CHUNK)
        key = {
            **key_of(context, seed), "arm": arm, "strength": strength, "first": first,
            "scale": None if arm == "unguided" else guidance_scale,
        }  # fmt: skip

        def make(own: slice = own, first: int = first) -> dict[str, np.ndarray]:
            found = sgg.translate(
                images[own].to(context.device),
                labels[own].to(context.device),
                made.diffusion,
                sgg.as_segmenter(made.domains.segmenter(), normalization=None),
                strength=strength,
                num_inference_steps=scale.ddim_steps,
                guidance=ARMS[arm],
                guidance_scale=guidance_scale,
                generator=torch.Generator().manual_seed(1_000 * seed + first),
            )
            return {"images": found.permute(0, 2, 3, 1).cpu().numpy()}

        parts.append(context.kept.arrays("translated", key, make)["images"])
    return np.concatenate(parts)


def progressive(
    context: Context, seed: int, strengths: tuple[float, ...], stage: int
) -> tuple[np.ndarray, torch.nn.Module]:
    """A stage's translations (N, H, W, 3) uint8, and the segmenter that it hands on.

    Args:
        context: models and sizes.
        seed: of images, noise and fine-tuning.
        strengths: of all stages.
        stage: its number, from 1.
    """
    from safetensors.torch import load_file

    from sgg.options import TranslationOptions
    from sgg.progressive import FinetuneSettings, finetune_segmenter, progressive_translation

    made, scale = translating(context, seed), context.scale.sgg
    fine_tuning = settings_of(scale, "guidance_scale", "stage_steps", "stage_rate", "batch")
    key = {**key_of(context, seed), **fine_tuning, "strengths": strengths}
    folder = context.kept.root / f"progressive-{digest(key)}"
    images, labels = folder / "source" / "images", folder / "source" / "labels"
    settings = FinetuneSettings(
        steps=scale.stage_steps, batch_size=scale.batch, learning_rate=scale.stage_rate,
        crop_height=scale.size[0], crop_width=scale.size[1],
    )  # fmt: skip
    with only_here(folder / ".lock"):
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        space, source = made.domains.space, made.domains.source
        for number, (image, label) in enumerate(zip(source.images, source.truth, strict=True)):
            name = f"{number:04}.png"
            if not (labels / name).exists():  # the last to be written
                Image.fromarray(image).save(images / name)
                write_label(labels / name, label, space)
        found = progressive_translation(
            (images, labels),
            made.diffusion,
            sgg.as_segmenter(made.domains.segmenter(), normalization=None),
            out=folder / "stages",
            strengths=strengths,
            finetune=partial(finetune_segmenter, settings=settings),
            label_space=space,
            translation=TranslationOptions(
                num_inference_steps=scale.ddim_steps, guidance_scale=scale.guidance_scale
            ),
            seed=seed,
            options=JobOptions(overwrite=True),  # what another version made otherwise
        )
    if found.failures or len(found.good) != len(strengths):
        raise RuntimeError(f"{folder}: expected all stages, got {found.stopped or found.failures}")
    own = found.good[stage - 1]
    pictures = np.stack([read_image(one.image) for one in own.translated.files])
    if own.handed_on is None:
        raise RuntimeError(f"{folder}: expected a segmenter of stage {stage}, got none")
    model = made.domains.segmenter()
    model.load_state_dict(load_file(own.handed_on.weights))
    return pictures, model.eval()


def key_of(context: Context, seed: int) -> dict[str, Any]:
    """All that decides every translation of a seed."""
    if context.data == PLAIN:
        said = context.describe("diffusion") | plain_made_with(context.scale.sgg)
    else:
        said = context.describe("diffusion", "source segmenter")
    if context.data in GENERATED:
        said |= scenes_key(seed)
    return {
        **said,
        **settings_of(context.scale.sgg, "size", "images", "ddim_steps"),
        "diffusion folder": str(context.diffusion),
        "seed": seed,
    }
