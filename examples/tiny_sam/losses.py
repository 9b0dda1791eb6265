"""The training loss: masks, the best of three of them, and regression of their IoU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class PromptLoss:
    """Loss of a batch of prompts, and IoUs for the log: ``(P,)`` single mask, best of three."""

    loss: torch.Tensor
    single_iou: torch.Tensor
    best_iou: torch.Tensor
    iou_error: torch.Tensor


def mask_loss(logits: torch.Tensor, target: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """Cross entropy ×2 + dice, ``(P, K)`` for logits ``(P, K, H, W)``.

    Cross entropy is averaged with weight 1 near the segment and 0.05 elsewhere, so that a small
    segment counts as much as a large one. SAM's focal loss, averaged over the whole image, leaves
    a network trained for so short a time at empty masks.
    """
    truth = target[:, None].expand_as(logits)
    weight = torch.where(near, 1.0, 0.05)[:, None]
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    cross = (cross * weight).sum((-2, -1)) / weight.sum((-2, -1))
    chance = logits.sigmoid()
    overlap = 2 * (chance * truth).sum((-2, -1)) + 1
    dice = 1 - overlap / (chance.sum((-2, -1)) + truth.sum((-2, -1)) + 1)
    return 2 * cross + dice


def prompt_loss(
    logits: torch.Tensor,
    predicted_iou: torch.Tensor,
    target: torch.Tensor,
    single_point: torch.Tensor,
    candidates: torch.Tensor,
    near: torch.Tensor,
) -> PromptLoss:
    """The loss of all four masks of each prompt.

    The single mask learns where the prompt says what is meant (a quarter of its weight where one
    point does not). Of the other three the best one learns, the rest a little, so none dies.
    The predicted IoU of a point's masks is regressed to the IoU with the best of the segments
    around the point, whichever was asked for: "is this a segment?".

    Args:
        logits: ``(P, 4, H, W)``. predicted_iou: ``(P, 4)``. target: ``(P, H, W)`` in 0..1.
        single_point: ``(P,)`` bool. candidates: ``(P, C, H, W)`` bool, every right answer.
        near: ``(P, H, W)`` bool, the surroundings of the segment.
    """
    logits, predicted_iou = logits.float(), predicted_iou.float()
    per_mask = mask_loss(logits, target, near)
    single = per_mask[:, 0] * torch.where(single_point, 0.25, 1.0)
    several = per_mask[:, 1:]
    multi = 0.95 * several.min(1).values + 0.05 * several.mean(1)
    with torch.no_grad():
        found = (logits > 0).flatten(2).float()
        right = candidates.flatten(2).float()
        both = found @ right.transpose(1, 2)
        union = found.sum(2)[:, :, None] + right.sum(2)[:, None, :] - both
        ious = both / union.clamp(min=1)
        # Candidate 0 is the target itself.
        truth = torch.where(single_point[:, None], ious.max(2).values, ious[:, :, 0])
    error = (predicted_iou - truth).square()
    loss = (single + multi + error.mean(1)).mean()
    return PromptLoss(
        loss, ious[:, 0, 0], ious[:, 1:, 0].max(1).values, error.detach().mean(1).sqrt()
    )
