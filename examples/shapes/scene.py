"""Segments drawn over one another, painted and photographed: one generated image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from shapes.fields import Rng, grid, noise
from shapes.outlines import Bools, silhouette, split
from shapes.photography import camera, light
from shapes.surfaces import Surface


@dataclass(frozen=True)
class ShapesImage:
    """An image and its segments.

    image: ``(H, W, 3)`` uint8 RGB. levels: ``(3, H, W)`` uint8 segment ids from 1, for the part,
    the object and the group each pixel belongs to.
    """

    image: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.uint8]


def shapes_image(seed: int, *, size: int = 256) -> ShapesImage:
    """Draw one image of ``size`` × ``size`` pixels; the same seed gives the same image."""
    rng = np.random.default_rng(seed)
    scene = _Scene(rng, size)
    kind = rng.choice(["mosaic", "objects", "clutter"], p=[0.15, 0.6, 0.25])
    if kind == "mosaic":
        scene.add_mosaic(int(rng.integers(6, 60)))
    else:
        scene.add_background()
    count = {"mosaic": rng.integers(0, 4), "objects": rng.integers(2, 14)}.get(
        kind, rng.integers(14, 45)
    )
    for _ in range(int(count)):
        scene.add_object()
    return scene.render()


class _Scene:
    """Segments are drawn back to front into one map of part ids; surfaces are painted last."""

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng, self.size = rng, size
        self.ids = np.zeros((size, size), np.int64)
        self.surfaces: list[Surface] = []
        self.object_of: list[int] = []
        self.group_of: list[int] = []
        self.objects = self.groups = 0

    def _part(self, surface: Surface, group: int) -> int:
        self.surfaces.append(surface)
        self.object_of.append(self.objects)
        self.group_of.append(group)
        return len(self.surfaces) - 1

    def _new_object(self) -> None:
        self.objects += 1

    def add_background(self) -> None:
        """One to five wide regions: layers as in a landscape, or patches."""
        rng, n = self.rng, self.size
        y, x = grid(n, n)
        wobble = noise(rng, n, n, smooth=rng.uniform(0.7, 1)) * rng.exponential(0.05) * n
        count = int(rng.integers(1, 6))
        if rng.random() < 0.6:
            tilt = rng.normal(0, 0.15)
            cuts = np.sort(rng.uniform(0.1, 0.9, count - 1)) * n
            region = np.digitize(y + tilt * (x - n / 2) + wobble, cuts)
        else:
            points = rng.uniform(0, n, (count, 2))
            distance = [
                np.hypot(y - a, x - b) + 2 * wobble * (k % 2) for k, (a, b) in enumerate(points)
            ]
            region = np.argmin(distance, axis=0)
        for k in range(count):
            self._new_object()
            self.groups += 1
            self.ids[region == k] = self._part(Surface.draw(rng), self.groups)

    def add_mosaic(self, cells: int) -> None:
        """Voronoi cells over the whole image; neighbours may form groups of like surfaces."""
        rng, n = self.rng, self.size
        y, x = grid(n, n)
        points = rng.uniform(0, n, (cells, 2)).astype(np.float32)
        wobble = [noise(rng, n, n, smooth=1.0) * rng.exponential(5) for _ in range(2)]
        y, x = y + wobble[0], x + wobble[1]
        region = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0)
        families = rng.uniform(0, n, (max(2, cells // 4), 2))
        family = np.argmin(((points[:, None] - families) ** 2).sum(-1), axis=1)
        styles = [Surface.draw(rng) for _ in families]
        related = rng.random() < 0.5
        for k in range(cells):
            self._new_object()
            surface = styles[family[k]].vary(rng, 0.12) if related else Surface.draw(rng)
            group = self.groups + 1 + (int(family[k]) if related else k)
            self.ids[region == k] = self._part(surface, group)
        self.groups += cells + len(families)

    def add_object(self) -> None:
        """An object of power-law size, sometimes a group of several like it side by side."""
        rng, n = self.rng, self.size
        extent = float(np.clip(14 * (rng.pareto(0.8) + 1), 14, 0.8 * n))
        aspect = np.exp(rng.normal(0, 0.55))
        h = int(np.clip(extent * aspect, 6, 0.95 * n))
        w = int(np.clip(extent / aspect, 6, 0.95 * n))
        cy, cx = rng.uniform(0, n, 2)
        surface = Surface.draw(rng)
        if rng.random() < 0.3:  # camouflage: hardly differs from what it lies on
            below = self.surfaces[self.ids[int(cy), int(cx)]]
            surface = below.vary(rng, 0.08)
        self.groups += 1
        copies = int(rng.integers(2, 6)) if rng.random() < 0.25 else 1
        step = rng.uniform(0.6, 1.1) * np.array([h, w]) * rng.choice([0, 1], 2)
        for k in range(copies):
            self._new_object()
            like = surface if k == 0 else surface.vary(rng, 0.06)
            jitter = rng.normal(0, 0.1, 2) * [h, w]
            self._place(
                silhouette(rng, h, w),
                cy + k * step[0] + jitter[0],
                cx + k * step[1] + jitter[1],
                like,
            )
            if rng.random() < 0.2:  # a limb: another outline that belongs to the same object
                limb = silhouette(
                    rng, max(5, int(h * rng.uniform(0.3, 1))), max(5, int(w * rng.uniform(0.3, 1)))
                )
                self._place(
                    limb,
                    cy + k * step[0] + rng.normal(0, 0.4) * h,
                    cx + k * step[1] + rng.normal(0, 0.4) * w,
                    like.vary(rng, 0.1),
                )

    def _place(self, mask: Bools, cy: float, cx: float, surface: Surface) -> None:
        """Write a silhouette, clipped to the image, as one object of one or several parts."""
        n = self.size
        h, w = mask.shape
        top, left = int(cy - h / 2), int(cx - w / 2)
        i, j = max(top, 0), max(left, 0)
        bottom, right = min(top + h, n), min(left + w, n)
        if i >= bottom or j >= right:
            return
        window = np.s_[i:bottom, j:right]
        inner = np.s_[i - top : bottom - top, j - left : right - left]
        parts = np.zeros((h, w), np.int64)
        if min(h, w) > 16 and self.rng.random() < 0.4:
            parts = split(self.rng, mask)
        apart = self.rng.exponential(0.15)
        names = {}
        for value in np.unique(parts[inner]):
            like = surface if value == 0 else surface.vary(self.rng, apart)
            names[int(value)] = self._part(like, self.groups)
        lookup = np.zeros(int(parts.max()) + 1, np.int64)
        lookup[list(names)] = list(names.values())
        self.ids[window] = np.where(mask[inner], lookup[parts[inner]], self.ids[window])

    def render(self) -> ShapesImage:
        rng, n = self.rng, self.size
        ids = _warp(rng, self.ids)
        object_of, group_of = np.array(self.object_of), np.array(self.group_of)
        image = np.zeros((n, n, 3), np.float32)
        for k, window in enumerate(ndimage.find_objects(ids + 1)):
            if window is None:
                continue
            inside = ids[window] == k
            patch = self.surfaces[k].paint(rng, *inside.shape)
            image[window][inside] = patch[inside]
        image *= light(rng, object_of[ids])[..., None]
        levels = np.stack([_renumber(v) for v in (ids, object_of[ids], group_of[ids])])
        return ShapesImage(camera(rng, image), levels)


def _renumber(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Ids 1.. in uint8; the (rare) ids beyond 255, the topmost, become one."""
    dense = np.unique(ids, return_inverse=True)[1].reshape(ids.shape) + 1
    return np.minimum(dense, 255).astype(np.uint8)


def _warp(rng: Rng, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bend all outlines by a smooth displacement, so that straight edges are not the rule."""
    if rng.random() < 0.35:
        return ids
    n = ids.shape[0]
    y, x = grid(n, n)
    strength = rng.exponential(2.5)
    smooth = rng.uniform(0.75, 1.0)
    y = y + strength * noise(rng, n, n, smooth=smooth)
    x = x + strength * noise(rng, n, n, smooth=smooth)
    return ids[np.clip(np.rint(y), 0, n - 1).astype(int), np.clip(np.rint(x), 0, n - 1).astype(int)]
