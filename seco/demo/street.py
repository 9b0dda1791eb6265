"""Layout of a street: ground, buildings, trees, and where the things stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seco.demo import things
from seco.demo.canvas import FRONT, GROUND, LEFT, RIGHT, UP, WALL, Camera, Canvas, Caster, Stand

FAR = 300.0  # metres at which the street ends


@dataclass(frozen=True)
class Side:
    """One side of the street; ``sign`` is -1 on the left and 1 on the right."""

    sign: int
    kerb: float  # x of the kerb
    verge: float  # widths in metres, from the kerb outwards
    walk: float
    lawn: float
    kind: str  # "urban", "suburb" or "park"

    def at(self, distance: float) -> float:
        """x at ``distance`` metres from the kerb, away from the road."""
        return self.kerb + self.sign * distance

    @property
    def line(self) -> float:
        return self.verge + self.walk + self.lawn


def random_camera(rng: np.random.Generator) -> Camera:
    return Camera(
        focal=rng.uniform(0.95, 1.35),
        height=rng.uniform(1.35, 2.3),
        horizon=rng.uniform(0.38, 0.5),
        vanish=rng.uniform(-0.3, 0.3),
    )


def draw_street(canvas: Canvas, labels: dict[str, int]) -> None:
    """Draw one random street; ``canvas.rng`` decides everything."""
    rng = canvas.rng
    road = rng.uniform(6.5, 12.0)
    centre = rng.uniform(-0.32, 0.32) * road
    bend = rng.choice([0.0, 1.0]) * rng.uniform(-0.004, 0.004)
    sides = []
    for sign in (-1, 1):
        kind = str(rng.choice(["urban", "suburb", "park"], p=[0.5, 0.32, 0.18]))
        verge = rng.uniform(0.8, 2.0) if rng.random() < (0.2 if kind == "urban" else 0.5) else 0.0
        lawn = 0.0 if kind == "urban" else rng.uniform(1.5, 5.0)
        walk = rng.uniform(1.8, 4.0)
        sides.append(Side(sign, centre + sign * road / 2, verge, walk, lawn, kind))
    crossing = rng.uniform(12.0, 40.0) if rng.random() < 0.5 else None
    crossing_width = rng.uniform(6.0, 9.0)
    gap = None if crossing is None else (crossing - 2.5, crossing + crossing_width + 2.5)

    def curve(z: float) -> float:
        return float(bend * z * z if z < 90 else bend * 8100 + 180 * bend * (z - 90))

    _sky_and_ground(canvas, labels)
    _bands(canvas, labels, sides, road, bend, crossing, crossing_width)
    draws: list[tuple[float, Callable[[], None]]] = []

    def later(depth: float, draw: Callable[[], None]) -> None:
        draws.append((depth, draw))

    _skyline(canvas, labels)
    for side in sides:
        _row(canvas, labels, side, gap, curve, later)
        _furniture(canvas, labels, side, gap, curve, later)
    _traffic(canvas, labels, sides, centre, road, crossing, crossing_width, curve, later)
    for _, draw in sorted(draws, key=lambda item: -item[0]):
        draw()


def _sky_and_ground(canvas: Canvas, labels: dict[str, int]) -> None:
    horizon, far = canvas.camera.horizon, 40.0
    sky = canvas.part(canvas.object(labels["sky"]), "sky", offset=1000.0)
    canvas.polygon(sky, [(-far, -0.1), (far, -0.1), (far, 1.1), (-far, 1.1)])
    field = canvas.part(canvas.object(labels["terrain"]), "grass", facing=UP, plane=GROUND)
    canvas.polygon(field, [(-far, horizon), (far, horizon), (far, 1.1), (-far, 1.1)])


def _bands(
    canvas: Canvas,
    labels: dict[str, int],
    sides: list[Side],
    road: float,
    bend: float,
    crossing: float | None,
    crossing_width: float,
) -> None:
    """Road, verges, sidewalks, lane markings and the crossing street."""
    rng = canvas.rng
    z = np.concatenate([[0.9], np.geomspace(2.0, FAR, 26)])
    shift = np.where(z < 90, bend * z * z, bend * 8100 + 180 * bend * (z - 90))

    def ribbon(part: int, x0: float, x1: float, zs: slice = slice(None)) -> None:
        left = list(zip((x0 + shift[zs]).tolist(), z[zs].tolist(), strict=True))
        right = list(zip((x1 + shift[zs]).tolist(), z[zs].tolist(), strict=True))
        canvas.ground(part, left + right[::-1])

    def part(owner: int, material: str) -> int:
        return canvas.part(owner, material, facing=UP, plane=GROUND)

    kerb_owner = []
    for side in sides:
        if side.lawn:
            ribbon(
                part(canvas.object(labels["terrain"]), "grass"),
                side.at(side.verge + side.walk), side.at(side.line + 3.0),
            )  # fmt: skip
        walk = canvas.object(labels["sidewalk"])
        ribbon(part(walk, "pavement"), side.at(side.verge), side.at(side.verge + side.walk))
        kerb_owner.append(walk)
        if side.verge:
            verge = canvas.object(labels["terrain"])
            ribbon(part(verge, "grass"), side.at(0.0), side.at(side.verge))
    lanes = canvas.object(labels["road"])
    asphalt = part(lanes, "asphalt")
    left, right = sides[0].kerb, sides[1].kerb
    ribbon(asphalt, left, right)
    for side, walk in zip(sides, kerb_owner, strict=True):
        ribbon(part(lanes if side.verge else walk, "kerb"), side.at(-0.02), side.at(0.16))
    paint = part(lanes, "marking")
    if rng.random() < 0.5:
        for side in sides:
            ribbon(paint, side.at(-2.3), side.at(-2.18))
    middle = (left + right) / 2
    if rng.random() < 0.25:
        for x in (-0.15, 0.1):
            ribbon(paint, middle + x, middle + x + 0.1)
    else:
        lines = [middle] if road < 9.5 else [middle, middle - road / 4, middle + road / 4]
        start = rng.uniform(2.0, 6.0)
        for x in lines:
            for a in np.arange(start, 90.0, 6.0).tolist():
                off, end = float(bend * a * a), a + 2.6
                canvas.ground(paint, [(x + off - 0.07, a), (x + off + 0.07, a), (x + off + 0.07, end), (x + off - 0.07, end)])  # fmt: skip
    patches = int(rng.integers(0, 4))
    for _ in range(patches):
        px, pz = rng.uniform(left + 0.8, right - 0.8), rng.uniform(4.0, 25.0)
        wide, deep = rng.uniform(0.4, 1.6), rng.uniform(0.5, 4.0)
        canvas.ground(part(lanes, "patch"), [(px - wide, pz), (px + wide, pz), (px + wide, pz + deep), (px - wide, pz + deep)])  # fmt: skip
    if crossing is not None:
        off = float(bend * crossing * crossing)
        z1 = crossing + crossing_width
        for side in sides:
            outer = side.at(80.0) + off
            canvas.ground(asphalt, [(side.at(-0.3) + off, crossing), (outer, crossing), (outer, z1), (side.at(-0.3) + off, z1)])  # fmt: skip
            walk = part(canvas.object(labels["sidewalk"]), "pavement")
            inner = side.at(side.verge + side.walk * 0.5) + off
            for za, zb in ((crossing - 2.5, crossing), (z1, z1 + 2.5)):
                canvas.ground(walk, [(inner, za), (outer, za), (outer, zb), (inner, zb)])
        if rng.random() < 0.7:
            for x in np.arange(left + 0.4, right - 0.5, 1.0).tolist():
                za, zb = crossing - 4.0, crossing - 1.2
                canvas.ground(paint, [(x + off, za), (x + off + 0.5, za), (x + off + 0.5, zb), (x + off, zb)])  # fmt: skip


def _skyline(canvas: Canvas, labels: dict[str, int]) -> None:
    """Distant trees and houses along the horizon."""
    rng = canvas.rng
    wood = canvas.object(labels["vegetation"])
    leaves = [canvas.part(wood, "leaf", offset=FAR) for _ in range(3)]
    u = rng.uniform(-4.0, 4.0, 90)
    rise = rng.uniform(0.01, 0.05) * rng.uniform(0.3, 1.6, 90)
    wide = rng.uniform(0.03, 0.12, 90)
    horizon = canvas.camera.horizon
    boxes = np.stack([u - wide, horizon - rise, u + wide, horizon + 0.003 + 0 * u], -1)
    canvas.ellipses(rng.choice(leaves, 90).tolist(), boxes)
    town = canvas.object(labels["building"])
    facade = canvas.part(town, "facade", offset=FAR)
    for _ in range(int(rng.integers(0, 10))):
        a, wide_, rise_ = rng.uniform(-1.3, 1.3), rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.16)
        canvas.polygon(facade, [(a, horizon), (a + wide_, horizon), (a + wide_, horizon - rise_), (a, horizon - rise_)])  # fmt: skip


def _row(
    canvas: Canvas,
    labels: dict[str, int],
    side: Side,
    gap: tuple[float, float] | None,
    curve: Callable[[float], float],
    later: Callable[[float, Callable[[], None]], None],
) -> None:
    """Buildings and greenery along one side, leaving the crossing street free."""
    rng = canvas.rng
    z = rng.uniform(1.2, 5.0)
    while z < 130.0:
        depth = rng.uniform(8.0, 22.0) * (1.0 if z < 50 else 1.8)
        if gap is not None and z < gap[1] and z + depth > gap[0]:
            if gap[0] - z > 5.0:
                depth = gap[0] - z
            else:
                z = gap[1]
                continue
        middle = z + depth / 2
        x = side.at(side.line) + curve(middle)
        if side.kind == "park" or (side.kind == "suburb" and rng.random() < 0.22):
            for _ in range(max(2, int(depth / 4))):
                tz, away = z + rng.uniform(0.0, depth), rng.uniform(1.0, 10.0)
                bush = rng.random() < 0.35
                later(tz, _planter(canvas, labels, x + side.sign * away, tz, bush))
        else:
            later(z + depth, _builder(canvas, labels, side, x, z, z + depth))
            if side.kind == "suburb" and rng.random() < 0.6:
                hedge = side.at(side.line - rng.uniform(0.4, 1.2)) + curve(middle)
                later(z + 0.6 * depth, _hedge(canvas, labels, hedge, z + 0.3, z + depth - 0.5))
        space = 0.0 if side.kind == "urban" and rng.random() < 0.75 else rng.uniform(1.0, 5.0)
        z += depth + space


def _planter(
    canvas: Canvas, labels: dict[str, int], x: float, z: float, bush: bool
) -> Callable[[], None]:
    if z < 3.0:
        z += 3.0
    return lambda: tree(canvas, labels["vegetation"], x, z, bush=bush)


def _builder(
    canvas: Canvas, labels: dict[str, int], side: Side, x: float, z0: float, z1: float
) -> Callable[[], None]:
    return lambda: building(canvas, labels["building"], side, x, z0, z1)


def tree(canvas: Canvas, label: int, x: float, z: float, *, bush: bool = False) -> None:
    """A tree (or a bush): trunk and a crown of leafy blobs, lighter towards the top."""
    rng = canvas.rng
    stand = Stand(canvas, canvas.object(label), x, z)
    if bush:
        ry, rx, base = rng.uniform(0.5, 1.2), rng.uniform(0.8, 2.2), 0.0
        y = ry * 0.8
    else:
        ry, rx, base = rng.uniform(1.5, 3.2), rng.uniform(1.4, 2.8), rng.uniform(1.8, 3.0)
        y = base + ry * 0.85
        trunk, wide = stand.part("trunk"), rng.uniform(0.1, 0.22)
        stand.polygon(trunk, [(-wide, 0), (wide, 0), (wide * 0.6, base + 0.6), (-wide * 0.6, base + 0.6)])
        stand.limb(trunk, (0, base * 0.8), (rx * 0.5, y), wide)
        stand.limb(trunk, (0, base * 0.8), (-rx * 0.5, y), wide)
    count = 130 if z < 18 else 60 if z < 40 else 24
    hue = rng.random()
    shades = [
        stand.part("leaf", (hue, (k + 0.5) / 6, float(rng.random()))) for k in range(6)
    ]
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    bx, by = rx * radius * np.cos(angle), ry * radius * np.sin(angle)
    small = 0.62 if count > 100 else 0.8 if count > 50 else 1.0
    blob = small * rng.uniform(0.16, 0.34, count) * min(rx, ry) * (1.3 - 0.6 * radius)
    level = np.clip(3 + 2.2 * by / ry + 0.8 * bx / rx + rng.normal(0, 0.9, count), 0, 5).astype(int)
    order = np.argsort(level + rng.normal(0, 1.0, count))
    scale = canvas.camera.focal / z
    u, v = canvas.camera.point(x, y, z)
    cu, cv, r = u + bx * scale, v - by * scale, blob * scale
    boxes = np.stack([cu - r * 1.15, cv - r * 0.85, cu + r * 1.15, cv + r * 0.85], -1)[order]
    canvas.ellipse(shades[1], u, v, rx * 0.72 * scale, ry * 0.72 * scale)
    canvas.ellipses([shades[k] for k in level[order].tolist()], boxes)
    if bush:
        stand.box(shades[1], -rx * 0.7, rx * 0.7, 0.0, y)
    canvas.casters.append(Caster(x, z, 2 * rx, 1.6 * rx, y, crown=True))


def _hedge(
    canvas: Canvas, labels: dict[str, int], x: float, z0: float, z1: float
) -> Callable[[], None]:
    def draw() -> None:
        rng = canvas.rng
        height, hue = rng.uniform(0.8, 1.6), float(rng.random())
        where = (x - 0.35, x + 0.35, max(z0, 1.5), max(z1, 2.0))
        owner = canvas.object(labels["vegetation"])
        canvas.frustum(owner, "leaf", where, where, (0.0, height), (hue, 0.4, 0.5))
        zs = rng.uniform(where[2], where[3], 24)
        shade = [canvas.part(owner, "leaf", offset=(z0 + z1) / 2, tone=(hue, t, 0.5)) for t in (0.1, 0.6, 0.9)]
        centre = canvas.camera.points(x + rng.uniform(-0.35, 0.35, 24), np.full(24, height), zs)
        r = (rng.uniform(0.12, 0.25, 24) * canvas.camera.focal / zs)[:, None]
        canvas.ellipses(rng.choice(shade, 24).tolist(), np.concatenate([centre - r, centre + r], 1))
        canvas.casters.append(Caster(x, (z0 + z1) / 2, 0.7, z1 - z0, height))

    return draw


def building(
    canvas: Canvas, label: int, side: Side, x: float, z0: float, z1: float
) -> None:
    """A house: the wall along the street, the gable towards the viewer, windows in both."""
    rng = canvas.rng
    tall = side.kind == "urban"
    floors = int(rng.integers(2, 8)) if tall else int(rng.integers(1, 4))
    storey = rng.uniform(2.9, 3.8)
    height = floors * storey + 0.8
    outer = x + side.sign * rng.uniform(9.0, 18.0)
    owner = canvas.object(label)
    tone = (float(rng.random()), float(rng.random()), float(rng.random()))
    camera = canvas.camera
    facing = RIGHT if side.sign < 0 else LEFT
    pitched = not tall and rng.random() < 0.8
    roof = (float(rng.random()), float(rng.random()), float(rng.random()))
    x0, x1 = min(x, outer), max(x, outer)
    ridge = height + rng.uniform(1.8, 3.4)
    wall = canvas.part(owner, "facade", facing=facing, plane=WALL, offset=x, tone=tone)
    gable = canvas.part(owner, "facade", facing=FRONT, offset=z0, tone=tone)
    if pitched:
        middle = (x0 + x1) / 2
        tiles = canvas.part(owner, "roof", facing=facing, offset=(z0 + z1) / 2, tone=roof)
        over = side.sign * -0.4
        canvas.polygon(tiles, [camera.point(x + over, height - 0.2, z0 - 0.3), camera.point(x + over, height - 0.2, z1), camera.point(middle, ridge, z1), camera.point(middle, ridge, z0 - 0.3)])  # fmt: skip
    canvas.polygon(wall, [camera.point(x, 0, z0), camera.point(x, height, z0), camera.point(x, height, z1), camera.point(x, 0, z1)])  # fmt: skip
    corners = [camera.point(x0, 0, z0), camera.point(x1, 0, z0), camera.point(x1, height, z0)]
    if pitched:
        corners.append(camera.point((x0 + x1) / 2, ridge, z0))
    canvas.polygon(gable, [*corners, camera.point(x0, height, z0)])
    style = _Windows(rng, storey, floors)
    style.draw(canvas, owner, "x", x, facing, z0 + 0.6, z1 - 0.6)
    style.draw(canvas, owner, "z", z0, FRONT, x0 + 0.8, x1 - 0.8)
    trim = canvas.part(owner, "trim", facing=facing, plane=WALL, offset=x, tone=tone)
    bands = [height - 0.35, storey + 0.15] if tall else [0.0]
    for y in bands:
        top = y + (0.35 if y else 0.5)
        canvas.polygon(trim, [camera.point(x, y, z0), camera.point(x, top, z0), camera.point(x, top, z1), camera.point(x, y, z1)])  # fmt: skip
        canvas.polygon(trim, [camera.point(x0, y, z0), camera.point(x1, y, z0), camera.point(x1, top, z0), camera.point(x0, top, z0)])  # fmt: skip
    canvas.casters.append(Caster((x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0, height))


class _Windows:
    """One building's way of placing windows, the same on all its walls."""

    def __init__(self, rng: np.random.Generator, storey: float, floors: int) -> None:
        self.rng, self.storey, self.floors = rng, storey, floors
        self.pitch = rng.uniform(1.8, 3.2)
        self.fill = rng.uniform(0.4, 0.75)
        self.low, self.high = rng.uniform(0.25, 0.35), rng.uniform(0.68, 0.85)
        self.shop = floors > 1 and rng.random() < 0.45

    def draw(
        self, canvas: Canvas, owner: int, plane: str, at: float, facing: int, a0: float, a1: float
    ) -> None:
        rng, camera = self.rng, canvas.camera
        columns = int((a1 - a0) / self.pitch)
        if columns < 1:
            return
        pitch = (a1 - a0) / columns
        column, floor = np.meshgrid(np.arange(columns), np.arange(self.floors))
        column, floor = column.ravel(), floor.ravel()
        half = self.fill * pitch / 2
        centre = a0 + (column + 0.5) * pitch
        low = np.where(floor == 0, 0.3, self.low) * self.storey
        high = np.where(floor == 0, 0.75, self.high) * self.storey
        if self.shop:
            low, half_ = np.where(floor == 0, 0.5, low), np.where(floor == 0, 0.46 * pitch, half)
        else:
            door = (floor == 0) & (column == rng.integers(columns))
            low, half_ = np.where(door, 0.05, low), np.full(len(low), half)
        kind = rng.integers(0, 3, len(centre))

        def quads(grow: float) -> np.ndarray:
            a = np.stack([centre - half_ - grow, centre + half_ + grow], -1)[:, [0, 1, 1, 0]]
            y = np.stack([low - grow, high + grow], -1)[:, [0, 0, 1, 1]] + (
                floor * self.storey
            )[:, None]
            fixed = np.full_like(a, at)
            return camera.points(*((fixed, y, a) if plane == "x" else (a, y, fixed)))

        parts = {"plane": WALL if plane == "x" else 0, "offset": at, "facing": facing}
        frame = canvas.part(owner, "frame", **parts)
        panes = [canvas.part(owner, "window", **parts) for _ in range(3)]
        near = quads(0.0)
        large = np.ptp(near[..., 1], axis=1) > 0.004
        near, grown, kind = near[large], quads(0.1)[large], kind[large]
        canvas.polygons([frame] * len(near), grown)
        canvas.polygons([panes[k] for k in kind.tolist()], near)
        if self.shop and plane == "x":
            sill = canvas.part(owner, "awning", **parts)
            y0, y1 = 0.8 * self.storey, 0.98 * self.storey
            canvas.polygon(sill, [camera.point(at, y0, a0), camera.point(at, y1, a0), camera.point(at, y1, a1), camera.point(at, y0, a1)])  # fmt: skip


def _furniture(
    canvas: Canvas,
    labels: dict[str, int],
    side: Side,
    gap: tuple[float, float] | None,
    curve: Callable[[float], float],
    later: Callable[[float, Callable[[], None]], None],
) -> None:
    """Poles, street trees, pedestrians and parked bicycles of one side."""
    rng = canvas.rng

    def free(z: float) -> bool:
        return gap is None or not gap[0] < z < gap[1]

    def put_pole(z: float, carries: str) -> None:
        x = side.at(rng.uniform(0.3, 0.7)) + curve(z)
        later(z, lambda: things.pole(canvas, labels, x, z, carries=carries, street=-side.sign))

    z, step = rng.uniform(5.0, 11.0), rng.uniform(9.0, 18.0)
    while z < 75.0:
        if free(z):
            put_pole(z, str(rng.choice(["lamp", "signs", "light", "nothing"], p=[0.38, 0.38, 0.14, 0.1])))
        z += step * rng.uniform(0.6, 1.4)
    if gap is not None:
        put_pole(gap[0] + rng.uniform(-0.5, 0.8), str(rng.choice(["light", "gantry", "signs"])))
        if rng.random() < 0.6:
            put_pole(gap[1] - rng.uniform(0.0, 0.8), "light")
    if rng.random() < (0.45 if side.kind == "urban" else 0.6):
        where = side.verge / 2 if side.verge else 0.9
        z, step = rng.uniform(7.0, 16.0), rng.uniform(7.0, 14.0)
        while z < 90.0:
            if free(z):
                later(z, _planter(canvas, labels, side.at(where) + curve(z), z, False))
            z += step * rng.uniform(0.8, 1.2)
    for _ in range(int(rng.poisson(3.5 if side.kind == "urban" else 2.0))):
        z = float(np.exp(rng.uniform(np.log(5.5), np.log(50.0))))
        x = side.at(side.verge + rng.uniform(0.1, 0.95) * side.walk) + curve(z)
        group = 2 if rng.random() < 0.3 else 1
        for k in range(group):
            later(z + 0.1 * k, _walker(canvas, labels, x + 0.6 * k, z + 0.1 * k))
    for _ in range(int(rng.poisson(0.7))):
        z = float(np.exp(rng.uniform(np.log(5.5), np.log(35.0))))
        x = side.at(side.verge + rng.uniform(0.3, 0.9) * side.walk) + curve(z)
        later(z, _cyclist(canvas, labels, x, z, ridden=False))


def _walker(
    canvas: Canvas, labels: dict[str, int], x: float, z: float
) -> Callable[[], None]:
    return lambda: things.person(canvas, labels["person"], x, z)


def _cyclist(
    canvas: Canvas, labels: dict[str, int], x: float, z: float, *, ridden: bool
) -> Callable[[], None]:
    rider = labels["person"] if ridden else None
    return lambda: things.bicycle(canvas, labels["bicycle"], rider, x, z)


def _traffic(
    canvas: Canvas,
    labels: dict[str, int],
    sides: list[Side],
    centre: float,
    road: float,
    crossing: float | None,
    crossing_width: float,
    curve: Callable[[float], float],
    later: Callable[[float, Callable[[], None]], None],
) -> None:
    """Parked and driving vehicles, cyclists and people on the road."""
    rng = canvas.rng

    def vehicle(x: float, z: float, across: bool, heavy: float) -> None:
        if rng.random() < heavy:
            later(z, lambda: things.truck(canvas, labels["truck"], x, z, across=across))
        else:
            later(z, lambda: things.car(canvas, labels["car"], x, z, across=across))

    stop = 70.0 if crossing is None else crossing - 5.0
    for side in sides:
        if rng.random() < 0.65:
            z = rng.uniform(5.0, 14.0)
            while z < stop:
                if rng.random() < 0.7:
                    vehicle(side.at(-1.15) + curve(z), z, False, 0.08)
                z += rng.uniform(5.6, 7.5) if rng.random() < 0.85 else 12.0
    z = rng.uniform(8.0, 20.0)
    while z < 80.0:
        lane = centre + rng.choice([-1.0, 1.0]) * road * rng.uniform(0.1, 0.22)
        if crossing is None or not crossing - 6 < z < crossing + crossing_width:
            vehicle(lane + curve(z), z, False, 0.22)
        z += 11.0 + rng.exponential(14.0)
    if crossing is not None:
        for _ in range(int(rng.poisson(1.2))):
            z = crossing + rng.uniform(0.8, crossing_width - 3.0)
            vehicle(centre + rng.uniform(-16.0, 16.0) + curve(z), z, True, 0.3)
        for _ in range(int(rng.poisson(1.0))):
            z = crossing - rng.uniform(1.5, 3.5)
            later(z, _walker(canvas, labels, centre + rng.uniform(-0.5, 0.5) * road + curve(z), z))
    elif rng.random() < 0.25:
        vehicle(centre + rng.uniform(-6.0, 6.0), rng.uniform(10.0, 30.0), True, 0.4)
    for _ in range(int(rng.poisson(1.1))):
        z = float(np.exp(rng.uniform(np.log(6.0), np.log(40.0))))
        side = sides[int(rng.integers(2))]
        x = side.at(-rng.uniform(0.7, 2.6)) + curve(z)
        later(z, _cyclist(canvas, labels, x, z, ridden=True))
