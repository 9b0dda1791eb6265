"""A painter's canvas of *parts*: what is drawn is which part is where, colours come later.

Every part belongs to one object (hence one class) and has a material, a facing and a plane. The
label and the appearance are both read from the part map, so they cannot disagree, and the domain
of a scene can only change its appearance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = Sequence[tuple[float, float]]
Tone = tuple[float, float, float]  # in [0, 1): which colour, how bright, which cast

# How a part faces the light.
FRONT, LEFT, RIGHT, UP = range(4)
# What a part lies in: depth is a constant, the ground, or a wall that runs along the street.
BILLBOARD, GROUND, WALL = range(3)
# The part map is this many times finer than the image, which is how edges are anti-aliased.
SUPERSAMPLE = 2


def random_tone(rng: np.random.Generator) -> Tone:
    """Three numbers that decide how a part looks."""
    choice, bright, cast = rng.random(3).tolist()
    return choice, bright, cast


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks down the street.

    Image coordinates are in units of the image height: ``u`` to the right from the image centre,
    ``v`` downwards from the top. World coordinates are metres: x to the right, y upwards from the
    ground, z away from the camera.
    """

    focal: float
    height: float
    horizon: float
    vanish: float

    def point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Image coordinates (u, v) of a point of the world."""
        scale = self.focal / z
        return self.vanish + x * scale, self.horizon + (self.height - y) * scale

    def points(
        self, x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Image coordinates (..., 2) of many points of the world."""
        scale = self.focal / z
        return np.stack([self.vanish + x * scale, self.horizon + (self.height - y) * scale], -1)


@dataclass
class Caster:
    """Something that throws a shadow on the ground: footprint and height in metres.

    ``crown``: a round body whose centre, not its foot, is at that height.
    """

    x: float
    z: float
    width: float
    depth: float
    height: float
    crown: bool = False


@dataclass
class Canvas:
    """Part map of one scene with the tables that say what each part is."""

    size: tuple[int, int]
    camera: Camera
    rng: np.random.Generator
    classes: list[int] = field(default_factory=lambda: [0])  # per object; object 0 is unused
    owner: list[int] = field(default_factory=list)  # per part, as all below
    material: list[str] = field(default_factory=list)
    tone: list[Tone] = field(default_factory=list)
    facing: list[int] = field(default_factory=list)
    plane: list[int] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)
    casters: list[Caster] = field(default_factory=list)

    def __post_init__(self) -> None:
        height, width = self.size
        self.image = Image.new("I", (SUPERSAMPLE * width, SUPERSAMPLE * height), 0)
        self.draw = ImageDraw.Draw(self.image)
        self._unit = float(SUPERSAMPLE * height)
        self._centre = SUPERSAMPLE * width / 2

    def object(self, label: int) -> int:
        """A new object of class ``label``; returns its id."""
        self.classes.append(label)
        return len(self.classes) - 1

    def part(
        self,
        owner: int,
        material: str,
        *,
        facing: int = FRONT,
        plane: int = BILLBOARD,
        offset: float = 0.0,
        tone: Tone | None = None,
    ) -> int:
        """A new part; ``offset`` is its depth (billboard) or its x (wall). Returns its id."""
        self.owner.append(owner)
        self.material.append(material)
        self.facing.append(facing)
        self.plane.append(plane)
        self.offset.append(offset)
        self.tone.append(random_tone(self.rng) if tone is None else tone)
        return len(self.owner) - 1

    def polygon(self, part: int, points: Points) -> None:
        """Fill a polygon given in image coordinates."""
        unit, centre = self._unit, self._centre
        self.draw.polygon([(u * unit + centre, v * unit) for u, v in points], fill=part)

    def polygons(self, parts: Sequence[int], corners: NDArray[np.float64]) -> None:
        """Fill many polygons ``(N, P, 2)``; those outside the picture are skipped."""
        pixels = corners * self._unit
        pixels[..., 0] += self._centre
        low, high = pixels.min(1), pixels.max(1)
        width, height = self.image.size
        seen = (high >= 0).all(1) & (low[:, 0] < width) & (low[:, 1] < height)
        flat = np.clip(pixels, -4 * width, 5 * width).reshape(len(pixels), -1)
        for index in np.flatnonzero(seen).tolist():
            self.draw.polygon(flat[index].tolist(), fill=parts[index])

    def ellipses(self, parts: Sequence[int], boxes: NDArray[np.float64]) -> None:
        """Fill many ellipses given by boxes ``(N, 4)`` of u0, v0, u1, v1."""
        pixels = boxes * self._unit
        pixels[:, 0::2] += self._centre
        width, height = self.image.size
        seen = (pixels[:, 2] >= 0) & (pixels[:, 3] >= 0)
        seen &= (pixels[:, 0] < width) & (pixels[:, 1] < height)
        for index in np.flatnonzero(seen).tolist():
            self.draw.ellipse(pixels[index].tolist(), fill=parts[index])

    def ellipse(self, part: int, u: float, v: float, ru: float, rv: float) -> None:
        """Fill one ellipse given by centre and radii in image coordinates."""
        unit, centre = self._unit, self._centre
        box = (
            (u - ru) * unit + centre,
            (v - rv) * unit,
            (u + ru) * unit + centre,
            (v + rv) * unit,
        )
        self.draw.ellipse(box, fill=part)

    def ground(self, part: int, outline: Points) -> None:
        """Fill a polygon of (x, z) on the ground."""
        self.polygon(part, [self.camera.point(x, 0.0, z) for x, z in outline])

    def slab(self, part: int, x0: float, x1: float, z0: float, z1: float) -> None:
        """Fill a rectangle on the ground."""
        self.ground(part, [(x0, z0), (x1, z0), (x1, z1), (x0, z1)])

    def upright(self, part: int, plane: int, at: float, outline: Points) -> None:
        """Fill a polygon of (along, y) on the WALL x = at or, as a BILLBOARD, on z = at."""
        point = self.camera.point
        self.polygon(
            part, [point(at, y, a) if plane == WALL else point(a, y, at) for a, y in outline]
        )

    def panel(
        self,
        part: int,
        plane: int,
        at: float,
        low: tuple[float, float],
        y: tuple[float, float],
        high: tuple[float, float] | None = None,
    ) -> None:
        """Fill an upright quad from ``low`` at height y[0] to ``high`` (or the same) at y[1]."""
        a, b = low if high is None else high
        self.upright(part, plane, at, [(low[0], y[0]), (low[1], y[0]), (b, y[1]), (a, y[1])])

    def frustum(
        self,
        owner: int,
        material: str,
        bottom: tuple[float, float, float, float],
        top: tuple[float, float, float, float],
        y: tuple[float, float],
        tone: Tone,
    ) -> None:
        """Fill the visible faces of a body between two rectangles (x0, x1, z0, z1)."""
        corner = []
        for (x0, x1, z0, z1), level in ((bottom, y[0]), (top, y[1])):
            for x, z in ((x0, z0), (x1, z0), (x1, z1), (x0, z1)):
                corner.append(self.camera.point(x, level, z))
        depth = (bottom[2] + bottom[3]) / 2
        faces = (
            ((4, 5, 6, 7), UP),
            ((3, 0, 4, 7), LEFT),
            ((1, 2, 6, 5), RIGHT),
            ((0, 1, 5, 4), FRONT),
        )
        for indices, facing in faces:
            points = [corner[i] for i in indices]
            area = 0.0
            for (ua, va), (ub, vb) in zip(points, points[1:] + points[:1], strict=True):
                area += ua * vb - ub * va
            if area < 0:  # seen from outside: v grows downwards
                part = self.part(owner, material, facing=facing, offset=depth, tone=tone)
                self.polygon(part, points)


@dataclass(frozen=True)
class Stand:
    """A place on the ground to draw an upright flat thing at: local metres, y upwards."""

    canvas: Canvas
    owner: int
    x: float
    z: float
    squeeze: float = 1.0  # < 1 for a thing that is turned away from the viewer

    def part(self, material: str, tone: Tone | None = None) -> int:
        """A new part of the thing; returns its id."""
        return self.canvas.part(self.owner, material, offset=self.z, tone=tone)

    def polygon(self, part: int, points: Points) -> None:
        """Fill a polygon."""
        u, v = self.canvas.camera.point(self.x, 0.0, self.z)
        scale = self.canvas.camera.focal / self.z
        wide = scale * self.squeeze
        self.canvas.polygon(part, [(u + x * wide, v - y * scale) for x, y in points])

    def box(self, part: int, x0: float, x1: float, y0: float, y1: float) -> None:
        """Fill a rectangle."""
        self.polygon(part, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def ellipse(self, part: int, x: float, y: float, rx: float, ry: float) -> None:
        """Fill an ellipse given by centre and radii."""
        u, v = self.canvas.camera.point(self.x, 0.0, self.z)
        scale = self.canvas.camera.focal / self.z
        wide = scale * self.squeeze
        self.canvas.ellipse(part, u + x * wide, v - y * scale, abs(rx * wide), ry * scale)

    def limb(self, part: int, a: tuple[float, float], b: tuple[float, float], wide: float) -> None:
        """A straight bar of width ``wide`` from a to b."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
        nx, ny = -dy / length * wide / 2, dx / length * wide / 2
        self.polygon(
            part,
            [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny),
             (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)],
        )  # fmt: skip
