"""Training samples: an augmented view of a cached image, segments of it, and prompts for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder

FRAME = 256  # side of the model's input; prompts are given in its pixels
LEVEL_ODDS = (0.3, 0.5, 0.2)  # part, object, group


@dataclass(frozen=True)
class View:
    """A square piece of the input frame.

    image: ``(3, V, V)`` float 0..255, 0 in padding. levels: ``(3, V, V)`` uint8, 0 in padding.
    offset: ``(x, y)`` of the view in the frame, in pixels. valid: height and width without padding.
    """

    image: torch.Tensor
    levels: torch.Tensor
    offset: tuple[int, int]
    valid: tuple[int, int]


@dataclass(frozen=True)
class Targets:
    """Segments of a view: masks ``(P, V/2, V/2)`` in 0..1, boxes ``(P, 4)`` x0 y0 x1 y1 in it."""

    masks: torch.Tensor
    boxes: torch.Tensor


def random_view(rng: np.random.Generator, image: np.ndarray, levels: np.ndarray, side: int) -> View:
    """Zoom, crop to any aspect, flip, recolour; place in the frame on the encoder's windows."""
    rows = np.flatnonzero(levels[0].any(1))
    cols = np.flatnonzero(levels[0].any(0))
    height, width = int(rows[-1]) + 1, int(cols[-1]) + 1
    # A small view shows a smaller piece, so that segments keep about their size.
    widest = 1.0 if side == FRAME else 0.75
    zoom = widest * np.exp(rng.uniform(np.log(0.5), 0))
    h = w = zoom * max(height, width)
    if rng.random() < 0.35:  # as after SAM's resize of a photograph: one side shorter, padded
        aspect = rng.uniform(0.5, 1)
        h, w = (h * aspect, w) if rng.random() < 0.7 else (h, w * aspect)
    h, w = min(max(int(h), 32), height), min(max(int(w), 32), width)
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    scale = side / max(h, w)
    out = (max(8, round(h * scale)), max(8, round(w * scale)))
    window = np.s_[top : top + h, left : left + w]
    picture = torch.from_numpy(np.ascontiguousarray(image[window])).permute(2, 0, 1)[None].float()
    labels = torch.from_numpy(np.ascontiguousarray(levels[(slice(None), *window)]))[None]
    if out != (h, w):
        picture = F.interpolate(
            picture, out, mode="bilinear", antialias=scale < 1, align_corners=False
        )
        labels = F.interpolate(labels, out, mode="nearest-exact")
    picture, labels = picture[0], labels[0]
    if rng.random() < 0.5:
        picture, labels = picture.flip(-1), labels.flip(-1)
    if rng.random() < 0.15:
        picture, labels = picture.flip(-2), labels.flip(-2)
    picture = _recolour(rng, picture)
    pad = (0, side - out[1], 0, side - out[0])
    steps = (FRAME - side) // 64 + 1
    offset = (64 * int(rng.integers(steps)), 64 * int(rng.integers(steps)))
    return View(F.pad(picture, pad), F.pad(labels, pad), offset, out)


def _recolour(rng: np.random.Generator, picture: torch.Tensor) -> torch.Tensor:
    if rng.random() < 0.3:
        picture = picture[torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.1:
        picture = 255 - picture
    if rng.random() < 0.1:
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))).float()
    picture = picture * gain[:, None, None] + float(rng.normal(0, 10))
    return picture.clamp(0, 255).round()


def draw_targets(rng: np.random.Generator, view: View, count: int) -> Targets | None:
    """``count`` segments over the levels, small or large alike; None if none fit."""
    side = view.levels.shape[-1]
    smallest = 20 * (side / FRAME) ** 2
    level, ids, odds = [], [], []
    for k in range(3):
        area = torch.bincount(view.levels[k].flatten().int(), minlength=256).numpy()
        fit = np.flatnonzero((area >= smallest) & (area <= 0.9 * side * side))
        fit = fit[fit > 0]
        if fit.size:
            level += [k] * fit.size
            ids += fit.tolist()
            odds.append(np.full(fit.size, LEVEL_ODDS[k] / fit.size))
    if not ids:
        return None
    chance = np.concatenate(odds)
    pick = rng.choice(len(ids), count, replace=len(ids) < count, p=chance / chance.sum())
    masks = view.levels[torch.tensor(level)[pick]] == torch.tensor(ids)[pick].view(-1, 1, 1)
    across, down = masks.any(1).int(), masks.any(2).int()
    boxes = torch.stack(
        [
            across.argmax(1),
            down.argmax(1),
            side - across.flip(1).argmax(1),
            side - down.flip(1).argmax(1),
        ],
        1,
    ).float()
    return Targets(F.avg_pool2d(masks.float()[:, None], 2)[:, 0], boxes)


def surroundings(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """``(P, V/2, V/2)`` bool: the boxes, doubled in width and height and 8 pixels more."""
    grow = 0.5 * (boxes[:, 2:] - boxes[:, :2]) + 8
    at = torch.arange(0.5, side, 2)
    low, high = (boxes[:, :2] - grow)[..., None], (boxes[:, 2:] + grow)[..., None]
    inside = (at >= low) & (at <= high)
    return inside[:, 1, :, None] & inside[:, 0, None, :]


def jittered_boxes(
    rng: np.random.Generator, boxes: torch.Tensor, valid: tuple[int, int]
) -> torch.Tensor:
    """Tight boxes, noisy ones (10 % of the side), and boxes enlarged up to ×1.5 in area."""
    count = len(boxes)
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    kind = torch.from_numpy(rng.choice(3, count, p=[0.5, 0.3, 0.2]))[:, None]
    noise = torch.from_numpy(rng.normal(0, 0.1, (count, 4))).float()
    noisy = boxes + (noise * size).clamp(-20, 20)
    grow = torch.from_numpy(np.sqrt(rng.uniform(1, 1.7, (count, 1))) - 1).float() / 2
    grown = boxes + grow * size * torch.tensor([-1, -1, 1, 1])
    tight = boxes - torch.from_numpy(rng.integers(0, 2, (count, 1))) * torch.tensor([0, 0, 1, 1])
    out = torch.where(kind == 0, tight, torch.where(kind == 1, noisy, grown))
    limit = torch.tensor([valid[1], valid[0], valid[1], valid[0]])
    return torch.minimum(out.clamp(min=0), limit)


def points_inside(
    rng: np.random.Generator, generator: torch.Generator, masks: torch.Tensor, count: int
) -> torch.Tensor:
    """``(P, count, 2)`` x, y in the view: anywhere in the segment, or deep inside it."""
    weight = (masks > 0.5).float() + 1e-3 * masks + 1e-9
    if rng.random() < 0.5:
        depth = F.avg_pool2d(masks[:, None], 9, stride=1, padding=4)[:, 0]
        weight = weight * (depth**6 + 1e-6)
    side = masks.shape[-1]
    at = torch.multinomial(weight.flatten(1), count, replacement=True, generator=generator)
    cell = torch.stack([at % side, at // side], -1).float()
    return 2 * cell + 2 * torch.rand(cell.shape, generator=generator) - 0.5


def points_outside(generator: torch.Generator, masks: torch.Tensor) -> torch.Tensor:
    """``(P, 1, 2)`` negative points, near the segment more often than far."""
    near = F.max_pool2d(masks[:, None], 17, stride=1, padding=8)[:, 0]
    weight = (masks < 0.1).float() * (near + 0.02) + 1e-9
    at = torch.multinomial(weight.flatten(1), 1, generator=generator)
    side = masks.shape[-1]
    return 2 * torch.stack([at % side, at // side], -1).float() + 0.5


def embed_prompts(
    rng: np.random.Generator,
    generator: torch.Generator,
    encoder: PromptEncoder,
    view: View,
    targets: Targets,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prompts of mixed kinds with equally many tokens, so that one decoder call takes them all.

    Two tokens: boxes | single points. Three: box and point | two points | point and negative.

    Returns:
        Sparse embeddings ``(P, T, C)``, ``(P,)`` bool: a single point, and ``(P, 2)`` the prompt's
        point in the view (NaN for boxes).
    """
    count = len(targets.boxes)
    shift = torch.tensor(view.offset).float()
    boxes = jittered_boxes(rng, targets.boxes, view.valid) + shift.repeat(2)
    points = points_inside(rng, generator, targets.masks, 2)
    where = torch.full((count, 2), torch.nan)
    single = torch.zeros(count, dtype=torch.bool)
    points = points + shift

    def encode(
        slot: slice, box: bool, coordinates: torch.Tensor | None, labels: list[int]
    ) -> torch.Tensor:
        chosen = boxes[slot].to(device) if box else None
        prompt = None
        if coordinates is not None:
            sign = torch.tensor(labels, device=device).repeat(len(coordinates), 1)
            prompt = (coordinates.to(device), sign)
        return encoder(points=prompt, boxes=chosen, masks=None)[0]

    if rng.random() < 0.7:
        cut = round(0.75 * count)
        first, second = slice(0, cut), slice(cut, count)
        single[second] = True
        where[second] = points[second, 0] - shift
        parts = [encode(first, True, None, []), encode(second, False, points[second, :1], [1])]
    else:
        a, b = round(0.5 * count), round(0.75 * count)
        first, second, third = slice(0, a), slice(a, b), slice(b, count)
        negative = points_outside(generator, targets.masks) + shift
        mixed = torch.cat([points[:, :1], negative], 1)
        parts = [
            encode(first, True, points[first, :1], [1]),
            encode(second, False, points[second], [1, 1]),
            encode(third, False, mixed[third], [1, 0]),
        ]
    return torch.cat(parts), single, where
