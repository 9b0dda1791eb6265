"""Cars, trucks and buses, drawn as bodies with faces, panes and wheels."""

from __future__ import annotations

import math

import numpy as np

from seco.demo.canvas import BILLBOARD, WALL, Canvas, Caster, random_tone

Footprint = tuple[float, float, float, float]  # x0, x1, z0, z1


def _footprint(x: float, z: float, length: float, width: float, across: bool) -> Footprint:
    if across:
        return x - length / 2, x + length / 2, z, z + width
    return x - width / 2, x + width / 2, z, z + length


def _wheels(
    canvas: Canvas, owner: int, plane: int, at: float, centres: tuple[float, float], radius: float
) -> None:
    """Wheels on one side of a vehicle: on the wall x = at, or on z = at."""
    tyre, rim = canvas.part(owner, "tyre", offset=at), canvas.part(owner, "rim")
    angle = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    for centre in centres:
        for part, scale in ((tyre, radius), (rim, 0.58 * radius)):
            along, y = centre + scale * np.cos(angle), radius + scale * np.sin(angle)
            canvas.upright(part, plane, at, list(zip(along.tolist(), y.tolist(), strict=True)))


def car(canvas: Canvas, label: int, x: float, z: float, *, across: bool = False) -> None:
    """A car whose near end stands at depth z, driving along the street or across it."""
    rng = canvas.rng
    length, width = rng.uniform(3.7, 4.8), rng.uniform(1.65, 1.85)
    belt, roof = rng.uniform(0.85, 0.98), rng.uniform(1.4, 1.75)
    hood, boot = rng.uniform(0.6, 1.1), rng.choice([0.08, 0.5])
    if rng.random() < 0.5:
        hood, boot = boot, hood
    owner, tone = canvas.object(label), random_tone(rng)
    x0, x1, z0, z1 = _footprint(x, z, length, width, across)
    if across:
        foot = (x0 + hood, x1 - boot, z0 + 0.04, z1 - 0.04)
        top = (x0 + hood + 0.5, x1 - boot - 0.4, z0 + 0.2, z1 - 0.2)
    else:
        foot = (x0 + 0.04, x1 - 0.04, z0 + boot, z1 - hood)
        top = (x0 + 0.2, x1 - 0.2, z0 + boot + 0.35, z1 - hood - 0.5)
    under, glass = canvas.part(owner, "tyre", offset=z), canvas.part(owner, "glass", offset=z)
    light = canvas.part(owner, "headlight" if rng.random() < 0.5 else "taillight", offset=z)
    side = x0 if x0 > 0 else x1
    if across:
        canvas.panel(under, BILLBOARD, z0 + 0.1, (x0 + 0.3, x1 - 0.3), (0.12, 0.4))
    else:
        canvas.panel(under, BILLBOARD, z0 + 0.15, (x0 + 0.05, x0 + 0.3), (0.0, 0.4))
        canvas.panel(under, BILLBOARD, z0 + 0.15, (x1 - 0.3, x1 - 0.05), (0.0, 0.4))
        canvas.panel(under, BILLBOARD, z0 + 0.2, (x0 + 0.1, x1 - 0.1), (0.15, 0.4))
        canvas.panel(under, WALL, side, (z0 + 0.3, z1 - 0.3), (0.15, 0.4))
    canvas.frustum(owner, "car", (x0, x1, z0, z1), (x0, x1, z0 + 0.03, z1), (0.26, belt), tone)
    canvas.frustum(owner, "car", foot, top, (belt, roof), tone)
    pane = (belt + 0.04, roof - 0.09)

    def side_panes(
        plane: int, at: float, low: tuple[float, float], high: tuple[float, float]
    ) -> None:
        middle = (low[0] + low[1]) / 2
        back, front = (low[0] + 0.12, middle - 0.05), (middle + 0.05, low[1] - 0.15)
        canvas.panel(glass, plane, at, back, pane, (high[0] + 0.08, middle - 0.05))
        canvas.panel(glass, plane, at, front, pane, (middle + 0.05, high[1] - 0.08))

    if across:
        side_panes(BILLBOARD, z0 + 0.1, foot[:2], top[:2])
        _wheels(canvas, owner, BILLBOARD, z0, (x0 + 0.75, x1 - 0.75), 0.32)
        canvas.panel(light, BILLBOARD, z0, (x0, x0 + 0.2), (0.6, 0.75))
    else:
        if x0 > 0 or x1 < 0:
            side_panes(WALL, side + math.copysign(0.1, x), foot[2:], top[2:])
            _wheels(canvas, owner, WALL, side, (z0 + 0.75, z1 - 0.8), 0.32)
        rear = (foot[2] + top[2]) / 2
        canvas.panel(glass, BILLBOARD, rear, (x0 + 0.16, x1 - 0.16), pane, (x0 + 0.28, x1 - 0.28))
        for a, b in ((x0 + 0.06, x0 + 0.36), (x1 - 0.36, x1 - 0.06)):
            canvas.panel(light, BILLBOARD, z0, (a, b), (0.6, 0.78))
        plate = canvas.part(owner, "plate", offset=z)
        canvas.panel(plate, BILLBOARD, z0, (x - 0.26, x + 0.26), (0.42, 0.54))
    canvas.casters.append(Caster((x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0, 1.3))


def truck(canvas: Canvas, label: int, x: float, z: float, *, across: bool = False) -> None:
    """A box truck or a bus whose near end stands at depth z."""
    rng = canvas.rng
    bus = rng.random() < 0.45
    length, width = rng.uniform(6.5, 10.5), rng.uniform(2.25, 2.5)
    height = rng.uniform(2.8, 3.1) if bus else rng.uniform(2.9, 3.6)
    owner, cab_tone, body_tone = canvas.object(label), random_tone(rng), random_tone(rng)
    cab_near = rng.random() < 0.4
    x0, x1, z0, z1 = _footprint(x, z, length, width, across)
    side = x0 if x0 > 0 else x1
    beside = x0 > 0 or x1 < 0
    under = canvas.part(owner, "tyre", offset=z)
    if across:
        canvas.panel(under, BILLBOARD, z0 + 0.1, (x0 + 0.3, x1 - 0.3), (0.3, 0.8))
    else:
        for a, b in ((x0 + 0.1, x0 + 0.5), (x1 - 0.5, x1 - 0.1)):
            canvas.panel(under, BILLBOARD, z0 + 0.1, (a, b), (0.0, 0.8))
        canvas.panel(under, BILLBOARD, z0 + 0.15, (x0 + 0.15, x1 - 0.15), (0.35, 0.8))
        canvas.panel(under, WALL, side, (z0 + 0.3, z1 - 0.3), (0.35, 0.8))

    def glazing(plane: int, at: float, a: float, b: float, top: float) -> None:
        """A row of panes; a cab has one."""
        glass, step = canvas.part(owner, "glass", offset=z), 1.3 if bus else b - a - 0.3
        for left in np.arange(a + 0.15, b - step * 0.8, step).tolist():
            span = (left, min(left + step - 0.12, b - 0.1))
            canvas.panel(glass, plane, at, span, (1.35, top - 0.4))

    def glazed(name: str, where: Footprint, top: float) -> None:
        tone = body_tone if bus else cab_tone
        canvas.frustum(owner, name, where, where, (0.3 if bus else 0.5, top), tone)
        if across:
            glazing(BILLBOARD, where[2], where[0], where[1], top)
            return
        if beside:
            glazing(WALL, side, where[2], where[3], top)
        windscreen = canvas.part(owner, "glass", offset=z)
        canvas.panel(windscreen, BILLBOARD, where[2], (x0 + 0.15, x1 - 0.15), (1.3, top - 0.35))

    def cargo(where: Footprint) -> None:
        canvas.frustum(owner, "cargo", where, where, (0.5, height), body_tone)
        stripe = canvas.part(owner, "stripe", offset=z)
        if across:
            canvas.panel(stripe, BILLBOARD, where[2], (where[0] + 0.6, where[1] - 0.6), (1.5, 2.2))
            return
        canvas.panel(stripe, BILLBOARD, where[2], (x - 0.03, x + 0.03), (0.6, height - 0.05))
        if beside:
            canvas.panel(stripe, WALL, side, where[2:], (1.4, 1.9))

    if bus:
        glazed("bus", (x0, x1, z0, z1), height)
    elif across:  # the cab is left or right
        split = x0 + 1.9 if cab_near else x1 - 1.9
        cargo((split, x1, z0, z1) if cab_near else (x0, split, z0, z1))
        glazed("cab", (x0, split - 0.15, z0, z1) if cab_near else (split + 0.15, x1, z0, z1), 2.4)
    elif cab_near:
        cargo((x0, x1, z0 + 2.0, z1))
        glazed("cab", (x0, x1, z0, z0 + 1.9), 2.4)
    else:
        glazed("cab", (x0, x1, z1 - 1.8, z1), 2.4)
        cargo((x0, x1, z0, z1 - 1.9))
    if across:
        _wheels(canvas, owner, BILLBOARD, z0, (x0 + 1.2, x1 - 1.2), 0.45)
    else:
        light = canvas.part(owner, "headlight" if cab_near else "taillight", offset=z)
        for a, b in ((x0 + 0.1, x0 + 0.4), (x1 - 0.4, x1 - 0.1)):
            canvas.panel(light, BILLBOARD, z0, (a, b), (0.65, 0.85))
        if beside:
            _wheels(canvas, owner, WALL, side, (z0 + 1.2, z1 - 1.4), 0.45)
    canvas.casters.append(Caster((x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0, height))
