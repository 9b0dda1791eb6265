"""Every free choice of the aggregation, with its measured default and the paper's value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seco.common.checks import check_choice, check_integer, check_number, describe
from seco.sam.inference import IMAGES_PER_BATCH
from seco.sam.proposal_settings import ProposalSettings


@dataclass(frozen=True)
class PSASettings:
    """How Pixel Semantic Aggregation treats a pseudo-label.

    "Paper" is SeCo (NeurIPS 2024), "released code" what its authors run where the paper is silent;
    a default without such a note is our choice, measured as told in docs/aggregation.md.

    Args:
        method: ``"psa"`` aligns stuff and prompts things (paper); ``"alignment"`` names regions
            for every class, ``"prompts"`` prompts for every class: the paper's two ablations.
        connectivity: 8 joins pixels of a component that share a corner (paper), 4 only a side.
        min_component_area: components of fewer pixels are not prompted (released code: 10).
        box_enlargement: the box prompt has this many times the component's box area (paper: 1.5).
        point: which pixel of a component is the point prompt: ``"centre"`` of its box (paper),
            peak of the ``"distance"`` transform, or lowest label ``"entropy"`` round it (released
            code, with two points).
        points_per_prompt: more than one only with ``"entropy"``.
        prompts_per_batch: prompts per decoder pass; bounds memory.
        images_per_batch: on a GPU, images of a batch that are encoded, and prompt, in one pass,
            and windows of a layer of crops; bounds memory. Commands take all of these one by one,
            whatever it is.
        thing_iou_thresh: least IoU the decoder must predict for a prompted mask (paper: none,
            here -1, as a prediction can fall below 0).
        thing_agreement: least share of the component's class among the labelled pixels of its mask
            (paper: none, 0).
        thing_coverage: least share of the component inside its mask (paper: none, 0).
        rejected_things: a component whose mask fails these claims nothing: where regions lie over
            its pixels they and the pixels' own labels decide, and elsewhere it keeps its class
            (``"keep"``) or is outside everything (``"drop"``); or it claims its own pixels against
            the regions too (``"component"``: it stays, however small, and so does noise).
        stuff_share: a region takes a class whose share of its labelled pixels exceeds this
            (released code: 0.2; its successor: 0.1).
        align_things: with ``"psa"``, regions may also be named by a thing class; prompted masks
            then lie over them (paper: stuff alone names regions).
        thing_weight: how much the mask of a thing, times its agreement, weighs against the
            regions under it and the pixel's own label (paper: things always lie over stuff, here
            a weight that nothing else reaches).
        prior_weight: how much a pixel's own label, times its confidence, weighs against the
            regions over it (paper: 0).
        unknown_confidence: the confidence of every pixel when none is given.
        proposals: how regions are found ("segment everything"); ``None`` takes the segmenter's own
            ``proposal_settings`` if it has any, else SAM's official ones.

    Raises:
        TypeError, ValueError: a value out of its range.

    Example:
        >>> PSASettings(box_enlargement=2.0).box_enlargement
        2.0
        >>> PSASettings(stuff_share=20)
        Traceback (most recent call last):
            ...
        ValueError: stuff_share: expected a number in [0, 1), got 20
    """

    method: Literal["psa", "alignment", "prompts"] = "psa"
    connectivity: Literal[4, 8] = 8
    min_component_area: int = 10
    box_enlargement: float = 1.5
    point: Literal["centre", "distance", "entropy"] = "distance"
    points_per_prompt: int = 1
    prompts_per_batch: int = 64
    images_per_batch: int = IMAGES_PER_BATCH
    thing_iou_thresh: float = 0.7
    thing_agreement: float = 0.5
    thing_coverage: float = 0.5
    rejected_things: Literal["keep", "drop", "component"] = "keep"
    stuff_share: float = 0.2
    align_things: bool = True
    thing_weight: float = 2.5
    prior_weight: float = 1.15
    unknown_confidence: float = 0.5
    proposals: ProposalSettings | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.method, ("psa", "alignment", "prompts"))
        check_choice("connectivity", self.connectivity, (4, 8))
        check_choice("point", self.point, ("centre", "distance", "entropy"))
        check_choice("rejected_things", self.rejected_things, ("keep", "drop", "component"))
        check_integer("min_component_area", self.min_component_area, low=1)
        check_integer("points_per_prompt", self.points_per_prompt, low=1)
        check_integer("prompts_per_batch", self.prompts_per_batch, low=1)
        check_integer("images_per_batch", self.images_per_batch, low=1)
        if self.points_per_prompt > 1 and self.point != "entropy":
            raise ValueError(
                f"points_per_prompt: expected 1 with point {self.point!r}, "
                f"got {self.points_per_prompt}"
            )
        check_choice("align_things", self.align_things, (False, True))
        check_number("box_enlargement", self.box_enlargement, low=0, low_open=True)
        check_number("thing_iou_thresh", self.thing_iou_thresh)
        check_number("stuff_share", self.stuff_share, low=0, high=1, high_open=True)
        for name in ("thing_agreement", "thing_coverage", "unknown_confidence"):
            check_number(name, getattr(self, name), low=0, high=1)
        for name in ("thing_weight", "prior_weight"):
            check_number(name, getattr(self, name), low=0, high=math.inf)
        if not isinstance(self.proposals, ProposalSettings | None):
            raise TypeError(
                f"proposals: expected ProposalSettings or None, got {describe(self.proposals)}"
            )


PAPER = PSASettings(
    point="centre",
    thing_iou_thresh=-1.0,
    thing_agreement=0.0,
    thing_coverage=0.0,
    rejected_things="drop",
    align_things=False,
    thing_weight=1e6,
    prior_weight=0.0,
)
"""The paper's own choices, with the released code's where the paper is silent.

Regions are found as the segmenter suggests, as in the defaults; add ``proposals=ProposalSettings(
skip_covered=False)`` for the official generator's full grid and thresholds.
"""
