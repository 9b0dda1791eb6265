"""Segment everything: a grid of point prompts, judged small, only the survivors made large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.images import Normalization, to_batch
from seco.common.precision import exact
from seco.regions import Regions, pack_masks
from seco.sam.inference import encode
from seco.sam.loading import as_segmenter
from seco.sam.masks import cells_at, crop_to_extent, mask_boxes, stability_score, upscale
from seco.sam.proposal_settings import ProposalSettings, proposal_settings_of
from seco.sam.protocol import Embedding, PromptableSegmenter


@overload
def propose_regions(
    img: Array,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
) -> Regions: ...
@overload  # how many dimensions a tensor has, its type does not say
def propose_regions(
    img: Tensor,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
) -> Regions | list[Regions]: ...
def propose_regions(
    img: Array | Tensor,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
) -> Regions | list[Regions]:
    """Find what SAM sees in an image, without labels: once per image, for every later round.

    The settings mean what they mean in the official ``SamAutomaticMaskGenerator``; the cost
    differs: masks are filtered and suppressed at the decoder's own resolution, so that full-size
    masks are made for the survivors alone.

    Args:
        img: (H, W, 3) uint8 array, or (3, H, W) / (B, 3, H, W) tensor, RGB; see
            :func:`seco.refine_pseudo_labels`.
        sam: a promptable segmenter, see :func:`seco.load_sam`.
        settings: grid, thresholds and suppression; ``None`` takes the segmenter's own
            ``proposal_settings`` if it has any (the tiny SAM does), else the official ones.
        normalization: (mean, std) if ``img`` is normalised.

    Returns:
        The regions of the image, on its device; a list of them for a batch, a 4-D tensor.

    Raises:
        TypeError, ValueError: an image as refused by :func:`seco.refine_pseudo_labels`, or
            settings of another kind.

    Example:
        >>> from seco import load_sam
        >>> from seco.demo import street_scene
        >>> scene = street_scene(0, size=(64, 128))
        >>> regions = propose_regions(
        ...     scene.image, load_sam("tiny"), settings=ProposalSettings(points_per_side=4)
        ... )
        >>> regions.size
        (64, 128)

    Source: Kirillov et al., "Segment Anything", ICCV 2023, appendix B; used by SeCo for stuff.
    """
    if not isinstance(settings, ProposalSettings | None):
        raise TypeError(
            f"settings: expected ProposalSettings or None, got {type(settings).__name__}"
        )
    images = to_batch(img, normalization=normalization)
    segmenter = as_segmenter(sam)
    embeddings = encode(images, segmenter)
    with exact(segmenter.device):
        found = [
            regions_from_embedding(embedding, segmenter, settings).to(images.device)
            for embedding in embeddings
        ]
    return found if img.ndim == 4 else found[0]


def regions_from_embedding(
    embedding: Embedding, segmenter: PromptableSegmenter, settings: ProposalSettings | None
) -> Regions:
    """Find the regions of an image that is encoded already, on the segmenter's device."""
    from torchvision.ops import nms

    settings = proposal_settings_of(segmenter) if settings is None else settings
    size, device = embedding.size, segmenter.device
    kept_logits, kept_scores = [], []
    extent = (1.0, 1.0)
    covered: Tensor | None = None
    points, passes = point_grid(settings.points_per_side, size, device)
    for number in range(int(passes.max()) + 1 if settings.skip_covered else 1):
        waiting = points[passes == number] if settings.skip_covered else points
        while len(waiting):
            if covered is not None:
                cells = cells_at(waiting[:, 1], waiting[:, 0], extent, size)
                waiting = waiting[~covered.flatten()[cells]]
            chunk, waiting = waiting.tensor_split([settings.points_per_batch])
            if not len(chunk):
                break
            labels = torch.ones(len(chunk), 1, dtype=torch.int64, device=device)
            answer = segmenter.decode(
                embedding, points=chunk[:, None], point_labels=labels, multimask=True
            )
            extent = answer.extent
            scores = answer.scores.flatten()
            chosen = (scores >= settings.pred_iou_thresh).nonzero()[:, 0]
            logits = crop_to_extent(answer.logits.flatten(0, 1)[chosen], extent)
            stability = stability_score(logits, offset=settings.stability_score_offset)
            stable = stability >= settings.stability_score_thresh
            kept_logits.append(logits[stable])
            kept_scores.append(scores[chosen[stable]])
            if settings.skip_covered:
                inside = logits[stable] > settings.stability_score_offset
                small = inside.float().mean(dim=(1, 2)) <= settings.max_cover
                under = inside[small].any(dim=0)
                covered = under if covered is None else covered | under
    logits, scores = torch.cat(kept_logits), torch.cat(kept_scores)
    masks = logits > 0
    pixels_per_cell = size[0] * size[1] / (extent[0] * extent[1])
    areas = masks.sum(dim=(1, 2)) * pixels_per_cell
    large = ((areas > 0) & (areas >= settings.min_mask_region_area)).nonzero()[:, 0]
    kept = large[nms(mask_boxes(masks[large]).float(), scores[large], settings.box_nms_thresh)]
    groups = [kept[start : start + 8] for start in range(0, len(kept), 8)]
    packed = [
        torch.cat([pack_masks(strip > 0) for strip in upscale(logits[some], extent, size)])
        for some in groups
    ]
    return Regions.from_packed(packed, len(kept), size, scores[kept], device)


def point_grid(
    points_per_side: int, size: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Evenly spread points, and how they are told apart from coarse to fine.

    Returns:
        (points_per_side ** 2, 2) float32 x, y in pixels of an image of height and width ``size``,
        and (points_per_side ** 2,) int64: 0 for every fourth point along both sides, 1 for the
        rest of every second, 2 for the rest.
    """
    index = torch.arange(points_per_side)
    steps = (index.double() + 0.5) / points_per_side
    y, x = torch.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    level = torch.where(index % 4 == 2, 0, torch.where(index % 2 == 0, 1, 2))
    passes = torch.maximum(level[:, None], level[None, :]).flatten()
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    return points.to(device, torch.float32), passes.to(device)
