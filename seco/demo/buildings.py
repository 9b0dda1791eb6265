"""Houses with windows in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seco.demo.canvas import BILLBOARD, FRONT, LEFT, RIGHT, WALL, Canvas, Caster, random_tone


def building(
    canvas: Canvas, label: int, x: float, z: tuple[float, float], *, side: int, tall: bool
) -> None:
    """A house whose wall along the street is at x, from depth z[0] to z[1].

    ``side``: -1 for the left side of the street, 1 for the right. ``tall``: a town house with a
    flat roof, else a small one, mostly with a pitched roof. The gable faces the viewer.
    """
    rng = canvas.rng
    floors = int(rng.integers(2, 8)) if tall else int(rng.integers(1, 4))
    storey = rng.uniform(2.9, 3.8)
    height = floors * storey + 0.8
    outer = x + side * rng.uniform(9.0, 18.0)
    x0, x1, (z0, z1) = min(x, outer), max(x, outer), z
    owner, tone = canvas.object(label), random_tone(rng)
    facing = RIGHT if side < 0 else LEFT
    pitched = not tall and rng.random() < 0.8
    eaves, ridge, middle = height - 0.2, height + rng.uniform(1.8, 3.4), (x0 + x1) / 2
    wall = canvas.part(owner, "facade", facing=facing, plane=WALL, offset=x, tone=tone)
    gable = canvas.part(owner, "facade", facing=FRONT, offset=z0, tone=tone)
    outline = [(x0, 0.0), (x1, 0.0), (x1, height), (x0, height)]
    if pitched:
        tiles = canvas.part(owner, "roof", facing=facing, offset=(z0 + z1) / 2)
        point, edge = canvas.camera.point, x - side * 0.4
        slope = [point(edge, eaves, z0 - 0.3), point(edge, eaves, z1)]
        slope += [point(middle, ridge, z1), point(middle, ridge, z0 - 0.3)]
        canvas.polygon(tiles, slope)
        outline.insert(3, (middle, ridge))
    canvas.panel(wall, WALL, x, (z0, z1), (0.0, height))
    canvas.upright(gable, BILLBOARD, z0, outline)
    windows = _Windows.random(rng, storey, floors)
    windows.draw(canvas, owner, WALL, x, facing, z0 + 0.6, z1 - 0.6)
    windows.draw(canvas, owner, BILLBOARD, z0, FRONT, x0 + 0.8, x1 - 0.8)
    trim = canvas.part(owner, "trim", facing=facing, plane=WALL, offset=x, tone=tone)
    bands = [(height - 0.35, height), (storey + 0.15, storey + 0.5)] if tall else [(0.0, 0.5)]
    for band in bands:
        canvas.panel(trim, WALL, x, (z0, z1), band)
        canvas.panel(trim, BILLBOARD, z0, (x0, x1), band)
    canvas.casters.append(Caster(middle, (z0 + z1) / 2, x1 - x0, z1 - z0, height))


@dataclass(frozen=True)
class _Windows:
    """One building's way of placing windows, the same on all its walls."""

    storey: float
    floors: int
    pitch: float
    fill: float  # share of the pitch that is window
    low: float  # sill and lintel as shares of the storey
    high: float
    shop: bool

    @staticmethod
    def random(rng: np.random.Generator, storey: float, floors: int) -> _Windows:
        return _Windows(
            storey,
            floors,
            pitch=rng.uniform(1.8, 3.2),
            fill=rng.uniform(0.4, 0.75),
            low=rng.uniform(0.25, 0.35),
            high=rng.uniform(0.68, 0.85),
            shop=floors > 1 and rng.random() < 0.45,
        )

    def draw(
        self, canvas: Canvas, owner: int, plane: int, at: float, facing: int, a0: float, a1: float
    ) -> None:
        """Fill the wall x = at or z = at between a0 and a1."""
        rng = canvas.rng
        columns = int((a1 - a0) / self.pitch)
        if columns < 1:
            return
        pitch = (a1 - a0) / columns
        column = np.tile(np.arange(columns), self.floors)
        floor = np.repeat(np.arange(self.floors), columns)
        street = floor == 0
        opened = street if self.shop else street & (column == rng.integers(columns))  # shop or door
        low = self.storey * np.where(opened, 0.05, np.where(street, 0.3, self.low))
        high = self.storey * np.where(street, 0.75, self.high)
        half = pitch / 2 * np.where(opened & self.shop, 0.92, self.fill)
        centre = a0 + (column + 0.5) * pitch

        def quads(grow: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            a = np.stack([centre - half - grow, centre + half + grow], -1)[:, [0, 1, 1, 0]]
            y = np.stack([low - grow, high + grow], -1)[:, [0, 0, 1, 1]]
            y = y + (floor * self.storey)[:, None]
            fixed = np.full_like(a, at)
            return canvas.camera.points(*((fixed, y, a) if plane == WALL else (a, y, fixed)))

        def part(material: str) -> int:
            return canvas.part(owner, material, plane=plane, offset=at, facing=facing)

        frame, panes = part("frame"), [part("window") for _ in range(3)]
        pane = [panes[k] for k in rng.integers(0, 3, len(centre)).tolist()]
        near = quads(0.0)
        visible = np.flatnonzero(np.ptp(near[..., 1], axis=1) > 0.004).tolist()
        canvas.polygons([frame] * len(visible), quads(0.1)[visible])
        canvas.polygons([pane[k] for k in visible], near[visible])
        if self.shop and plane == WALL:
            canvas.panel(
                part("awning"), plane, at, (a0, a1), (0.8 * self.storey, 0.98 * self.storey)
            )
