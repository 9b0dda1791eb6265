"""An exact segmenter that needs no network, and PSA as one would write it without hurry."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seco import Embedding, LabelSpace, MaskLogits, PSASettings


class ExactSegmenter:
    """Knows the true segments: a box prompt gets the segment that overlaps it best (IoU).

    Segments are read from the image's red channel, so that it is a function of the image alone.
    """

    def __init__(self) -> None:
        self.encoded = 0
        self.prompts: list[int] = []

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode(self, images: Tensor) -> Sequence[Embedding]:
        self.encoded += len(images)
        size = (images.shape[-2], images.shape[-1])
        return [Embedding(image[0].long(), size) for image in images]

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        segments = embedding.features
        if boxes is not None:
            self.prompts.append(len(boxes))
            masks = [best_segment(segments, box.tolist()) for box in boxes]
        else:
            assert points is not None
            self.prompts.append(len(points))
            masks = [segments == segments[int(p[0, 1]), int(p[0, 0])] for p in points]
        logits = torch.stack(masks).float()[:, None] * 20 - 10
        scores = torch.full((len(logits), 1), 0.95)
        if multimask:
            logits, scores = logits.expand(-1, 3, -1, -1), scores.expand(-1, 3)
        return MaskLogits(logits, scores, (float(segments.shape[0]), float(segments.shape[1])))


def best_segment(segments: Tensor, box: list[float]) -> Tensor:
    """The segment whose bounding box has the highest IoU with a box of pixel indices."""
    best, best_iou = segments == segments[0, 0], -1.0
    for value in segments.unique().tolist():
        mask = segments == value
        ys, xs = mask.nonzero(as_tuple=True)
        own = [xs.min() - 0.5, ys.min() - 0.5, xs.max() + 0.5, ys.max() + 0.5]
        width = min(own[2], box[2] + 0.5) - max(own[0], box[0] - 0.5)
        height = min(own[3], box[3] + 0.5) - max(own[1], box[1] - 0.5)
        shared = max(0.0, float(width)) * max(0.0, float(height))
        area = float((own[2] - own[0]) * (own[3] - own[1]))
        box_area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
        iou = round(shared / (area + box_area - shared), 9)
        # Ties: the segment with the larger mean red, so that flips do not change the choice.
        if iou > best_iou or (iou == best_iou and value > segments[best][0]):
            best, best_iou = mask, iou
    return best


def flood_components(
    label: np.ndarray, classes: Sequence[int], connectivity: int, min_area: int
) -> list[tuple[int, list[tuple[int, int]]]]:
    """(class, pixels) of every component, one flood fill at a time."""
    height, width = label.shape
    seen = np.zeros(label.shape, bool)
    found = []
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    if connectivity == 8:
        steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for y in range(height):
        for x in range(width):
            if seen[y, x] or label[y, x] not in classes:
                continue
            pixels, queue = [], deque([(y, x)])
            seen[y, x] = True
            while queue:
                cy, cx = queue.popleft()
                pixels.append((cy, cx))
                for dy, dx in steps:
                    ny, nx = cy + dy, cx + dx
                    inside = 0 <= ny < height and 0 <= nx < width
                    if inside and not seen[ny, nx] and label[ny, nx] == label[y, x]:
                        seen[ny, nx] = True
                        queue.append((ny, nx))
            if len(pixels) >= min_area:
                found.append((int(label[y, x]), pixels))
    return found


def reference_psa(
    segments: np.ndarray,
    selected: np.ndarray,
    own: np.ndarray,
    confidence: np.ndarray | None,
    space: LabelSpace,
    settings: PSASettings,
    outside: str,
) -> np.ndarray:
    """PSA pixel by pixel and prompt by prompt, with the exact segmenter's own segments.

    The regions are the segments that "segment everything" finds: all of them.
    """
    height, width = selected.shape
    known = range(space.num_classes)
    stuff = tuple(known) if settings.align_things else space.stuff_ids
    named_by = {"psa": stuff, "alignment": tuple(known), "prompts": ()}[settings.method]
    prompted = {"psa": space.thing_ids, "alignment": (), "prompts": tuple(known)}[settings.method]

    names: dict[int, tuple[int, float]] = {}
    for value in np.unique(segments):
        votes = [int(v) for v in selected[segments == value] if v in known]
        shares = {c: votes.count(c) / len(votes) for c in named_by if votes}
        if not shares:
            continue
        best = max(shares.values())
        winners = [c for c in shares if shares[c] == best]
        if best > settings.stuff_share and len(winners) == 1:
            names[int(value)] = (winners[0], best)

    claims: list[tuple[int, float, set[tuple[int, int]]]] = []
    tensor = torch.from_numpy(segments.astype(np.int64))
    for kind, pixels in flood_components(
        selected, prompted, settings.connectivity, settings.min_component_area
    ):
        ys, xs = [p[0] for p in pixels], [p[1] for p in pixels]
        centre = ((min(xs) + max(xs) + 1) / 2, (min(ys) + max(ys) + 1) / 2)
        half = (
            (max(xs) + 1 - min(xs)) / 2 * math.sqrt(settings.box_enlargement),
            (max(ys) + 1 - min(ys)) / 2 * math.sqrt(settings.box_enlargement),
        )
        box = [
            min(max(edge - 0.5, 0), limit - 1)
            for edge, limit in (
                (max(centre[0] - half[0], 0), width),
                (max(centre[1] - half[1], 0), height),
                (min(centre[0] + half[0], width), width),
                (min(centre[1] + half[1], height), height),
            )
        ]
        box = torch.tensor(box, dtype=torch.float32).tolist()
        mask = best_segment(tensor, box).numpy()
        votes = [int(v) for v in selected[mask] if v in known]
        agreement = votes.count(kind) / max(len(votes), 1)
        coverage = sum(bool(mask[p]) for p in pixels) / len(pixels)
        believed = (
            settings.thing_iou_thresh <= 0.95
            and agreement >= settings.thing_agreement
            and coverage >= settings.thing_coverage
        )
        if believed:
            claims.append((kind, agreement, {(int(y), int(x)) for y, x in np.argwhere(mask)}))
        elif settings.rejected_things == "component":
            claims.append((kind, 0.5, set(pixels)))

    result = np.full_like(own, space.ignore_index)
    for y in range(height):
        for x in range(width):
            label = int(own[y, x])
            sure = settings.unknown_confidence if confidence is None else float(confidence[y, x])
            prior = settings.prior_weight * sure if label in known else 0.0
            region = names.get(int(segments[y, x]))
            here = [(kind, agreement) for kind, agreement, mask in claims if (y, x) in mask]
            if region is None and not here:
                if outside == "keep":
                    result[y, x] = label
                continue
            stuff = dict.fromkeys(known, 0.0)
            if region is not None:
                stuff[region[0]] += region[1]
            if label in known:
                stuff[label] += prior
            base = _pick(stuff, label) if region is not None else None
            base_value = max(stuff.values()) if region is not None else 0.0
            totals = {
                kind: max(a for k, a in here if k == kind) * settings.thing_weight + stuff[kind]
                for kind, _ in here
            }
            winner = base
            if totals and max(totals.values()) >= base_value - 1e-9:
                winner = _pick(totals, label)
            if winner is None:
                winner = label if outside == "keep" else space.ignore_index
            result[y, x] = winner
    return result


def _pick(evidence: dict[int, float], own: int) -> int | None:
    best = max(evidence.values())
    leading = [c for c in evidence if evidence[c] >= best - 1e-9]
    if len(leading) == 1:
        return leading[0]
    return own if own in leading else None
