"""Weather and light of a scene, and the shadows on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from seco.demo.canvas import Canvas, Caster

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Light and weather. Colours are RGB, 0..1; a tint is a factor around 1.

    Attributes:
        sun: 0 overcast, 1 full sun; above 0.15 there are cast shadows.
        direction: the shadow of one metre of height, metres along x and z.
        front: brightness of what faces the viewer.
        right: brightness of what faces right, and darkness of what faces left.
        tint: white balance.
        exposure: overall brightness.
        haze: share of haze at 60 m.
        haze_colour: its colour.
        clouds: cover, 0..1.
        wet: how much the ground mirrors, 0..1.
        night: 0 day, 1 night.
    """

    sun: float
    direction: tuple[float, float]
    front: float
    right: float
    tint: RGB
    exposure: float
    haze: float
    haze_colour: RGB
    clouds: float = 0.0
    wet: float = 0.0
    night: float = 0.0


def game_light(rng: np.random.Generator) -> Light:
    """Always about noon."""
    return Light(
        sun=0.35,
        direction=(rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.2)),
        front=rng.uniform(-0.05, 0.05),
        right=rng.uniform(-0.08, 0.08),
        tint=(1.02, 1.0, 0.98),
        exposure=rng.uniform(0.95, 1.06),
        haze=rng.uniform(0.0, 0.12),
        haze_colour=(0.72, 0.84, 0.96),
    )


@dataclass(frozen=True)
class _Weather:
    share: float
    sun: tuple[float, float]
    tint: RGB
    exposure: float
    haze: float
    clouds: tuple[float, float]
    wet: tuple[float, float] = (0.0, 0.0)
    night: tuple[float, float] = (0.0, 0.0)


_WEATHERS = (
    _Weather(0.36, (0.0, 0.0), (0.98, 1.0, 1.02), 0.88, 0.25, (0.4, 0.9)),  # overcast
    _Weather(0.26, (0.75, 1.0), (1.08, 1.0, 0.88), 1.05, 0.12, (0.15, 0.5)),  # low sun
    _Weather(
        0.14, (0.2, 0.5), (1.02, 0.88, 0.82), 0.76, 0.2, (0.15, 0.5), night=(0.3, 0.9)
    ),  # dusk
    _Weather(0.12, (0.0, 0.0), (0.92, 0.98, 1.04), 0.8, 0.4, (0.4, 0.9), wet=(0.35, 0.65)),  # rain
    _Weather(0.12, (0.0, 0.0), (0.98, 1.0, 1.02), 1.0, 0.8, (0.6, 0.9)),  # fog
)


def camera_light(rng: np.random.Generator) -> Light:
    """Overcast, low sun, dusk, rain or fog."""
    weather = _WEATHERS[rng.choice(len(_WEATHERS), p=[w.share for w in _WEATHERS])]
    balance = rng.uniform(0.94, 1.06, 3).tolist()
    grey = rng.uniform(0.68, 0.84)
    return Light(
        sun=rng.uniform(*weather.sun),
        direction=(rng.uniform(-2.2, 2.2), rng.uniform(-1.2, 1.2)),
        front=rng.uniform(-0.2, 0.2),
        right=rng.uniform(-0.25, 0.25),
        tint=(
            weather.tint[0] * balance[0],
            weather.tint[1] * balance[1],
            weather.tint[2] * balance[2],
        ),
        exposure=weather.exposure * rng.uniform(0.85, 1.15),
        haze=weather.haze * rng.uniform(0.7, 1.05),
        haze_colour=(0.62, 0.5, 0.46) if weather.night[1] else (grey, grey, grey + 0.02),
        clouds=rng.uniform(*weather.clouds),
        wet=rng.uniform(*weather.wet),
        night=rng.uniform(*weather.night),
    )


def _outlines(caster: Caster, light: Light, cast: bool) -> list[NDArray[np.float64]]:
    """Polygons of (x, z) on the ground that the caster darkens."""
    dx, dz = light.direction[0] * caster.height, light.direction[1] * caster.height
    if caster.crown:
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        round_ = np.stack([np.cos(angle) * caster.width, np.sin(angle) * caster.depth], 1) / 2
        foot = np.array([caster.x, caster.z])
        if not cast:
            return [foot + round_]
        tip, wide = foot + np.array([dx, dz]), np.array([0.15, 0.0])
        return [tip + round_, np.stack([foot - wide, foot + wide, tip + wide, tip - wide])]
    grow = 0.0 if cast else 0.25
    x0, x1 = caster.x - caster.width / 2 - grow, caster.x + caster.width / 2 + grow
    z0, z1 = caster.z - caster.depth / 2 - grow, caster.z + caster.depth / 2 + grow
    foot = np.array([(x0, z0), (x1, z0), (x1, z1), (x0, z1)])
    if not cast:
        return [foot]
    top = foot + np.array([dx, dz])
    sides = [np.stack([foot[i], foot[i - 1], top[i - 1], top[i]]) for i in range(4)]
    return [*sides, top]


def ground_shadow(canvas: Canvas, light: Light) -> NDArray[np.float32]:
    """How much of the light is kept from the ground, (H, W), 0..1."""
    height, width = canvas.size
    image = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(image)
    camera = canvas.camera
    cast = light.sun > 0.15
    for caster in canvas.casters:
        depth = 255 if cast else 110 if caster.crown else 150
        for outline in _outlines(caster, light, cast):
            z = np.maximum(outline[:, 1], 1.0)
            spots = camera.points(outline[:, 0], np.zeros(len(z)), z) * height
            spots[:, 0] += width / 2
            draw.polygon(spots.ravel().tolist(), fill=depth)
    soft = image.filter(ImageFilter.GaussianBlur(height * (0.003 if cast else 0.012)))
    return np.asarray(soft, np.float32) / np.float32(255)
