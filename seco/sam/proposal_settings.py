"""How to segment everything: the thresholds, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

from seco.common.checks import check_choice, check_integer, check_number
from seco.sam.protocol import PromptableSegmenter


@dataclass(frozen=True)
class ProposalSettings:
    """How to segment everything; names and defaults of ``SamAutomaticMaskGenerator``.

    Differences: ``min_mask_region_area`` drops whole masks (the official generator removes
    small islands and holes in them); ``skip_covered`` and ``max_cover`` are ours, and with
    ``skip_covered=False`` every grid point is prompted, as there; of ``crop_n_layers`` all windows
    of a layer are of one size, the last moved inwards, and a mask counts as cut off where it ends
    within 2 % of the window's longer side from its edge (there 20 pixels).

    Args:
        points_per_side: prompts form a grid of this many points along each side.
        points_per_batch: prompts per decoder pass; bounds memory.
        pred_iou_thresh: least IoU the decoder must predict for its mask.
        stability_score_thresh: least IoU between the mask cut at plus and minus the offset.
        stability_score_offset: that offset, in logits.
        box_nms_thresh: of masks whose boxes overlap by more (IoU), only the best rated stays.
        min_mask_region_area: masks of fewer pixels are dropped.
        skip_covered: prompt from coarse to fine (every fourth grid point along each side, every
            second, all) and leave out points well inside a mask that passed both thresholds. Saves
            most of the prompts on large surfaces; parts of covered regions are not looked for.
            The official generator, and so the paper, does not (``False``).
        max_cover: a mask of more than this share of the image covers nothing.
        crop_n_layers: look closer as well: layer i asks the same about ``2**i`` by ``2**i``
            overlapping windows of the image, each encoded by itself. For images much larger than
            what SAM takes in (1024 pixels; the tiny SAM 256) and small things; one layer costs
            four more passes of the encoder, two cost twenty.
        crop_overlap_ratio: how far windows of layer 1 overlap, as a share of the image's shorter
            side; half as far in layer 2, and so on.
        crop_n_points_downscale_factor: the grid's points per side are divided by this from layer
            to layer.
        crop_nms_thresh: of masks from different windows whose boxes overlap by more (IoU), only
            the one of the smallest window stays.

    Raises:
        ValueError: a value out of its range.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    min_mask_region_area: int = 0
    skip_covered: bool = True
    max_cover: float = 0.4
    crop_n_layers: int = 0
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    crop_nms_thresh: float = 0.7

    def __post_init__(self) -> None:
        check_integer("points_per_side", self.points_per_side, low=1)
        check_integer("points_per_batch", self.points_per_batch, low=1)
        check_integer("min_mask_region_area", self.min_mask_region_area, low=0)
        check_number("pred_iou_thresh", self.pred_iou_thresh)
        check_number("stability_score_thresh", self.stability_score_thresh, low=0, high=1)
        check_number("stability_score_offset", self.stability_score_offset, low=0)
        check_number("box_nms_thresh", self.box_nms_thresh, low=0, high=1)
        check_number("max_cover", self.max_cover, low=0, high=1)
        check_choice("skip_covered", self.skip_covered, (False, True))
        check_integer("crop_n_layers", self.crop_n_layers, low=0)
        check_number("crop_overlap_ratio", self.crop_overlap_ratio, low=0, high=1)
        check_integer("crop_n_points_downscale_factor", self.crop_n_points_downscale_factor, low=1)
        check_number("crop_nms_thresh", self.crop_nms_thresh, low=0, high=1)


SAM2_PROPOSALS = ProposalSettings(pred_iou_thresh=0.8)
"""The thresholds of the official ``SAM2AutomaticMaskGenerator``."""


def proposal_settings_of(segmenter: PromptableSegmenter) -> ProposalSettings:
    """The settings that fit a segmenter: its own ``proposal_settings`` if it has any.

    The thresholds are cuts in what a model predicts of itself, so they belong to the model: SAM's
    official ones leave next to nothing of the bundled tiny SAM's masks.

    Raises:
        TypeError: ``proposal_settings`` is something else.
    """
    own = getattr(segmenter, "proposal_settings", None)
    if own is None:
        return ProposalSettings()
    if not isinstance(own, ProposalSettings):
        raise TypeError(
            f"sam.proposal_settings: expected ProposalSettings or None, got {type(own).__name__}"
        )
    return own
