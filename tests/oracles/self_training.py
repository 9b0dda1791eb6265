"""One step of online self-training, as DACS and what was built on it make it, on a small network.

A teacher labels the target images, one number weighs the whole batch, classes of the source are
mixed in, and the loss is averaged over all pixels. Every source of randomness that those loops
use is used after the labels are made, so that a call there which draws from one is found out.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
IGNORE = 255
CLASSES = 19


@dataclass(frozen=True)
class Kind:
    """What the loops differ in: ignore margins, valid masks, losses on masked images."""

    margins: tuple[int, int] = (0, 0)
    with_valid: bool = False
    masked: bool = False
    threshold: float = 0.3


KINDS = {
    "daformer": Kind(margins=(2, 3)),
    "hrda": Kind(with_valid=True),
    "mic": Kind(with_valid=True, masked=True),
    "pipa": Kind(margins=(0, 4)),
}

Seam = Callable[..., tuple[Tensor, Tensor]]


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.2), nn.Conv2d(12, CLASSES, 1)
    )


class SelfTraining(nn.Module):
    """Student and teacher; ``seam`` is what stands where a client calls us, if anything does."""

    def __init__(self, kind: Kind, seam: Seam | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        self.kind, self.seam, self.local_iter = kind, seam, 0
        self.student = small_network()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-2)

    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        self.optimizer.zero_grad()
        img, target = batch["img"], batch["target_img"]
        truth = batch["gt_semantic_seg"][:, 0]
        losses = {"source": F.cross_entropy(self.student(img), truth, ignore_index=IGNORE)}
        losses["source"].backward()

        label, weight = self.labelled(batch)
        raw_weight = weight.clone()
        images, labels = [], []
        for i in range(len(img)):
            classes = truth[i].unique()
            chosen = classes[torch.randperm(len(classes))[: len(classes) // 2 + 1]]
            from_source = torch.isin(truth[i], chosen)
            images.append(torch.where(from_source, img[i], target[i]))
            labels.append(torch.where(from_source, truth[i], label[i]))
            weight[i] = torch.where(from_source, 1.0, weight[i])
        mixed = torch.stack(images) * random.uniform(0.8, 1.2) + np.random.normal(0, 0.1)
        losses["mixed"] = self.weighed(mixed, torch.stack(labels), weight)
        losses["mixed"].backward()
        if self.kind.masked:
            shown = torch.rand(len(img), 1, *target.shape[2:]) < 0.5
            losses["masked"] = self.weighed(target * shown, label, raw_weight)
            losses["masked"].backward()
        self.optimizer.step()
        self.local_iter += 1
        for old, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            old.data.mul_(0.9).add_(new.data, alpha=0.1)
        return {name: loss.item() for name, loss in losses.items()}

    def labelled(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The teacher's label and its weight, as the mixing gets them."""
        target, valid = batch["target_img"], batch.get("valid_pseudo_mask")
        with torch.no_grad():
            probabilities = self.teacher.eval()(target).softmax(dim=1)
        prob, label = probabilities.max(dim=1)
        weight = (prob >= self.kind.threshold).float().mean().item() * torch.ones(prob.shape)
        top, bottom = self.kind.margins
        weight[:, :top] = 0
        weight[:, weight.shape[1] - bottom :] = 0
        if valid is not None:
            weight *= valid.squeeze(1)
        if self.seam is None:
            return label, weight
        statistics = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
        means, stds = (numbers.expand(len(target), 3, 1, 1) for numbers in statistics)
        return self.seam(
            self, target, label, weight, prob, valid, means, stds, batch["target_img_metas"]
        )

    def weighed(self, img: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy, averaged over all pixels, ignored ones too."""
        per_pixel = F.cross_entropy(self.student(img), label, ignore_index=IGNORE, reduction="none")
        return (per_pixel * weight).mean()
