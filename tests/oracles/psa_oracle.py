"""Segmenters that need no network, and PSA as one would write it without hurry."""

from __future__ import annotations

import math
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

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


class FallibleSegmenter(ExactSegmenter):
    """Errs as SAM does: masks overlap, scores vary, and both depend on the whole prompt.

    Beyond the image its logits are all inside, as if the padding were one object.
    """

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        assert boxes is not None
        assert points is not None
        assert point_labels is not None
        assert not multimask
        assert point_labels.shape == points.shape[:2]
        assert (point_labels == 1).all()
        segments = embedding.features
        height, width = segments.shape
        logits = torch.full((len(boxes), 1, height + 2, width + 1), 10.0)
        scores = torch.empty(len(boxes), 1)
        for index in range(len(boxes)):
            mask, score = fallible_answer(segments, boxes[index].tolist(), points[index].tolist())
            logits[index, 0, :height, :width] = mask.float() * 20 - 10
            scores[index] = score
        return MaskLogits(logits, scores, (float(height), float(width)))


def fallible_answer(
    segments: Tensor, box: list[float], points: list[list[float]]
) -> tuple[Tensor, float]:
    """The mask and the score for one prompt, in pixel indices: the same prompt, the same answer.

    The object is the segment the box fits best with those under the points. How the answer errs
    is drawn from the prompt's digits; scores are quarters from -0.25 to 1, so that some fall on a
    threshold.
    """
    prompt = [round(8 * value) for value in (*box, *(v for point in points for v in point))]
    mood = zlib.crc32(repr(prompt).encode())
    score = (mood // 8 % 6 - 1) / 4
    mask = best_segment(segments, box)
    for x, y in points:
        mask = mask | (segments == segments[int(y), int(x)])
    if mood % 8 == 3:  # one pixel too large
        grown = mask.clone()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    elif mood % 8 == 4:  # taken together with another object
        values = segments.unique()
        mask = mask | (segments == values[mood // 64 % len(values)])
    elif mood % 8 == 5:  # its upper part
        mask = mask.clone()
        mask[int(box[3]) :] = False
    elif mood % 8 == 6:  # whatever is in the box
        mask = torch.zeros_like(mask)
        mask[int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1] = True
    elif mood % 8 == 7:  # nothing
        mask = torch.zeros_like(mask)
    return mask, score


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


def confident(
    label: np.ndarray,
    confidence: np.ndarray,
    fraction: float,
    threshold: float | None,
    ignore: int,
) -> np.ndarray:
    """The label with its less confident pixels ignored, one pixel at a time."""
    kept = np.full_like(label, ignore)
    for pixel in np.ndindex(label.shape):
        if label[pixel] == ignore:
            continue
        least = threshold
        if least is None:
            rivals = sorted((float(c) for c in confidence[label == label[pixel]]), reverse=True)
            least = rivals[max(1, math.ceil(round(fraction * len(rivals), 6))) - 1]
        if confidence[pixel] >= least:
            kept[pixel] = label[pixel]
    return kept


def prompt_points(
    pixels: list[tuple[int, int]], label: np.ndarray, method: str, count: int, ignore: int
) -> list[list[float]]:
    """x, y of the points that stand for one component."""
    ys, xs = [p[0] for p in pixels], [p[1] for p in pixels]
    if method == "centre":
        return [[(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2]]
    own = set(pixels)
    if method == "distance":
        edge = [
            (y, x) for y, x in pixels if not {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} <= own
        ]
        cost = {(y, x): -min(max(abs(y - ey), abs(x - ex)) for ey, ex in edge) for y, x in pixels}
    else:
        cost = {}
        for y, x in pixels:
            window = label[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9].ravel().tolist()
            counts = Counter(value for value in window if value != ignore)
            total = sum(counts.values())
            entropy = -sum(n / total * math.log2(n / total) for n in counts.values())
            cost[y, x] = round(entropy, 6)
    # n times the offset from the centroid is an integer.
    n, sum_y, sum_x = len(pixels), sum(ys), sum(xs)
    ranked = sorted(
        pixels,
        key=lambda p: (cost[p], (n * p[0] - sum_y) ** 2 + (n * p[1] - sum_x) ** 2, p),
    )
    chosen = [ranked[min(turn, n - 1)] for turn in range(count)]
    return [[float(x), float(y)] for y, x in chosen]


Source = tuple[str, int]


@dataclass(frozen=True)
class Reference:
    """What PSA must find.

    ``sources`` tells of every pixel that belongs to a region or a mask which one; several where
    equally good regions lie over it. ``strengths`` tells the class and share of each.
    """

    labels: np.ndarray
    scores: np.ndarray
    sources: dict[tuple[int, int], set[Source]]
    strengths: dict[Source, tuple[int, float]]


def reference_psa(
    segments: np.ndarray,
    regions: np.ndarray,
    own: np.ndarray,
    space: LabelSpace,
    settings: PSASettings,
    *,
    can_prompt: bool,
    confidence: np.ndarray | None,
    keep_fraction: float,
    confidence_threshold: float | None,
    valid: np.ndarray | None,
    outside: str,
) -> Reference:
    """PSA pixel by pixel and prompt by prompt, asking :func:`fallible_answer`.

    The merge rule as it is carried out: first the named regions over a pixel and its own label
    compete (the own label only where there is a named region), then the best claim of a prompted
    mask wins if nothing exceeds it. Within both, of the leading classes the own label wins a tie.
    """
    height, width = own.shape
    known = range(space.num_classes)
    ignore = space.ignore_index
    asked = own if valid is None else np.where(valid, own, ignore)
    selected = asked
    if confidence is not None:
        selected = confident(asked, confidence, keep_fraction, confidence_threshold, ignore)

    every = tuple(known)
    if not can_prompt or settings.method == "alignment":
        named_by, prompted = every, ()
    elif settings.method == "prompts":
        named_by, prompted = (), every
    else:
        named_by = every if settings.align_things else space.stuff_ids
        prompted = space.thing_ids

    strengths: dict[Source, tuple[int, float]] = {}
    masks: dict[Source, np.ndarray] = {}
    for index, mask in enumerate(regions):
        votes = [int(v) for v in selected[mask] if v in known]
        shares = {c: votes.count(c) / len(votes) for c in named_by if votes}
        best = max(shares.values(), default=0.0)
        winners = [c for c in shares if shares[c] == best]
        if best > 0 and best > settings.stuff_share and len(winners) == 1:
            everyone = [int(v) for v in asked[mask] if v in known]
            of_all = everyone.count(winners[0]) / len(everyone)
            sure = best if confidence is None else math.sqrt(best * of_all)
            masks["region", index], strengths["region", index] = mask, (winners[0], sure)

    kept: dict[tuple[int, int], Source] = {}
    tensor = torch.from_numpy(segments.astype(np.int64))
    for index, (kind, pixels) in enumerate(
        flood_components(selected, prompted, settings.connectivity, settings.min_component_area)
    ):
        box = prompt_box(pixels, settings.box_enlargement, own.shape)
        points = prompt_points(pixels, selected, settings.point, settings.points_per_prompt, ignore)
        answer, score = fallible_answer(tensor, box, points)
        mask = answer.numpy()
        votes = [int(v) for v in selected[mask] if v in known]
        agreement = votes.count(kind) / max(len(votes), 1)
        coverage = sum(bool(mask[p]) for p in pixels) / len(pixels)
        believed = (
            score >= settings.thing_iou_thresh
            and agreement >= settings.thing_agreement
            and coverage >= settings.thing_coverage
        )
        if not believed and settings.rejected_things == "keep":
            kept |= dict.fromkeys(pixels, ("mask", index))
            strengths["mask", index] = kind, 0.5
        if not believed and settings.rejected_things != "component":
            continue
        if not believed:
            agreement, mask = 0.5, np.zeros(own.shape, bool)
            for pixel in pixels:
                mask[pixel] = True
        masks["mask", index], strengths["mask", index] = mask, (kind, agreement)

    labels, scores = np.full_like(own, ignore), np.zeros(own.shape)
    sources: dict[tuple[int, int], set[Source]] = {}
    for pixel in np.ndindex(height, width):
        if valid is not None and not valid[pixel]:
            labels[pixel], scores[pixel] = own[pixel], 1.0
            continue
        label = int(own[pixel])
        sure = settings.unknown_confidence if confidence is None else float(confidence[pixel])
        over = [source for source in masks if masks[source][pixel]]
        aligned = [source for source in over if source[0] == "region"]
        claims = [source for source in over if source[0] == "mask"]

        evidence = dict.fromkeys(known, 0.0)
        for source in aligned:
            kind, share = strengths[source]
            evidence[kind] += share / len(aligned)
        if label in known:
            evidence[label] += settings.prior_weight * sure
        winner, value, won_by = None, 0.0, aligned
        if aligned:
            winner, value = _pick(evidence, label), max(evidence.values())
        if claims:
            totals: dict[int, float] = {}
            for source in claims:
                kind, agreement = strengths[source]
                total = settings.thing_weight * agreement + evidence[kind]
                totals[kind] = max(total, totals.get(kind, 0.0))
            if max(totals.values()) >= value - 1e-9:
                winner, value, won_by = _pick(totals, label), max(totals.values()), claims

        if winner is None:
            if outside == "keep":
                labels[pixel], scores[pixel] = label, sure if label in known else 0.0
            elif pixel in kept:
                labels[pixel], scores[pixel] = label, sure
                sources[pixel] = {kept[pixel]}
            continue
        spoken = (
            (1.0 if aligned else 0.0)
            + (settings.prior_weight if label in known else 0.0)
            + (settings.thing_weight if claims else 0.0)
        )
        labels[pixel], scores[pixel] = winner, value / spoken if spoken > 0 else 0.0
        agreeing = [source for source in won_by if strengths[source][0] == winner]
        if agreeing:
            most = max(strengths[source][1] for source in agreeing)
            best_ones = [source for source in agreeing if strengths[source][1] == most]
            sources[pixel] = set(best_ones if won_by is aligned else best_ones[:1])
    return Reference(labels, scores, sources, strengths)


def prompt_box(
    pixels: list[tuple[int, int]], enlargement: float, size: tuple[int, ...]
) -> list[float]:
    """x0, y0, x1, y1 of one component's enlarged box, as pixel indices in float32."""
    height, width = size
    ys, xs = [p[0] for p in pixels], [p[1] for p in pixels]
    centre = ((min(xs) + max(xs) + 1) / 2, (min(ys) + max(ys) + 1) / 2)
    half = (
        (max(xs) + 1 - min(xs)) / 2 * math.sqrt(enlargement),
        (max(ys) + 1 - min(ys)) / 2 * math.sqrt(enlargement),
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
    return torch.tensor(box, dtype=torch.float32).tolist()


def _pick(evidence: dict[int, float], own: int) -> int | None:
    best = max(evidence.values())
    leading = [c for c in evidence if evidence[c] >= best - 1e-9]
    if len(leading) == 1:
        return leading[0]
    return own if own in leading else None
