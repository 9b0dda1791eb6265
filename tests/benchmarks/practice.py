"""What users write today with segment_anything: its two classes, and a vote mask by mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

import seco
from seco.aggregation.prompts import enlarge_boxes
from seco.common.arrays import Array


class Practice:
    """Stages of refining a label, each as it is written today.

    Args:
        model: a ``segment_anything.modeling.Sam``.
        space: the classes.
        settings: grid and thresholds, the same as ours.
    """

    def __init__(self, model: Any, space: seco.LabelSpace, settings: seco.ProposalSettings) -> None:
        from segment_anything import SamAutomaticMaskGenerator, SamPredictor

        self.model, self.space = model, space
        self.generator = SamAutomaticMaskGenerator(
            model,
            points_per_side=settings.points_per_side,
            points_per_batch=settings.points_per_batch,
            pred_iou_thresh=settings.pred_iou_thresh,
            stability_score_thresh=settings.stability_score_thresh,
            stability_score_offset=settings.stability_score_offset,
            box_nms_thresh=settings.box_nms_thresh,
        )
        self.predictor = SamPredictor(model)

    def encode(self, image: Array) -> None:
        """Look at an image."""
        self.predictor.set_image(image)

    def everything(self, image: Array) -> list[dict[str, Any]]:
        """Segment everything; encodes the image itself."""
        found: list[dict[str, Any]] = self.generator.generate(image)
        return found

    def prompts(self, label: Array) -> list[tuple[Array, int]]:
        """One call per component of a thing in the encoded image: its mask and its class."""
        space = self.space
        found = seco.connected_components(
            label, ignore_index=space.ignore_index, classes=space.thing_ids, min_area=10
        )
        boxes = enlarge_boxes(found.boxes, 1.5, label.shape) - 0.5
        things = []
        for box, centre, kind in zip(boxes, found.centres, found.classes, strict=True):
            mask, _, _ = self.predictor.predict(
                point_coords=centre[None], point_labels=np.ones(1), box=box, multimask_output=False
            )
            things.append((mask[0], int(kind)))
        return things

    def vote(
        self, label: Array, masks: list[dict[str, Any]], things: list[tuple[Array, int]]
    ) -> Array:
        """Paint every mask with its most frequent class of stuff, then the things."""
        space = self.space
        out = np.full_like(label, space.ignore_index)
        stuff = np.isin(np.arange(space.num_classes), space.stuff_ids)
        for item in sorted(masks, key=lambda item: -item["area"]):
            votes = label[item["segmentation"]]
            counts = np.bincount(votes[votes < space.num_classes], minlength=space.num_classes)
            shares = counts * stuff / max(counts.sum(), 1)
            if shares.max() > 0.2:
                out[item["segmentation"]] = shares.argmax()
        for mask, kind in things:
            out[mask] = kind
        return out


class _Remembered(nn.Module):
    """An encoder that knows the one image it is asked about."""

    def __init__(self, encoder: Any, features: torch.Tensor) -> None:
        super().__init__()
        self.img_size, self.features = encoder.img_size, features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features


@contextmanager
def encoded(model: Any, features: torch.Tensor) -> Iterator[None]:
    """Let a model take these features for any image's, at no cost."""
    own = model.image_encoder
    model.image_encoder = _Remembered(own, features)
    try:
        yield
    finally:
        model.image_encoder = own
