"""Layout of a street: the ground, and what stands where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seco.demo import buildings, plants, things, vehicles
from seco.demo.canvas import GROUND, UP, Camera, Canvas

FAR = 300.0  # metres at which the street ends
_BACKDROP = 40.0  # half the width of sky and ground, in image heights


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
        """The x at ``distance`` metres from the kerb, away from the road."""
        return self.kerb + self.sign * distance

    @property
    def line(self) -> float:
        """Distance of the houses from the kerb."""
        return self.verge + self.walk + self.lawn


@dataclass(frozen=True)
class Street:
    """The plan of a street; x is as the street were straight, ``bend`` shifts it with depth."""

    road: float  # width
    centre: float  # x of the middle
    bend: float
    sides: tuple[Side, Side]
    crossing: tuple[float, float] | None  # depths between which another street crosses

    @staticmethod
    def random(rng: np.random.Generator) -> Street:
        """A random street."""
        road = rng.uniform(6.5, 12.0)
        centre = rng.uniform(-0.32, 0.32) * road
        bend = rng.uniform(-0.004, 0.004) if rng.random() < 0.5 else 0.0
        left, right = (Street._side(rng, sign, centre + sign * road / 2) for sign in (-1, 1))
        near, width = rng.uniform(12.0, 40.0), rng.uniform(6.0, 9.0)
        crossing = (near, near + width) if rng.random() < 0.5 else None
        return Street(road, centre, bend, (left, right), crossing)

    @staticmethod
    def _side(rng: np.random.Generator, sign: int, kerb: float) -> Side:
        kind = str(rng.choice(["urban", "suburb", "park"], p=[0.5, 0.32, 0.18]))
        verge = rng.uniform(0.8, 2.0) if rng.random() < (0.2 if kind == "urban" else 0.5) else 0.0
        lawn = 0.0 if kind == "urban" else rng.uniform(1.5, 5.0)
        return Side(sign, kerb, verge, rng.uniform(1.8, 4.0), lawn, kind)

    def shift(self, z: float) -> float:
        """How far the bend moves things at depth z to the right."""
        near = min(z, 90.0)
        return self.bend * near * (near + 2 * (z - near))

    def blocked(self, z: float, margin: float = 2.5) -> bool:
        """Whether depth z belongs to the crossing street and its sidewalks."""
        return self.crossing is not None and (
            self.crossing[0] - margin < z < self.crossing[1] + margin
        )


def random_camera(rng: np.random.Generator) -> Camera:
    """A camera at the height of a car or a van, not quite parallel to the street."""
    return Camera(
        focal=rng.uniform(0.95, 1.35),
        height=rng.uniform(1.35, 2.3),
        horizon=rng.uniform(0.38, 0.5),
        vanish=rng.uniform(-0.3, 0.3),
    )


class _Plan:
    """Everything that stands on the ground, drawn from far to near."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self._draws: list[tuple[float, Callable[[], None]]] = []

    def add(self, x: float, z: float, draw: Callable[[float, float], None]) -> None:
        """Draw at x (of the straight street) and depth z, later."""
        self._draws.append((z, lambda: draw(x + self.street.shift(z), z)))

    def draw(self) -> None:
        for _, draw in sorted(self._draws, key=lambda item: -item[0]):
            draw()


def draw_street(canvas: Canvas, labels: dict[str, int]) -> None:
    """Draw one random street; ``canvas.rng`` decides everything. ``labels``: class id by name."""
    street = Street.random(canvas.rng)
    plan = _Plan(street)
    _backdrop(canvas, labels)
    _ground(canvas, labels, street)
    _skyline(canvas, labels)
    for side in street.sides:
        _row(canvas, labels, side, plan)
        _furniture(canvas, labels, side, plan)
    _traffic(canvas, labels, plan)
    plan.draw()


def _backdrop(canvas: Canvas, labels: dict[str, int]) -> None:
    """Sky above the horizon, grass below."""
    horizon, far = canvas.camera.horizon, _BACKDROP
    sky = canvas.part(canvas.object(labels["sky"]), "sky", offset=1000.0)
    canvas.polygon(sky, [(-far, -0.1), (far, -0.1), (far, 1.1), (-far, 1.1)])
    field = canvas.part(canvas.object(labels["terrain"]), "grass", facing=UP, plane=GROUND)
    canvas.polygon(field, [(-far, horizon), (far, horizon), (far, 1.1), (-far, 1.1)])


def _ground(canvas: Canvas, labels: dict[str, int], street: Street) -> None:
    """Road, sidewalks, verges, lawns, lane markings and the crossing street."""
    rng, sides = canvas.rng, street.sides
    depths = [0.9, *np.geomspace(2.0, FAR, 26).tolist()]

    def part(owner: int, material: str) -> int:
        return canvas.part(owner, material, facing=UP, plane=GROUND)

    def ribbon(part_: int, x0: float, x1: float) -> None:
        edge = [(street.shift(z), z) for z in depths]
        canvas.ground(part_, [(x0 + d, z) for d, z in edge] + [(x1 + d, z) for d, z in edge[::-1]])

    walks = []
    for side in sides:
        inner, outer = side.verge, side.verge + side.walk
        if side.lawn:
            ribbon(
                part(canvas.object(labels["terrain"]), "grass"),
                side.at(outer),
                side.at(side.line + 3),
            )
        walks.append(canvas.object(labels["sidewalk"]))
        ribbon(part(walks[-1], "pavement"), side.at(inner), side.at(outer))
        if side.verge:
            ribbon(part(canvas.object(labels["terrain"]), "grass"), side.kerb, side.at(inner))
    lanes = canvas.object(labels["road"])
    asphalt, paint = part(lanes, "asphalt"), part(lanes, "marking")
    left, right = sides[0].kerb, sides[1].kerb
    ribbon(asphalt, left, right)
    for side, walk in zip(sides, walks, strict=True):
        ribbon(part(lanes if side.verge else walk, "kerb"), side.at(-0.02), side.at(0.16))
    if rng.random() < 0.5:
        for side in sides:
            ribbon(paint, side.at(-2.3), side.at(-2.18))
    middle = street.centre
    if rng.random() < 0.25:
        ribbon(paint, middle - 0.15, middle - 0.05)
        ribbon(paint, middle + 0.1, middle + 0.2)
    else:
        quarter = street.road / 4
        lines = [middle] if quarter < 2.4 else [middle, middle - quarter, middle + quarter]
        for z in np.arange(rng.uniform(2.0, 6.0), 90.0, 6.0).tolist():
            for x in lines:
                at = x + street.shift(z)
                canvas.slab(paint, at - 0.07, at + 0.07, z, z + 2.6)
    for _ in range(int(rng.integers(0, 4))):
        x, z = rng.uniform(left + 0.8, right - 0.8), rng.uniform(4.0, 25.0)
        wide, deep = rng.uniform(0.4, 1.6), rng.uniform(0.5, 4.0)
        canvas.slab(part(lanes, "patch"), x - wide, x + wide, z, z + deep)
    if street.crossing is not None:
        z0, z1 = street.crossing
        off = street.shift(z0)
        for side in sides:
            outer = side.at(80.0) + off
            canvas.slab(asphalt, side.at(-0.3) + off, outer, z0, z1)
            walk_part = part(canvas.object(labels["sidewalk"]), "pavement")
            inner = side.at(side.verge + side.walk * 0.5) + off
            canvas.slab(walk_part, inner, outer, z0 - 2.5, z0)
            canvas.slab(walk_part, inner, outer, z1, z1 + 2.5)
        if rng.random() < 0.7:
            for x in np.arange(left + 0.4, right - 0.5, 1.0).tolist():
                canvas.slab(paint, x + off, x + off + 0.5, z0 - 4.0, z0 - 1.2)


def _skyline(canvas: Canvas, labels: dict[str, int]) -> None:
    """Distant trees and houses along the horizon."""
    rng, horizon = canvas.rng, canvas.camera.horizon
    wood = canvas.object(labels["vegetation"])
    leaves = [canvas.part(wood, "leaf", offset=FAR) for _ in range(3)]
    u, wide = rng.uniform(-4.0, 4.0, 90), rng.uniform(0.03, 0.12, 90)
    rise = rng.uniform(0.01, 0.05) * rng.uniform(0.3, 1.6, 90)
    boxes = np.stack([u - wide, horizon - rise, u + wide, np.full(90, horizon + 0.003)], -1)
    canvas.ellipses([leaves[k] for k in rng.integers(0, 3, 90).tolist()], boxes)
    town = canvas.object(labels["building"])
    facade = canvas.part(town, "facade", offset=FAR)
    for _ in range(int(rng.integers(0, 10))):
        a, b = rng.uniform(-1.3, 1.3), rng.uniform(0.03, 0.12)
        top = horizon - rng.uniform(0.03, 0.16)
        canvas.polygon(facade, [(a, horizon), (a + b, horizon), (a + b, top), (a, top)])


def _row(canvas: Canvas, labels: dict[str, int], side: Side, plan: _Plan) -> None:
    """Buildings and greenery along one side, leaving the crossing street free."""
    rng, street = canvas.rng, plan.street
    gap = (1e9, 1e9) if street.crossing is None else street.crossing
    gap = (gap[0] - 2.5, gap[1] + 2.5)
    z = rng.uniform(1.2, 5.0)
    while z < 130.0:
        depth = rng.uniform(8.0, 22.0) * (1.0 if z < 50 else 1.8)
        if z < gap[1] and z + depth > gap[0]:
            if gap[0] - z <= 5.0:
                z = gap[1]
                continue
            depth = gap[0] - z
        if side.kind == "park" or (side.kind == "suburb" and rng.random() < 0.22):
            for _ in range(max(2, int(depth / 4))):
                away = side.at(side.line + rng.uniform(1.0, 10.0))
                _plant(canvas, labels, plan, away, z + rng.uniform(0.0, depth), rng.random() < 0.35)
        else:
            _build(canvas, labels, plan, side, z, z + depth)
            if side.kind == "suburb" and rng.random() < 0.6:
                _fence(canvas, labels, plan, side.at(side.line - rng.uniform(0.4, 1.2)), z, depth)
        attached = side.kind == "urban" and rng.random() < 0.75
        z += depth + (0.0 if attached else rng.uniform(1.0, 5.0))


def _plant(
    canvas: Canvas, labels: dict[str, int], plan: _Plan, x: float, z: float, bush: bool
) -> None:
    label, z = labels["vegetation"], z if z >= 3.0 else z + 3.0
    plan.add(x, z, lambda x, z: plants.tree(canvas, label, x, z, bush=bush))


def _build(
    canvas: Canvas, labels: dict[str, int], plan: _Plan, side: Side, z0: float, z1: float
) -> None:
    # Ordered by its far end: whatever stands in the street beside it is in front of it.
    x = side.at(side.line) + plan.street.shift((z0 + z1) / 2) - plan.street.shift(z1)
    tall, label = side.kind == "urban", labels["building"]
    plan.add(
        x, z1, lambda x, z: buildings.building(canvas, label, x, (z0, z), side=side.sign, tall=tall)
    )


def _fence(
    canvas: Canvas, labels: dict[str, int], plan: _Plan, x: float, z0: float, depth: float
) -> None:
    label = labels["vegetation"]
    plan.add(
        x,
        z0 + 0.6 * depth,
        lambda x, _: plants.hedge(canvas, label, x, z0 + 0.3, z0 + depth - 0.5),
    )


def _furniture(canvas: Canvas, labels: dict[str, int], side: Side, plan: _Plan) -> None:
    """Poles, street trees, pedestrians and parked bicycles of one side."""
    rng, street = canvas.rng, plan.street

    def put_pole(z: float, carries: str) -> None:
        plan.add(
            side.at(rng.uniform(0.3, 0.7)),
            z,
            lambda x, z: things.pole(canvas, labels, x, z, carries=carries, street=-side.sign),
        )

    z, step = rng.uniform(5.0, 11.0), rng.uniform(9.0, 18.0)
    while z < 60.0:
        if not street.blocked(z):
            kinds = ["lamp", "signs", "light", "nothing"]
            put_pole(z, str(rng.choice(kinds, p=[0.34, 0.34, 0.24, 0.08])))
        z += step * rng.uniform(0.6, 1.4)
    if street.crossing is not None:
        near, far = street.crossing
        put_pole(near - 2.5 + rng.uniform(-0.5, 0.8), str(rng.choice(["light", "gantry", "signs"])))
        if rng.random() < 0.6:
            put_pole(far + 2.5 - rng.uniform(0.0, 0.8), "light")
    if rng.random() < (0.45 if side.kind == "urban" else 0.6):
        where = side.verge / 2 if side.verge else 0.9
        z, step = rng.uniform(7.0, 16.0), rng.uniform(7.0, 14.0)
        while z < 90.0:
            if not street.blocked(z):
                _plant(canvas, labels, plan, side.at(where), z, False)
            z += step * rng.uniform(0.8, 1.2)
    for _ in range(int(rng.poisson(3.5 if side.kind == "urban" else 2.0))):
        z = _depth(rng, 5.5, 38.0)
        x = side.at(side.verge + rng.uniform(0.1, 0.95) * side.walk)
        for k in range(2 if rng.random() < 0.3 else 1):
            plan.add(x + 0.6 * k, z + 0.1 * k, _walker(canvas, labels))
    for _ in range(int(rng.poisson(1.0))):
        x = side.at(side.verge + rng.uniform(0.3, 0.9) * side.walk)
        plan.add(x, _depth(rng, 5.5, 28.0), _cyclist(canvas, labels, ridden=False))


def _depth(rng: np.random.Generator, near: float, far: float) -> float:
    """A random depth, the same number of things in every octave."""
    return float(np.exp(rng.uniform(np.log(near), np.log(far))))


def _walker(canvas: Canvas, labels: dict[str, int]) -> Callable[[float, float], None]:
    return lambda x, z: things.person(canvas, labels["person"], x, z)


def _cyclist(
    canvas: Canvas, labels: dict[str, int], *, ridden: bool
) -> Callable[[float, float], None]:
    rider = labels["person"] if ridden else None
    return lambda x, z: things.bicycle(canvas, labels["bicycle"], rider, x, z)


def _traffic(canvas: Canvas, labels: dict[str, int], plan: _Plan) -> None:
    """Parked and driving vehicles, cyclists and people on the road."""
    rng, street = canvas.rng, plan.street
    centre, road, crossing = street.centre, street.road, street.crossing

    def vehicle(x: float, z: float, across: bool, heavy: float) -> None:
        if rng.random() < heavy:
            label = labels["truck"]
            plan.add(x, z, lambda x, z: vehicles.truck(canvas, label, x, z, across=across))
        else:
            label = labels["car"]
            plan.add(x, z, lambda x, z: vehicles.car(canvas, label, x, z, across=across))

    stop = 55.0 if crossing is None else crossing[0] - 5.0
    for side in street.sides:
        if rng.random() < 0.65:
            z = rng.uniform(5.0, 14.0)
            while z < stop:
                if rng.random() < 0.7:
                    vehicle(side.at(-1.15), z, False, 0.08)
                z += rng.uniform(5.6, 7.5) if rng.random() < 0.85 else 12.0
    z = rng.uniform(8.0, 20.0)
    while z < 65.0:
        lane = centre + rng.choice([-1.0, 1.0]) * road * rng.uniform(0.1, 0.22)
        if not street.blocked(z, 5.0):
            vehicle(lane, z, False, 0.22)
        z += 11.0 + rng.exponential(14.0)
    if crossing is not None:
        for _ in range(int(rng.poisson(1.2))):
            z = rng.uniform(crossing[0] + 0.8, crossing[1] - 3.0)
            vehicle(centre + rng.uniform(-16.0, 16.0), z, True, 0.3)
        for _ in range(int(rng.poisson(1.0))):
            x = centre + rng.uniform(-0.5, 0.5) * road
            plan.add(x, crossing[0] - rng.uniform(1.5, 3.5), _walker(canvas, labels))
    elif rng.random() < 0.25:
        vehicle(centre + rng.uniform(-6.0, 6.0), rng.uniform(10.0, 30.0), True, 0.4)
    for _ in range(int(rng.poisson(1.1))):
        side = street.sides[int(rng.integers(2))]
        x = side.at(-rng.uniform(0.7, 2.6))
        plan.add(x, _depth(rng, 6.0, 30.0), _cyclist(canvas, labels, ridden=True))
