"""Procedural images with nested segments, for training the bundled tiny SAM.

Everything in an image is drawn here; no photograph is used. The statistics that matter for
transfer to photographs are imitated: objects of power-law sizes hide one another ("dead leaves"),
surfaces carry 1/f noise and regular patterns, light varies over the image, some borders have
almost no contrast, and lens blur, sensor noise and JPEG compression come last.

Each pixel belongs to one segment at each of three levels (part, object, group), so a point prompt
has several right answers, as in a photograph.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

Rng = np.random.Generator
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

BANK_SIZE = 512
PART, OBJECT, GROUP = 0, 1, 2


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


# --- fields -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _noise_bank() -> Floats:
    """(24, S, S) periodic 1/f^a noise fields of unit variance, a from 0.4 to 2.6."""
    rng = np.random.default_rng(2024)
    fy = np.fft.fftfreq(BANK_SIZE)[:, None]
    fx = np.fft.rfftfreq(BANK_SIZE)[None, :]
    fields = []
    for k in range(24):
        stretch = np.exp(rng.normal(0, 0.6)) if k % 3 == 0 else 1.0
        radius = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
        radius[0, 0] = np.inf
        spectrum = np.fft.rfft2(rng.standard_normal((BANK_SIZE, BANK_SIZE)))
        field = np.fft.irfft2(spectrum * radius ** -(0.4 + 2.2 * k / 23), s=(BANK_SIZE, BANK_SIZE))
        fields.append((field / field.std()).astype(np.float32))
    return np.stack(fields)


@lru_cache(maxsize=1)
def _leaves_bank() -> Floats:
    """(6, S, S) fine dead-leaves fields (foliage, pebbles, crowds), values about N(0, 1)."""
    rng = np.random.default_rng(2025)
    fields = []
    for k in range(6):
        canvas = Image.new("F", (BANK_SIZE, BANK_SIZE))
        draw = ImageDraw.Draw(canvas)
        for _ in range(9000 // (1 + k)):
            r = min(2.0 * (1 + 0.6 * k) * rng.pareto(2.0) + 1.5, 20)
            x, y = rng.uniform(0, BANK_SIZE, 2)
            squeeze = np.exp(rng.normal(0, 0.4))
            box = [x - r * squeeze, y - r / squeeze, x + r * squeeze, y + r / squeeze]
            draw.ellipse(box, fill=float(rng.normal()))
        fields.append(np.asarray(canvas, np.float32))
    return np.stack(fields)


def _crop(rng: Rng, bank: Floats, index: int, h: int, w: int) -> Floats:
    """A random window of one field, randomly transposed and flipped."""
    field = bank[index]
    if rng.random() < 0.5:
        field = field.T
    y, x = rng.integers(0, BANK_SIZE - h + 1), rng.integers(0, BANK_SIZE - w + 1)
    return field[y : y + h, x : x + w][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def _noise(rng: Rng, h: int, w: int, *, smooth: float | None = None) -> Floats:
    """Noise of a random exponent, or of the one nearest to ``smooth`` in 0..1."""
    k = int(rng.integers(24)) if smooth is None else round(smooth * 23)
    return _crop(rng, _noise_bank(), k, h, w)


def _grid(h: int, w: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return y, x


def _wave(rng: Rng, h: int, w: int, angle: float) -> Floats:
    """A grating in -1..1: period 3 to 40 px, random duty, sharpness and waviness."""
    y, x = _grid(h, w)
    period = 3 * 13 ** rng.random()
    phase = (np.cos(angle) * x + np.sin(angle) * y) / period + rng.random()
    if rng.random() < 0.5:
        phase = phase + rng.exponential(0.3) * _noise(rng, h, w, smooth=rng.uniform(0.6, 1))
    wave = np.sin(2 * np.pi * phase) + rng.uniform(-0.7, 0.7)
    return np.tanh(wave * np.exp(rng.uniform(-0.5, 2.5))).astype(np.float32)


def _pattern(rng: Rng, kind: str, h: int, w: int) -> Floats:
    """A scalar texture, roughly in -1.5..1.5."""
    if kind == "flat":
        return np.zeros((h, w), np.float32)
    if kind == "noise":
        return 0.6 * _noise(rng, h, w)
    if kind == "spots":
        field = _noise(rng, h, w, smooth=rng.uniform(0.3, 0.95)) + rng.uniform(-1, 1)
        return np.tanh(field * np.exp(rng.uniform(0, 3)))
    if kind == "veins":
        field = np.abs(_noise(rng, h, w, smooth=rng.uniform(0.4, 0.9)))
        return 1 - np.minimum(2.5 * field, 2)
    if kind == "leaves":
        return 0.8 * _crop(rng, _leaves_bank(), int(rng.integers(6)), h, w)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    if kind == "stripes":
        return _wave(rng, h, w, angle)
    return _wave(rng, h, w, angle) * _wave(rng, h, w, angle + np.pi / 2)


_KINDS = ["flat", "noise", "spots", "veins", "leaves", "stripes", "checker"]
_KIND_ODDS = [0.14, 0.34, 0.12, 0.08, 0.14, 0.11, 0.07]


def _colour(rng: Rng) -> Floats:
    """A colour in 0..1: any lightness, mostly weak saturation, as in photographs."""
    grey = rng.beta(1.3, 1.3)
    tint = rng.normal(0, 1, 3)
    tint = (tint - tint.mean()) * min(rng.exponential(0.08), 0.35)
    return np.clip(grey + tint, 0.02, 0.98).astype(np.float32)


@dataclass(frozen=True)
class _Surface:
    """How a part is painted; parts of one object share or vary this."""

    base: Floats
    kind: str
    contrast: float
    grain: float

    @staticmethod
    def draw(rng: Rng) -> _Surface:
        kind = str(rng.choice(_KINDS, p=_KIND_ODDS))
        return _Surface(_colour(rng), kind, min(rng.exponential(0.13), 0.5), rng.exponential(0.03))

    def vary(self, rng: Rng, amount: float) -> _Surface:
        base = np.clip(self.base + amount * (rng.normal() + 0.5 * rng.normal(0, 1, 3)), 0, 1)
        kind = self.kind if rng.random() < 0.6 else str(rng.choice(_KINDS, p=_KIND_ODDS))
        return _Surface(base.astype(np.float32), kind, self.contrast, self.grain)

    def paint(self, rng: Rng, h: int, w: int) -> Floats:
        direction = 1 + 0.5 * rng.normal(0, 1, 3)
        field = _pattern(rng, self.kind, h, w)[..., None] * (self.contrast * direction)
        grain = _noise(rng, h, w, smooth=rng.uniform(0, 0.6))[..., None] * self.grain
        slow = _noise(rng, h, w, smooth=1.0)[..., None] * rng.exponential(0.04)
        return (self.base + field + grain + slow).astype(np.float32)


# --- silhouettes --------------------------------------------------------------------------------


def _drawn(h: int, w: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (w, h))
    return image, ImageDraw.Draw(image)


def _radial(rng: Rng, h: int, w: int, *, harmonics: int, spread: float) -> Bools:
    """A star-shaped outline from a random Fourier series."""
    y, x = _grid(h, w)
    y, x = (y - (h - 1) / 2) / (h / 2), (x - (w - 1) / 2) / (w / 2)
    theta = np.arctan2(y, x)
    radius = np.full_like(theta, 0.85)
    for k in range(1, harmonics + 1):
        radius += spread * rng.normal() / k * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    power = rng.choice([2.0, 2.0, 3.0, 6.0, 1.0])
    return (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power) < radius


def _polygon(rng: Rng, h: int, w: int) -> Bools:
    n = int(rng.integers(3, 9))
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    r = rng.uniform(0.5 if rng.random() < 0.5 else 0.9, 1.0, n)
    image, draw = _drawn(h, w)
    points = np.stack([w / 2 + w / 2 * r * np.cos(angle), h / 2 + h / 2 * r * np.sin(angle)], 1)
    draw.polygon([(float(a), float(b)) for a, b in points], fill=1)
    return np.asarray(image) > 0


def _quad(rng: Rng, h: int, w: int) -> Bools:
    inset = rng.uniform(0, 0.35, 2) * (rng.random() < 0.5)
    image, draw = _drawn(h, w)
    left, right = inset * w
    draw.polygon([(left, 0), (w - 1 - right, 0), (w - 1, h - 1), (0, h - 1)], fill=1)
    return np.asarray(image) > 0


def _tube(rng: Rng, h: int, w: int) -> Bools:
    """A bent bar: pole, branch, snake."""
    n = int(rng.integers(2, 6))
    t = np.linspace(0.05, 0.95, n)
    bend = rng.uniform(0.1, 0.9, n)
    along = np.stack([t * w, bend * h], 1) if w > h else np.stack([bend * w, t * h], 1)
    dense = np.linspace(0, n - 1, 24)
    line = np.stack([np.interp(dense, np.arange(n), along[:, k]) for k in range(2)], 1)
    line = ndimage.gaussian_filter1d(line, 1.5, axis=0, mode="nearest")
    width = max(3, int(min(h, w) * rng.uniform(0.05, 0.35)))
    image, draw = _drawn(h, w)
    draw.line([(float(a), float(b)) for a, b in line], fill=1, width=width, joint="curve")
    return np.asarray(image) > 0


def _cloud(rng: Rng, h: int, w: int) -> Bools:
    """A ragged blob: crowns of trees, rocks, stains."""
    y, x = _grid(h, w)
    r = np.hypot((y - h / 2) / (h / 2), (x - w / 2) / (w / 2))
    mask = r + 0.22 * _noise(rng, h, w, smooth=rng.uniform(0.6, 1.0)) < 0.75
    labels, count = ndimage.label(mask)
    if count == 0:
        return r < 0.8
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _silhouette(rng: Rng, h: int, w: int) -> Bools:
    kind = rng.choice(6, p=[0.2, 0.25, 0.15, 0.15, 0.1, 0.15])
    if kind == 0:
        mask = _radial(rng, h, w, harmonics=1, spread=0.02)
    elif kind == 1:
        mask = _radial(rng, h, w, harmonics=7, spread=rng.uniform(0.05, 0.3))
    elif kind == 2:
        mask = _polygon(rng, h, w)
    elif kind == 3:
        mask = _quad(rng, h, w)
    elif kind == 4:
        mask = _tube(rng, h, w)
    else:
        mask = _cloud(rng, h, w)
    if rng.random() < 0.4:
        mask = ndimage.rotate(mask.astype(np.uint8), rng.uniform(0, 360), order=0) > 0
    return mask


def _split(rng: Rng, mask: Bools) -> npt.NDArray[np.int64]:
    """Cut a silhouette into parts: 0, 1, ... on the mask (values outside have no meaning)."""
    h, w = mask.shape
    y, x = _grid(h, w)
    kind = rng.choice(4)
    if kind == 0:  # rows and columns of windows on a wall
        rows, cols = rng.integers(1, 5, 2)
        v, u = y / h * rows, x / w * cols
        margin = rng.uniform(0.1, 0.35)
        inside = (np.abs(v % 1 - 0.5) < 0.5 - margin) & (np.abs(u % 1 - 0.5) < 0.5 - margin)
        return np.where(inside, 1 + v.astype(int) * cols + u.astype(int), 0)
    if kind == 1:  # bands
        angle, n = rng.uniform(0, np.pi), int(rng.integers(2, 5))
        along = np.cos(angle) * (x / w - 0.5) + np.sin(angle) * (y / h - 0.5)
        return np.digitize(along, np.sort(rng.uniform(-0.4, 0.4, n - 1)))
    if kind == 2:  # patches
        points = rng.uniform(0, 1, (int(rng.integers(2, 6)), 2)) * [h, w]
        return np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0)
    out = np.zeros((h, w), np.int64)  # smaller shapes on top: eyes, wheels, doors, prints
    for k in range(int(rng.integers(1, 5))):
        a, b = (np.maximum(4, rng.uniform(0.12, 0.5, 2) * [h, w])).astype(int)
        piece = _silhouette(rng, min(a, h), min(b, w))[:h, :w]
        i = int(rng.integers(0, h - piece.shape[0] + 1))
        j = int(rng.integers(0, w - piece.shape[1] + 1))
        out[i : i + piece.shape[0], j : j + piece.shape[1]][piece] = k + 1
    return out


# --- a scene ------------------------------------------------------------------------------------


class _Scene:
    """Segments are drawn back to front into one map of part ids; surfaces are painted last."""

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng, self.size = rng, size
        self.ids = np.zeros((size, size), np.int64)
        self.surfaces: list[_Surface] = []
        self.object_of: list[int] = []
        self.group_of: list[int] = []
        self.objects = self.groups = 0

    def _part(self, surface: _Surface, group: int) -> int:
        self.surfaces.append(surface)
        self.object_of.append(self.objects)
        self.group_of.append(group)
        return len(self.surfaces) - 1

    def _new_object(self) -> None:
        self.objects += 1

    def add_background(self) -> None:
        """One to five wide regions: layers as in a landscape, or patches."""
        rng, n = self.rng, self.size
        y, x = _grid(n, n)
        wobble = _noise(rng, n, n, smooth=rng.uniform(0.7, 1)) * rng.exponential(0.05) * n
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
            self.ids[region == k] = self._part(_Surface.draw(rng), self.groups)

    def add_mosaic(self, cells: int) -> None:
        """Voronoi cells over the whole image; neighbours may form groups of like surfaces."""
        rng, n = self.rng, self.size
        y, x = _grid(n, n)
        points = rng.uniform(0, n, (cells, 2)).astype(np.float32)
        wobble = [_noise(rng, n, n, smooth=1.0) * rng.exponential(5) for _ in range(2)]
        y, x = y + wobble[0], x + wobble[1]
        region = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0)
        families = rng.uniform(0, n, (max(2, cells // 4), 2))
        family = np.argmin(((points[:, None] - families) ** 2).sum(-1), axis=1)
        styles = [_Surface.draw(rng) for _ in families]
        related = rng.random() < 0.5
        for k in range(cells):
            self._new_object()
            surface = styles[family[k]].vary(rng, 0.12) if related else _Surface.draw(rng)
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
        surface = _Surface.draw(rng)
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
                _silhouette(rng, h, w),
                cy + k * step[0] + jitter[0],
                cx + k * step[1] + jitter[1],
                like,
            )
            if rng.random() < 0.2:  # a limb: another outline that belongs to the same object
                limb = _silhouette(
                    rng, max(5, int(h * rng.uniform(0.3, 1))), max(5, int(w * rng.uniform(0.3, 1)))
                )
                self._place(
                    limb,
                    cy + k * step[0] + rng.normal(0, 0.4) * h,
                    cx + k * step[1] + rng.normal(0, 0.4) * w,
                    like.vary(rng, 0.1),
                )

    def _place(self, mask: Bools, cy: float, cx: float, surface: _Surface) -> None:
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
            parts = _split(self.rng, mask)
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
        image *= _light(rng, object_of[ids])[..., None]
        levels = np.stack([_renumber(v) for v in (ids, object_of[ids], group_of[ids])])
        return ShapesImage(_camera(rng, image), levels)


def _renumber(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Ids 1.. in uint8; the (rare) ids beyond 255, the topmost, become one."""
    dense = np.unique(ids, return_inverse=True)[1].reshape(ids.shape) + 1
    return np.minimum(dense, 255).astype(np.uint8)


def _warp(rng: Rng, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bend all outlines by a smooth displacement, so that straight edges are not the rule."""
    if rng.random() < 0.35:
        return ids
    n = ids.shape[0]
    y, x = _grid(n, n)
    strength = rng.exponential(2.5)
    smooth = rng.uniform(0.75, 1.0)
    y = y + strength * _noise(rng, n, n, smooth=smooth)
    x = x + strength * _noise(rng, n, n, smooth=smooth)
    return ids[np.clip(np.rint(y), 0, n - 1).astype(int), np.clip(np.rint(x), 0, n - 1).astype(int)]


def _light(rng: Rng, objects: npt.NDArray[np.int64]) -> Floats:
    """Slow illumination, shading across single objects, cast and contact shadows."""
    n = objects.shape[0]
    light = np.exp(rng.exponential(0.12) * _noise(rng, n, n, smooth=1.0))
    y, x = _grid(n, n)
    if rng.random() < 0.5:
        a = rng.uniform(0, 2 * np.pi)
        light *= np.exp(rng.normal(0, 0.3) * (np.cos(a) * x + np.sin(a) * y) / n)
    angle = rng.uniform(0, 2 * np.pi)
    shaded, strength = rng.random() < 0.7, rng.exponential(0.2)
    shadow, reach = rng.random() < 0.5, rng.uniform(1, 12)
    for k, window in enumerate(ndimage.find_objects(objects)):
        if window is None:
            continue
        inside = objects[window] == k + 1
        h, w = inside.shape
        if shaded:
            along = np.cos(angle) * (x[:h, :w] / w - 0.5) + np.sin(angle) * (y[:h, :w] / h - 0.5)
            light[window][inside] *= np.exp(strength * 2 * along)[inside]
        if shadow and rng.random() < 0.4 and inside.size < n * n // 3:
            pad = 16
            soft = ndimage.gaussian_filter(np.pad(inside, pad).astype(np.float32), reach / 2)
            top = int(window[0].start - pad - reach * np.sin(angle))
            left = int(window[1].start - pad - reach * np.cos(angle))
            i, j = max(top, 0), max(left, 0)
            part = soft[i - top : i - top + n - i, j - left : j - left + n - j]
            target = light[i : i + part.shape[0], j : j + part.shape[1]]
            part = part[: target.shape[0], : target.shape[1]]
            own = objects[i : i + part.shape[0], j : j + part.shape[1]] == k + 1
            target *= np.where(own, 1, 1 - 0.5 * part)
    return light.astype(np.float32)


def _camera(rng: Rng, image: Floats) -> npt.NDArray[np.uint8]:
    """Exposure, lens blur, sensor noise, JPEG."""
    if rng.random() < 0.06:
        image = np.repeat(image.mean(2, keepdims=True), 3, axis=2)
    image = (image - 0.5) * np.exp(rng.normal(-0.1, 0.25)) + 0.5 + rng.normal(0, 0.06)
    image = np.clip(image + rng.normal(0, 0.03, 3), 0, 1) ** np.exp(rng.normal(0, 0.2))
    sigma = rng.uniform(0.35, 0.8) if rng.random() < 0.75 else rng.uniform(0.8, 1.8)
    image = ndimage.gaussian_filter(image, (sigma, sigma, 0))
    if rng.random() < 0.6:
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + min(rng.exponential(0.02), 0.1) * grain
    out = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.4:
        buffer = io.BytesIO()
        Image.fromarray(out).save(buffer, "JPEG", quality=int(rng.integers(30, 95)))
        out = np.asarray(Image.open(buffer))
    return out
