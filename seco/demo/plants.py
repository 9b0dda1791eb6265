"""Trees, bushes and hedges."""

from __future__ import annotations

import numpy as np

from seco.demo.canvas import Canvas, Caster, Stand


def tree(canvas: Canvas, label: int, x: float, z: float, *, bush: bool = False) -> None:
    """A tree (or a bush): trunk and a crown of leafy blobs, lighter towards the top."""
    rng = canvas.rng
    stand = Stand(canvas, canvas.object(label), x, z)
    if bush:
        ry, rx = rng.uniform(0.5, 1.2), rng.uniform(0.8, 2.2)
        y = ry * 0.8
    else:
        ry, rx, base = rng.uniform(1.5, 3.2), rng.uniform(1.4, 2.8), rng.uniform(1.8, 3.0)
        y = base + ry * 0.85
        trunk, wide = stand.part("trunk"), rng.uniform(0.1, 0.22)
        fork = base + 0.6
        stand.polygon(trunk, [(-wide, 0), (wide, 0), (wide * 0.6, fork), (-wide * 0.6, fork)])
        stand.limb(trunk, (0, base * 0.8), (rx * 0.5, y), wide)
        stand.limb(trunk, (0, base * 0.8), (-rx * 0.5, y), wide)
    count, small = (130, 0.62) if z < 18 else (60, 0.8) if z < 40 else (24, 1.0)
    hue = rng.random()
    shades = [stand.part("leaf", (hue, (k + 0.5) / 6, rng.random())) for k in range(6)]
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    bx, by = rx * radius * np.cos(angle), ry * radius * np.sin(angle)
    blob = small * rng.uniform(0.16, 0.34, count) * min(rx, ry) * (1.3 - 0.6 * radius)
    level = np.clip(3 + 2.2 * by / ry + 0.8 * bx / rx + rng.normal(0, 0.9, count), 0, 5).astype(int)
    order = np.argsort(level + rng.normal(0, 1.0, count))
    scale = canvas.camera.focal / z
    u, v = canvas.camera.point(x, y, z)
    cu, cv, r = u + bx * scale, v - by * scale, blob * scale
    boxes = np.stack([cu - r * 1.15, cv - r * 0.85, cu + r * 1.15, cv + r * 0.85], -1)[order]
    if bush:
        stand.box(shades[1], -rx * 0.7, rx * 0.7, 0.0, y)
    canvas.ellipse(shades[1], u, v, rx * 0.72 * scale, ry * 0.72 * scale)
    canvas.ellipses([shades[k] for k in level[order].tolist()], boxes)
    canvas.casters.append(Caster(x, z, 2 * rx, 1.6 * rx, y, crown=True))


def hedge(canvas: Canvas, label: int, x: float, z0: float, z1: float) -> None:
    """A trimmed hedge along the street from depth z0 to z1."""
    rng = canvas.rng
    height, hue = rng.uniform(0.8, 1.6), rng.random()
    where = (x - 0.35, x + 0.35, max(z0, 1.5), max(z1, 2.0))
    owner, middle = canvas.object(label), (z0 + z1) / 2
    canvas.frustum(owner, "leaf", where, where, (0.0, height), (hue, 0.4, 0.5))
    leaves = [
        canvas.part(owner, "leaf", offset=middle, tone=(hue, t, 0.5)) for t in (0.1, 0.6, 0.9)
    ]
    zs = rng.uniform(where[2], where[3], 24)
    centre = canvas.camera.points(x + rng.uniform(-0.35, 0.35, 24), np.full(24, height), zs)
    r = (rng.uniform(0.12, 0.25, 24) * canvas.camera.focal / zs)[:, None]
    boxes = np.concatenate([centre - r, centre + r], 1)
    canvas.ellipses([leaves[k] for k in rng.integers(0, 3, 24).tolist()], boxes)
    canvas.casters.append(Caster(x, middle, 0.7, z1 - z0, height))
