"""Segment everything: a grid of point prompts, judged small, only the survivors made large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_integer
from seco.common.images import to_batch
from seco.common.normalization import Normalization
from seco.common.precision import exact
from seco.common.tables import join
from seco.regions import Regions, pack_masks
from seco.sam.crop_layers import Window, cut_off, windows_of_layer
from seco.sam.inference import IMAGES_PER_BATCH, encode, images_at_once
from seco.sam.loading import as_segmenter
from seco.sam.masks import (
    Extent,
    Size,
    cells_at,
    crop_to_extent,
    mask_boxes,
    masks_at_once,
    stability_score,
    upscale,
)
from seco.sam.proposal_settings import ProposalSettings, proposal_settings_of
from seco.sam.protocol import Embedding, PromptableSegmenter


@overload
def propose_regions(
    img: Array,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
    images_per_batch: int = IMAGES_PER_BATCH,
) -> Regions: ...
@overload  # how many dimensions a tensor has, its type does not say
def propose_regions(
    img: Tensor,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
    images_per_batch: int = IMAGES_PER_BATCH,
) -> Regions | list[Regions]: ...
def propose_regions(
    img: Array | Tensor,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    normalization: Normalization | None = None,
    images_per_batch: int = IMAGES_PER_BATCH,
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
        images_per_batch: on a GPU, images of a batch, or windows of a layer of crops, per encoder
            pass; bounds memory.

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
    check_integer("images_per_batch", images_per_batch, low=1)
    images = to_batch(img, normalization=normalization)
    segmenter = as_segmenter(sam)
    embeddings = encode(images, segmenter, images_per_batch=images_per_batch)
    with exact(segmenter.device):
        found = [
            regions_of_image(
                image, embedding, segmenter, settings, images_per_batch=images_per_batch
            ).to(images.device)
            for image, embedding in zip(images, embeddings, strict=True)
        ]
    return found if img.ndim == 4 else found[0]


def regions_of_image(
    image: Tensor,
    embedding: Embedding,
    segmenter: PromptableSegmenter,
    settings: ProposalSettings | None,
    *,
    images_per_batch: int,
) -> Regions:
    """Find the regions of an image that is encoded already, on the segmenter's device.

    Args:
        image: (3, H, W), as it was encoded; looked at again only for the layers of crops.
        embedding: what the segmenter made of it.
        segmenter: the back end.
        settings: ``None`` takes the segmenter's own.
        images_per_batch: on a GPU, windows per encoder pass.
    """
    from torchvision.ops import nms

    step = images_at_once(segmenter, images_per_batch)
    settings = proposal_settings_of(segmenter) if settings is None else settings
    size, device = embedding.size, segmenter.device
    whole = windows_of_layer(size, 0, overlap_ratio=0)[0]
    found = [_propose(embedding, segmenter, settings, settings.points_per_side, whole, size)]
    for layer in range(1, settings.crop_n_layers + 1):
        factor = settings.crop_n_points_downscale_factor**layer
        points_per_side = max(settings.points_per_side // factor, 1)
        windows = windows_of_layer(size, layer, overlap_ratio=settings.crop_overlap_ratio)
        for some in (windows[start : start + step] for start in range(0, len(windows), step)):
            parts = join(image[None, :, window.rows, window.columns] for window in some)
            closer = encode(parts, segmenter, images_per_batch=step)
            found += [
                _propose(own, segmenter, settings, points_per_side, window, size)
                for window, own in zip(some, closer, strict=True)
            ]
    if len(found) > 1:
        nearness = [
            torch.full_like(some.scores, 1 / (some.window.height * some.window.width))
            for some in found
        ]
        boxes = torch.cat([some.boxes for some in found])
        kept = nms(boxes, torch.cat(nearness), settings.crop_nms_thresh).sort().values
        ends = torch.tensor([len(some.scores) for some in found]).cumsum(0).to(device)
        owner = torch.searchsorted(ends, kept, right=True)
        starts = ends - ends.new_tensor([len(some.scores) for some in found])
        found = [
            some.only(kept[owner == number] - starts[number]) for number, some in enumerate(found)
        ]
    packed = [(some.packed(size), len(some.scores)) for some in found if len(some.scores)]
    return Regions.from_packed(packed, size, torch.cat([some.scores for some in found]), device)


@dataclass(frozen=True)
class _Found:
    """Masks found in a window of an image, at the decoder's resolution.

    Args:
        logits: (N, h, w).
        scores: (N,).
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels of the image.
        extent: cells that show the window.
        window: where they were found.
    """

    logits: Tensor
    scores: Tensor
    boxes: Tensor
    extent: Extent
    window: Window

    def only(self, kept: Tensor) -> _Found:
        """Those of an index."""
        return replace(
            self, logits=self.logits[kept], scores=self.scores[kept], boxes=self.boxes[kept]
        )

    def packed(self, size: Size) -> Tensor:
        """The masks, of which there are some, in pixels of the image: see :func:`pack_masks`."""
        window = self.window
        shown = window.height, window.width
        groups, at_once = [], masks_at_once(shown[0] * shown[1], self.logits.device)
        for some in torch.split(self.logits, at_once):
            strips = upscale(some, self.extent, shown)
            groups.append(torch.cat([pack_masks(strip > 0) for strip in strips], dim=1))
        planes = torch.cat(groups)
        if shown == size:
            return planes
        around = planes.new_zeros(len(planes), *size)
        around[:, window.rows, window.columns] = planes
        return around


def _propose(
    embedding: Embedding,
    segmenter: PromptableSegmenter,
    settings: ProposalSettings,
    points_per_side: int,
    window: Window,
    image_size: Size,
) -> _Found:
    """Ask a grid of points in one window, and keep what is rated well, stable and no double."""
    from torchvision.ops import nms

    size, device = embedding.size, segmenter.device
    kept_logits, kept_scores = [], []
    extent = (1.0, 1.0)
    covered: Tensor | None = None
    points, passes = point_grid(points_per_side, size)
    counts = [len(points)]
    if settings.skip_covered:
        points, counts = points[passes.argsort(stable=True)], passes.bincount().tolist()
    for waiting in torch.split(points.to(device), counts):
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
            stable = (stability >= settings.stability_score_thresh).nonzero()[:, 0]
            kept_logits.append(logits[stable])
            kept_scores.append(scores[chosen[stable]])
            if settings.skip_covered:
                inside = kept_logits[-1] > settings.stability_score_offset
                small = inside.float().mean(dim=(1, 2)) <= settings.max_cover
                under = (inside & small[:, None, None]).any(dim=0)
                covered = under if covered is None else covered | under
    logits, scores = torch.cat(kept_logits), torch.cat(kept_scores)
    masks = logits > 0
    pixels_per_cell = size[0] * size[1] / (extent[0] * extent[1])
    areas = masks.sum(dim=(1, 2)) * pixels_per_cell
    cells = mask_boxes(masks).float()
    scale = cells.new_tensor([size[1] / extent[1], size[0] / extent[0]] * 2)
    boxes = cells * scale + cells.new_tensor([window.left, window.top] * 2)
    large = (areas > 0) & (areas >= settings.min_mask_region_area)
    whole = (large & ~cut_off(boxes, window, image_size)).nonzero()[:, 0]
    found = _Found(logits, scores, boxes, extent, window).only(whole)
    return found.only(nms(found.boxes, found.scores, settings.box_nms_thresh))


def point_grid(points_per_side: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Evenly spread points, and how they are told apart from coarse to fine.

    Returns:
        (points_per_side ** 2, 2) float32 x, y in pixels of an image of height and width ``size``,
        and (points_per_side ** 2,) int64: 0 for every fourth point along both sides, 1 for the
        rest of every second, 2 for the rest. On the CPU.
    """
    index = torch.arange(points_per_side)
    steps = (index.double() + 0.5) / points_per_side
    y, x = torch.meshgrid(steps * size[0], steps * size[1], indexing="ij")
    level = torch.where(index % 4 == 2, 0, torch.where(index % 2 == 0, 1, 2))
    passes = torch.maximum(level[:, None], level[None, :]).flatten()
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    return points.float(), passes
