"""The countable things of a street scene, each drawn part by part on a canvas."""

from __future__ import annotations

import math

import numpy as np

from seco.demo.canvas import Canvas, Caster, Stand

Tone = tuple[float, float, float]


def _tone(rng: np.random.Generator) -> Tone:
    a, b, c = rng.random(3).tolist()
    return a, b, c


def person(canvas: Canvas, label: int, x: float, z: float) -> None:
    """A standing or walking pedestrian."""
    rng = canvas.rng
    size = rng.uniform(1.55, 1.9) if rng.random() < 0.85 else rng.uniform(1.05, 1.4)
    size /= 1.75
    stand = Stand(canvas, canvas.object(label), x, z, squeeze=rng.uniform(0.75, 1.0))
    stride, sway = rng.uniform(-0.22, 0.22), rng.uniform(-0.2, 0.2)
    legs, shirt, skin = stand.part("trousers"), stand.part("shirt"), stand.part("skin")
    hair, shoes = stand.part("hair"), stand.part("shoes")
    for foot in (-0.09 - stride, 0.09 + stride):
        stand.limb(legs, (math.copysign(0.08, foot) * size, 0.9 * size), (foot * size, 0.05), 0.16)
        stand.box(shoes, foot * size - 0.09, foot * size + 0.11, 0.0, 0.08)
    coat = rng.random() < 0.3
    hem = (0.55 if coat else 0.85) * size
    stand.polygon(
        shirt,
        [(-0.2 * size, hem), (0.2 * size, hem), (0.19 * size, 1.2 * size), (0.23 * size, 1.4 * size),
         (0.1 * size, 1.5 * size), (-0.1 * size, 1.5 * size), (-0.23 * size, 1.4 * size),
         (-0.19 * size, 1.2 * size)],
    )  # fmt: skip
    for side, swing in ((-1.0, sway), (1.0, -sway)):
        shoulder, hand = (side * 0.22 * size, 1.42 * size), ((side * 0.27 + swing) * size, 0.8)
        stand.limb(shirt, shoulder, (hand[0], hand[1] * size + 0.1), 0.11)
        stand.ellipse(skin, hand[0], hand[1] * size + 0.06, 0.05, 0.06)
    if rng.random() < 0.35:
        bag = stand.part("bag")
        stand.box(bag, 0.16 * size, 0.42 * size, 0.75 * size, 1.1 * size)
    stand.box(skin, -0.05, 0.05, 1.45 * size, 1.56 * size)
    stand.ellipse(skin, 0.0, 1.62 * size, 0.1 * size, 0.13 * size)
    stand.ellipse(hair, 0.0, 1.68 * size, 0.11 * size, 0.09 * size)
    canvas.casters.append(Caster(x, z, 0.45, 0.3, 1.75 * size))


def bicycle(canvas: Canvas, label: int, rider: int | None, x: float, z: float) -> None:
    """A bicycle, alone or with somebody (an object of class ``rider``) on it."""
    rng = canvas.rng
    squeeze = rng.uniform(0.3, 1.0) * (1 if rng.random() < 0.5 else -1)
    stand = Stand(canvas, canvas.object(label), x, z, squeeze=squeeze)
    tyre, spokes, frame = stand.part("tyre"), stand.part("spokes"), stand.part("frame_bike")
    for wheel in (-0.52, 0.52):
        stand.ellipse(tyre, wheel, 0.34, 0.34, 0.34)
        stand.ellipse(spokes, wheel, 0.34, 0.27, 0.27)
    joints = {"hub": (-0.52, 0.34), "crank": (-0.08, 0.3), "seat": (-0.2, 0.86)}
    joints |= {"head": (0.36, 0.86), "fork": (0.52, 0.34)}
    for a, b in (("hub", "crank"), ("hub", "seat"), ("crank", "seat"), ("crank", "head"),
                 ("seat", "head"), ("head", "fork")):  # fmt: skip
        stand.limb(frame, joints[a], joints[b], 0.06)
    stand.limb(tyre, (-0.32, 0.95), (-0.1, 0.95), 0.08)
    stand.limb(tyre, (0.3, 1.02), (0.44, 0.98), 0.06)
    stand.limb(frame, (0.36, 0.86), (0.35, 1.02), 0.05)
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


def _wheels(
    canvas: Canvas, owner: int, centres: list[tuple[float, float]], radius: float, along_z: bool
) -> None:
    """Wheels at (x, z); seen from the side for a vehicle across, foreshortened along the street."""
    tyre, rim = canvas.part(owner, "tyre", offset=centres[0][1]), canvas.part(owner, "rim")
    angle = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    for x, z in centres:
        for part, scale in ((tyre, 1.0), (rim, 0.58)):
            along, y = radius * scale * np.cos(angle), radius + radius * scale * np.sin(angle)
            xs, zs = (np.full(14, x), z + along) if along_z else (x + along, np.full(14, z))
            canvas.polygons([part], canvas.camera.points(xs, y, zs)[None])


def _quad(
    canvas: Canvas, part: int, plane: str, at: float, a: Tone | tuple[float, ...], y: tuple[float, float]
) -> None:
    """A quad on the plane x = at or z = at; ``a`` holds two or four positions along it."""
    low0, low1, top0, top1 = a if len(a) == 4 else (a[0], a[1], a[0], a[1])
    along = ((low0, y[0]), (low1, y[0]), (top1, y[1]), (top0, y[1]))
    camera = canvas.camera
    canvas.polygon(
        part,
        [camera.point(at, h, s) if plane == "x" else camera.point(s, h, at) for s, h in along],
    )


def car(canvas: Canvas, label: int, x: float, z: float, *, across: bool = False) -> None:
    """A car whose near end stands at depth z, driving along the street or across it."""
    rng = canvas.rng
    length, width = rng.uniform(3.7, 4.8), rng.uniform(1.65, 1.85)
    belt, roof = rng.uniform(0.85, 0.98), rng.uniform(1.4, 1.75)
    hood, boot = rng.uniform(0.6, 1.1), rng.choice([0.08, 0.5])
    if rng.random() < 0.5:
        hood, boot = boot, hood
    owner, tone = canvas.object(label), _tone(rng)
    if across:
        x0, x1, z0, z1 = x - length / 2, x + length / 2, z, z + width
        foot = (x0 + hood, x1 - boot, z0 + 0.04, z1 - 0.04)
        top = (x0 + hood + 0.5, x1 - boot - 0.4, z0 + 0.2, z1 - 0.2)
    else:
        x0, x1, z0, z1 = x - width / 2, x + width / 2, z, z + length
        foot = (x0 + 0.04, x1 - 0.04, z0 + boot, z1 - hood)
        top = (x0 + 0.2, x1 - 0.2, z0 + boot + 0.35, z1 - hood - 0.5)
    under, glass = canvas.part(owner, "tyre", offset=z), canvas.part(owner, "glass", offset=z)
    light = canvas.part(owner, "headlight" if rng.random() < 0.5 else "taillight", offset=z)
    side = x0 if x0 > 0 else x1
    if across:
        _quad(canvas, under, "z", z0 + 0.1, (x0 + 0.3, x1 - 0.3), (0.12, 0.4))
    else:
        _quad(canvas, under, "z", z0 + 0.15, (x0 + 0.05, x0 + 0.3), (0.0, 0.4))
        _quad(canvas, under, "z", z0 + 0.15, (x1 - 0.3, x1 - 0.05), (0.0, 0.4))
        _quad(canvas, under, "z", z0 + 0.2, (x0 + 0.1, x1 - 0.1), (0.15, 0.4))
        _quad(canvas, under, "x", side, (z0 + 0.3, z1 - 0.3), (0.15, 0.4))
    canvas.frustum(owner, "car", (x0, x1, z0, z1), (x0, x1, z0 + 0.03, z1), (0.26, belt), tone)
    canvas.frustum(owner, "car", foot, top, (belt, roof), tone)
    low, high = belt + 0.04, roof - 0.09
    if across:
        middle = (foot[0] + foot[1]) / 2
        near = z0 + 0.1
        _quad(canvas, glass, "z", near, (foot[0] + 0.12, middle - 0.05, top[0] + 0.08, middle - 0.05), (low, high))  # fmt: skip
        _quad(canvas, glass, "z", near, (middle + 0.05, foot[1] - 0.12, middle + 0.05, top[1] - 0.08), (low, high))  # fmt: skip
        _wheels(canvas, owner, [(x0 + 0.75, z0), (x1 - 0.75, z0)], 0.32, along_z=False)
        _quad(canvas, light, "z", z0, (x0, x0 + 0.2), (0.6, 0.75))
    else:
        if x0 > 0 or x1 < 0:
            pane = side + math.copysign(0.1, x)
            middle = (foot[2] + foot[3]) / 2
            _quad(canvas, glass, "x", pane, (foot[2] + 0.15, middle - 0.05, top[2] + 0.1, middle - 0.05), (low, high))  # fmt: skip
            _quad(canvas, glass, "x", pane, (middle + 0.05, foot[3] - 0.2, middle + 0.05, top[3] - 0.1), (low, high))  # fmt: skip
            _wheels(canvas, owner, [(side, z0 + 0.75), (side, z1 - 0.8)], 0.32, along_z=True)
        _quad(canvas, glass, "z", (foot[2] + top[2]) / 2, (x0 + 0.16, x1 - 0.16, x0 + 0.28, x1 - 0.28), (low, high))  # fmt: skip
        for a, b in ((x0 + 0.06, x0 + 0.36), (x1 - 0.36, x1 - 0.06)):
            _quad(canvas, light, "z", z0, (a, b), (0.6, 0.78))
        plate = canvas.part(owner, "plate", offset=z)
        _quad(canvas, plate, "z", z0, (x - 0.26, x + 0.26), (0.42, 0.54))
    canvas.casters.append(Caster((x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0, 1.3))


def truck(canvas: Canvas, label: int, x: float, z: float, *, across: bool = False) -> None:
    """A box truck or a bus."""
    rng = canvas.rng
    bus = rng.random() < 0.45
    length, width = rng.uniform(6.5, 10.5), rng.uniform(2.25, 2.5)
    height = rng.uniform(2.8, 3.1) if bus else rng.uniform(2.9, 3.6)
    owner, tone, cargo = canvas.object(label), _tone(rng), _tone(rng)
    cab = 0.0 if bus else 1.9
    cab_near = rng.random() < 0.4
    body = "bus" if bus else "cargo"
    if across:
        x0, x1, z0, z1 = x - length / 2, x + length / 2, z, z + width
    else:
        x0, x1, z0, z1 = x - width / 2, x + width / 2, z, z + length
    side = x0 if x0 > 0 else x1
    under = canvas.part(owner, "tyre", offset=z)
    if across:
        _quad(canvas, under, "z", z0 + 0.1, (x0 + 0.3, x1 - 0.3), (0.3, 0.8))
    else:
        for a, b in ((x0 + 0.1, x0 + 0.5), (x1 - 0.5, x1 - 0.1)):
            _quad(canvas, under, "z", z0 + 0.1, (a, b), (0.0, 0.8))
        _quad(canvas, under, "z", z0 + 0.15, (x0 + 0.15, x1 - 0.15), (0.35, 0.8))
        _quad(canvas, under, "x", side, (z0 + 0.3, z1 - 0.3), (0.35, 0.8))
    boxes = []
    if across:
        split = x0 + cab if cab_near else x1 - cab
        boxes.append((body, cargo, (split, x1, z0, z1) if cab_near else (x0, split, z0, z1), height))
        if cab:
            where = (x0, split - 0.15, z0, z1) if cab_near else (split + 0.15, x1, z0, z1)
            boxes.append(("cab", tone, where, 2.4))
    else:
        near, far = (z0, z0 + cab), (z0 + cab + 0.1, z1)
        if not cab_near:
            near, far = (z0, z1 - cab), (z1 - cab + 0.1, z1)
        parts = [(far, cab > 0 and not cab_near), (near, cab > 0 and cab_near)]
        for (za, zb), is_cab in parts:
            if zb - za > 0.2:
                name, paint, top = ("cab", tone, 2.4) if is_cab else (body, cargo, height)
                boxes.append((name, paint, (x0, x1, za, zb), top))
    for name, paint, where, top in boxes:
        canvas.frustum(owner, name, where, where, (0.5 if not bus else 0.3, top), paint)
        xa, xb, za, zb = where
        glass = canvas.part(owner, "glass", offset=z)
        if name != "cargo":
            if across:
                step = 1.3 if bus else xb - xa - 0.3
                for a in np.arange(xa + 0.15, xb - step * 0.8, step).tolist():
                    _quad(canvas, glass, "z", za, (a, min(a + step - 0.12, xb - 0.1)), (1.35, top - 0.4))
            else:
                _quad(canvas, glass, "z", za, (xa + 0.15, xb - 0.15), (1.3, top - 0.35))
                if x0 > 0 or x1 < 0:
                    step = 1.3 if bus else zb - za - 0.3
                    for a in np.arange(za + 0.2, zb - step * 0.8, step).tolist():
                        _quad(canvas, glass, "x", side, (a, min(a + step - 0.12, zb - 0.1)), (1.35, top - 0.4))  # fmt: skip
        elif not across:
            stripe = canvas.part(owner, "stripe", offset=z)
            _quad(canvas, stripe, "z", za, (x - 0.03, x + 0.03), (0.6, top - 0.05))
            if x0 > 0 or x1 < 0:
                _quad(canvas, stripe, "x", side, (za, zb), (1.4, 1.9))
        else:
            stripe = canvas.part(owner, "stripe", offset=z)
            _quad(canvas, stripe, "z", za, (xa + 0.6, xb - 0.6), (1.5, 2.2))
    light = canvas.part(owner, "headlight" if cab_near else "taillight", offset=z)
    if across:
        _wheels(canvas, owner, [(x0 + 1.2, z0), (x1 - 1.2, z0)], 0.45, along_z=False)
    else:
        for a, b in ((x0 + 0.1, x0 + 0.4), (x1 - 0.4, x1 - 0.1)):
            _quad(canvas, light, "z", z0, (a, b), (0.65, 0.85))
        if x0 > 0 or x1 < 0:
            _wheels(canvas, owner, [(side, z0 + 1.2), (side, z1 - 1.4)], 0.45, along_z=True)
    canvas.casters.append(Caster((x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0, height))


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
    if kind == 0:  # prohibition: red ring, pale inside
        stand.ellipse(stand.part("sign_red"), 0, y, r, r)
        stand.ellipse(stand.part("sign_white"), 0, y, 0.72 * r, 0.72 * r)
        stand.box(stand.part("glyph"), -0.3 * r, 0.3 * r, y - 0.3 * r, y + 0.3 * r)
    elif kind == 1:  # warning: red triangle
        stand.polygon(stand.part("sign_red"), [(-r, y - 0.8 * r), (r, y - 0.8 * r), (0, y + r)])
        stand.polygon(stand.part("sign_white"), [(-0.6 * r, y - 0.55 * r), (0.6 * r, y - 0.55 * r), (0, y + 0.6 * r)])  # fmt: skip
        stand.box(stand.part("glyph"), -0.1 * r, 0.1 * r, y - 0.45 * r, y + 0.2 * r)
    elif kind == 2:  # octagon with a bar
        angle = [math.pi / 8 + k * math.pi / 4 for k in range(8)]
        stand.polygon(stand.part("sign_red"), [(r * math.cos(a), y + r * math.sin(a)) for a in angle])
        stand.box(stand.part("sign_white"), -0.65 * r, 0.65 * r, y - 0.18 * r, y + 0.18 * r)
    elif kind == 3:  # mandatory: blue disc with an arrow
        stand.ellipse(stand.part("sign_blue"), 0, y, r, r)
        white = stand.part("sign_white")
        stand.box(white, -0.13 * r, 0.13 * r, y - 0.6 * r, y + 0.2 * r)
        stand.polygon(white, [(-0.4 * r, y + 0.15 * r), (0.4 * r, y + 0.15 * r), (0, y + 0.65 * r)])
    elif kind == 4:  # priority: yellow diamond
        for name, s in (("sign_white", 1.0), ("sign_yellow", 0.75)):
            stand.polygon(stand.part(name), [(-s * r, y), (0, y - s * r), (s * r, y), (0, y + s * r)])
    else:  # plate with lines of text
        wide = r * rng.uniform(1.0, 2.0)
        stand.box(stand.part("sign_blue" if rng.random() < 0.6 else "sign_yellow"), -wide, wide, y - r, y + r)  # fmt: skip
        text = stand.part("sign_white")
        for row in (-0.45, 0.1, 0.6):
            stand.box(text, -0.75 * wide, rng.uniform(0.0, 0.75) * wide, y + row * r - 0.1 * r, y + row * r + 0.1 * r)  # fmt: skip
    return r


def pole(
    canvas: Canvas, labels: dict[str, int], x: float, z: float, *, carries: str, street: float
) -> None:
    """A pole that carries "lamp", "signs", "light", "gantry" or "nothing".

    ``street`` is the direction (-1 or 1) in which the road lies.
    """
    rng = canvas.rng
    height = {"lamp": rng.uniform(5.5, 8.0), "gantry": rng.uniform(5.2, 6.0)}.get(carries, rng.uniform(2.6, 3.6))  # fmt: skip
    wide = rng.uniform(0.1, 0.17) if carries in ("signs", "nothing") else rng.uniform(0.15, 0.24)
    stand = Stand(canvas, canvas.object(labels["pole"]), x, z)
    metal = stand.part("metal")
    stand.polygon(metal, [(-wide / 2, 0), (wide / 2, 0), (wide * 0.4, height), (-wide * 0.4, height)])
    if rng.random() < 0.4:
        stand.box(stand.part("metal"), -wide * 0.9, wide * 0.9, 0, 0.7)
    if carries == "lamp":
        reach = street * rng.uniform(1.2, 2.2)
        stand.limb(metal, (0, height - 0.05), (reach, height + 0.25), 0.12)
        stand.box(stand.part("lampglass"), *sorted((reach * 0.75, reach * 1.2)), height + 0.1, height + 0.3)
        if rng.random() < 0.35:
            sign(canvas, labels["traffic sign"], x, rng.uniform(2.2, 2.8), z - 0.05)
    elif carries == "signs":
        y = height - 0.3
        for _ in range(int(rng.integers(1, 4))):
            y -= 2.15 * sign(canvas, labels["traffic sign"], x, y, z - 0.05)
    elif carries == "light":
        traffic_light(canvas, labels["traffic light"], x, height - 0.7, z - 0.05)
        if rng.random() < 0.35:
            sign(canvas, labels["traffic sign"], x, height - 1.2, z - 0.05)
    elif carries == "gantry":
        reach = street * rng.uniform(3.0, 5.5)
        stand.limb(metal, (0, height - 0.15), (reach, height), 0.16)
        traffic_light(canvas, labels["traffic light"], x + reach * 0.95, height - 1.05, z - 0.05)
        traffic_light(canvas, labels["traffic light"], x, 2.6, z - 0.05)
        if rng.random() < 0.5:
            sign(canvas, labels["traffic sign"], x + reach * 0.55, height - 0.45, z - 0.05)
    canvas.casters.append(Caster(x, z, wide, wide, height))
