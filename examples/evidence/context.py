"""What all cells of a run share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

import seco
from evidence.camvid import NETWORKS, camvid
from evidence.domains import Domains
from evidence.kept import Kept
from evidence.scales import SCALES, Scale, SecoScale, SggScale
from evidence.streets import streets

BUNDLED = {
    "sam": ("seco.sam", "weights/tiny_sam.safetensors"),
    "street segmenter": ("seco.demo", "weights/segmenter.safetensors"),
    "diffusion": ("sgg.demo", "weights/diffusion/unet/diffusion_pytorch_model.safetensors"),
    "source segmenter": ("sgg.demo", "weights/segmenter.safetensors"),
    "oracle": ("sgg.demo", "weights/oracle.safetensors"),
}


@dataclass(frozen=True, eq=False)  # hashed by identity
class Context:
    """One run of the command.

    Args:
        data: of ``evidence.planned.DATA``.
        folder: of CamVid.
        scale: how large.
        out: where results and what is kept go.
        device: where networks are.
        sam: what :func:`seco.load_sam` takes.
        checkpoint: of that SAM; ``None`` for the bundled one.
        diffusion: a diffusers folder, for data without a bundled model.
    """

    data: str
    folder: Path | None
    scale: Scale
    out: Path
    device: torch.device
    sam: str = "tiny"
    checkpoint: str | None = None
    diffusion: Path | None = None

    @cached_property
    def kept(self) -> Kept:
        """What cells share."""
        return Kept(self.out / "kept")

    @cached_property
    def segmenter(self) -> seco.PromptableSegmenter:
        """The SAM."""
        return seco.load_sam(self.sam, checkpoint=self.checkpoint, device=self.device)

    def domains(self, seed: int) -> Domains:
        """Source and target of a seed; the last ones are remembered."""
        return _domains(self, seed)

    def describe(self, *models: str) -> dict[str, Any]:
        """What decides every result of this run; of the bundled ``models`` their weights."""
        said: dict[str, Any] = {"data": self.data}
        if self.data in NETWORKS:
            said |= NETWORKS[self.data].made_with()
        for name in models:
            said[name] = weights_digest(name)
        if "sam" in models and self.sam != "tiny":
            said["sam"] = [self.sam, Path(self.checkpoint or "").name]
        return said


def scale_of(data: str, name: str) -> Scale:
    """A scale, with the sizes that the data's network wants."""
    scale = SCALES[name]
    if data not in NETWORKS:
        return scale
    return replace(scale, seco=NETWORKS[data].scaled(scale.seco))


@lru_cache(maxsize=4)
def _domains(context: Context, seed: int) -> Domains:
    if context.data == "streets":
        return streets(context.scale.seco, seed, context.device)
    if context.folder is None:
        raise SystemExit(f"--data {context.data}: expected --folder DIR")
    return camvid(
        context.data, context.folder, context.scale.seco, seed, context.device, context.kept
    )


@lru_cache
def weights_digest(name: str) -> str:
    """Of a bundled model's file: other weights are another measurement."""
    package, path = BUNDLED[name]
    return hashlib.sha256((files(package) / path).read_bytes()).hexdigest()[:16]


def settings_of(scale: SecoScale | SggScale, *names: str) -> dict[str, Any]:
    """Those fields of a scale that decide a cell."""
    return {name: getattr(scale, name) for name in names}
