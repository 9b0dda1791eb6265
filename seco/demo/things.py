"""People, bicycles, poles and what hangs on them, drawn part by part."""

from __future__ import annotations

import math

from seco.demo.canvas import Canvas, Caster, Stand


def person(canvas: Canvas, label: int, x: float, z: float) -> None:
    """A standing or walking pedestrian."""
    rng = canvas.rng
    size = rng.uniform(1.55, 1.9) if rng.random() < 0.85 else rng.uniform(1.05, 1.4)
    s = size / 1.75
    stand = Stand(canvas, canvas.object(label), x, z, squeeze=rng.uniform(0.75, 1.0))
    stride, sway = rng.uniform(-0.22, 0.22), rng.uniform(-0.2, 0.2)
    legs, shirt, skin = stand.part("trousers"), stand.part("shirt"), stand.part("skin")
    hair, shoes = stand.part("hair"), stand.part("shoes")
    for foot in (-0.09 - stride, 0.09 + stride):
        stand.limb(legs, (math.copysign(0.08, foot) * s, 0.9 * s), (foot * s, 0.05), 0.16)
        stand.box(shoes, foot * s - 0.09, foot * s + 0.11, 0.0, 0.08)
    hem = 0.55 if rng.random() < 0.3 else 0.85
    right = [(0.2, hem), (0.19, 1.2), (0.23, 1.4), (0.1, 1.5)]
    left = [(-a, b) for a, b in reversed(right)]
    stand.polygon(shirt, [(a * s, b * s) for a, b in right + left])
    for side, swing in ((-1.0, sway), (1.0, -sway)):
        hand = ((side * 0.27 + swing) * s, 0.8)
        stand.limb(shirt, (side * 0.22 * s, 1.42 * s), (hand[0], hand[1] * s + 0.1), 0.11)
        stand.ellipse(skin, hand[0], hand[1] * s + 0.06, 0.05, 0.06)
    if rng.random() < 0.35:
        stand.box(stand.part("bag"), 0.16 * s, 0.42 * s, 0.75 * s, 1.1 * s)
    stand.box(skin, -0.05, 0.05, 1.45 * s, 1.56 * s)
    stand.ellipse(skin, 0.0, 1.62 * s, 0.1 * s, 0.13 * s)
    stand.ellipse(hair, 0.0, 1.68 * s, 0.11 * s, 0.09 * s)
    canvas.casters.append(Caster(x, z, 0.45, 0.3, size))


def bicycle(canvas: Canvas, label: int, rider: int | None, x: float, z: float) -> None:
    """A bicycle, alone or with somebody (an object of class ``rider``) on it."""
    rng = canvas.rng
    squeeze = rng.uniform(0.3, 1.0) * (1 if rng.random() < 0.5 else -1)
    stand = Stand(canvas, canvas.object(label), x, z, squeeze=squeeze)
    tyre, spokes, frame = stand.part("tyre"), stand.part("spokes"), stand.part("frame_bike")
    for wheel in (-0.52, 0.52):
        stand.ellipse(tyre, wheel, 0.34, 0.34, 0.34)
        stand.ellipse(spokes, wheel, 0.34, 0.27, 0.27)
    hub, crank, seat = (-0.52, 0.34), (-0.08, 0.3), (-0.2, 0.86)
    head, fork, bar = (0.36, 0.86), (0.52, 0.34), (0.35, 1.02)
    for a, b in (
        (hub, crank),
        (hub, seat),
        (crank, seat),
        (crank, head),
        (seat, head),
        (head, fork),
    ):
        stand.limb(frame, a, b, 0.06)
    stand.limb(tyre, (-0.32, 0.95), (-0.1, 0.95), 0.08)
    stand.limb(tyre, (0.3, 1.02), (0.44, 0.98), 0.06)
    stand.limb(frame, head, bar, 0.05)
    if rider is not None:
        body = Stand(canvas, canvas.object(rider), x, z, squeeze=squeeze)
        legs, shirt, skin = body.part("trousers"), body.part("shirt"), body.part("skin")
        body.limb(legs, (-0.2, 1.0), (0.08, 0.68), 0.17)
        body.limb(legs, (0.08, 0.68), (-0.04, 0.28), 0.13)
        body.polygon(shirt, [(-0.36, 0.98), (-0.06, 0.95), (0.22, 1.45), (0.02, 1.54)])
        body.limb(shirt, (0.1, 1.42), (0.34, 1.05), 0.1)
        body.ellipse(skin, 0.2, 1.62, 0.11, 0.14)
        body.ellipse(body.part("helmet"), 0.19, 1.7, 0.14, 0.1)
    canvas.casters.append(Caster(x, z, 1.3 * abs(squeeze), 0.3, 1.0 if rider is None else 1.7))


def traffic_light(canvas: Canvas, label: int, x: float, y: float, z: float) -> None:
    """A three-lamp head whose lower end is at height y."""
    rng = canvas.rng
    stand = Stand(canvas, canvas.object(label), x, z)
    wide = rng.uniform(0.17, 0.22)
    stand.box(stand.part("housing"), -wide, wide, y, y + 1.0)
    lit = int(rng.integers(3))
    for index, name in enumerate(("green", "amber", "red")):
        lamp = stand.part(name if index == lit else "lamp")
        stand.ellipse(lamp, 0.0, y + 0.19 + 0.31 * index, 0.12, 0.12)


def sign(canvas: Canvas, label: int, x: float, y: float, z: float) -> float:
    """One traffic sign centred at height y; returns half its height."""
    rng = canvas.rng
    stand = Stand(canvas, canvas.object(label), x, z, squeeze=rng.uniform(0.8, 1.0))
    kind, r = int(rng.integers(6)), rng.uniform(0.33, 0.48)

    def shape(material: str, points: list[tuple[float, float]]) -> None:
        stand.polygon(stand.part(material), [(a * r, y + b * r) for a, b in points])

    def disc(material: str, radius: float) -> None:
        stand.ellipse(stand.part(material), 0, y, radius * r, radius * r)

    def bar(material: str, a0: float, a1: float, b0: float, b1: float) -> None:
        shape(material, [(a0, b0), (a1, b0), (a1, b1), (a0, b1)])

    if kind == 0:  # prohibition
        disc("sign_red", 1.0)
        disc("sign_white", 0.72)
        bar("glyph", -0.3, 0.3, -0.3, 0.3)
    elif kind == 1:  # warning
        shape("sign_red", [(-1.0, -0.8), (1.0, -0.8), (0.0, 1.0)])
        shape("sign_white", [(-0.6, -0.55), (0.6, -0.55), (0.0, 0.6)])
        bar("glyph", -0.1, 0.1, -0.45, 0.2)
    elif kind == 2:  # octagon with a bar
        angle = [math.pi / 8 + k * math.pi / 4 for k in range(8)]
        shape("sign_red", [(math.cos(a), math.sin(a)) for a in angle])
        bar("sign_white", -0.65, 0.65, -0.18, 0.18)
    elif kind == 3:  # mandatory: a disc with an arrow
        disc("sign_blue", 1.0)
        bar("sign_white", -0.13, 0.13, -0.6, 0.2)
        shape("sign_white", [(-0.4, 0.15), (0.4, 0.15), (0.0, 0.65)])
    elif kind == 4:  # priority
        for name, t in (("sign_white", 1.0), ("sign_yellow", 0.75)):
            shape(name, [(-t, 0.0), (0.0, -t), (t, 0.0), (0.0, t)])
    else:  # plate with lines of text
        wide = rng.uniform(1.0, 2.0)
        bar("sign_blue" if rng.random() < 0.6 else "sign_yellow", -wide, wide, -1.0, 1.0)
        for row in (-0.45, 0.1, 0.6):
            end = rng.uniform(0.0, 0.75) * wide
            bar("sign_white", -0.75 * wide, end, row - 0.1, row + 0.1)
    return r


def pole(
    canvas: Canvas, labels: dict[str, int], x: float, z: float, *, carries: str, street: float
) -> None:
    """A pole that carries "lamp", "signs", "light", "gantry" or "nothing".

    ``street`` is the direction (-1 or 1) in which the road lies. What hangs on the pole is of
    another class than the pole and touches it.
    """
    rng = canvas.rng
    heights = {"lamp": (5.5, 8.0), "gantry": (5.2, 6.0)}
    height = rng.uniform(*heights.get(carries, (2.6, 3.6)))
    wide = rng.uniform(0.1, 0.17) if carries in ("signs", "nothing") else rng.uniform(0.15, 0.24)
    stand = Stand(canvas, canvas.object(labels["pole"]), x, z)
    metal, near = stand.part("metal"), z - 0.05
    thin = wide * 0.4
    stand.polygon(metal, [(-wide / 2, 0), (wide / 2, 0), (thin, height), (-thin, height)])
    if rng.random() < 0.4:
        stand.box(stand.part("metal"), -wide * 0.9, wide * 0.9, 0, 0.7)
    if carries == "lamp":
        reach = street * rng.uniform(1.2, 2.2)
        stand.limb(metal, (0, height - 0.05), (reach, height + 0.25), 0.12)
        stand.box(stand.part("lampglass"), reach * 0.75, reach * 1.2, height + 0.1, height + 0.3)
        if rng.random() < 0.35:
            sign(canvas, labels["traffic sign"], x, rng.uniform(2.2, 2.8), near)
    elif carries == "signs":
        y = height - 0.3
        for _ in range(int(rng.integers(1, 4))):
            y -= 2.15 * sign(canvas, labels["traffic sign"], x, y, near)
    elif carries == "light":
        traffic_light(canvas, labels["traffic light"], x, height - 0.7, near)
        if rng.random() < 0.35:
            sign(canvas, labels["traffic sign"], x, height - 1.2, near)
    elif carries == "gantry":
        reach = street * rng.uniform(3.0, 5.5)
        stand.limb(metal, (0, height - 0.15), (reach, height), 0.16)
        traffic_light(canvas, labels["traffic light"], x + reach * 0.95, height - 1.05, near)
        traffic_light(canvas, labels["traffic light"], x, 2.6, near)
        if rng.random() < 0.5:
            sign(canvas, labels["traffic sign"], x + reach * 0.55, height - 0.45, near)
    canvas.casters.append(Caster(x, z, wide, wide, height))
