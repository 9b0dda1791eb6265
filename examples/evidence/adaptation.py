"""What is known of source and target while a student learns: five settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from measuring.training import train

from evidence.domains import Domains, ImageSet
from evidence.scales import SecoScale


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        name: in tables.
        images: which are labelled by a model and learnt from.
        source: whether labelled source images are learnt from beside.
        start: what the student is at first.
        labels_only: whether the model gives out labels without confidence, and nothing else.
        says: what it stands for.
    """

    name: str
    images: Literal["target", "unknown", "open"]
    source: bool
    start: Literal["source model", "new"]
    labels_only: bool
    says: str


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "UDA", "target", True, "source model", False,
            "source images with labels, target images without; a step sees both",
        ),
        Setting(
            "source-free", "target", False, "source model", False,
            "the source model and target images; no source image",
        ),
        Setting(
            "black-box", "target", False, "new", True,
            "a model's labels of target images, without confidence; the student starts anew",
        ),
        Setting(
            "open-set", "unknown", False, "source model", False,
            "as source-free, and the target images show things that have no class",
        ),
        Setting(
            "domain generalisation", "open", True, "source model", False,
            "source images with labels and open images without; the target is never seen",
        ),
    )
}  # fmt: skip


def images_of(setting: Setting, domains: Domains) -> ImageSet:
    """The images that a setting learns from without their truth."""
    return domains.target if setting.images == "target" else getattr(domains, setting.images)()


def student(
    setting: Setting,
    domains: Domains,
    scenes: ImageSet,
    labels: np.ndarray,
    scale: SecoScale,
    seed: int,
    *,
    steps: int | None = None,
) -> torch.nn.Module:
    """Train a segmenter as a setting allows.

    Args:
        setting: what else it learns from.
        domains: source and target.
        scenes: the setting's images, or for an upper bound others.
        labels: (N, H, W) uint8 of these, 255 is ignored.
        scale: steps and crops.
        seed: of the crops, and of a student's first weights.
        steps: instead of the scale's.
    """
    anew = setting.start == "new"
    usual = scale.new_steps if anew else scale.steps
    return train(
        domains.new(seed) if anew else domains.segmenter(),
        scenes.images,
        labels,
        crop=scale.crop,
        steps=usual if steps is None else steps,
        batch=scale.batch,
        rate=scale.rate,
        seed=seed,
        beside=(domains.source.images, domains.source.truth) if setting.source else None,
    )
