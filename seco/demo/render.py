"""From a part map to a picture: light, shadow, surface texture, weather and lens."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from seco.demo.canvas import FRONT, GROUND, LEFT, RIGHT, SUPERSAMPLE, UP, WALL, Canvas
from seco.demo.palettes import CAMERA, GAME, paint

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """Weather of a scene. Colours are RGB factors around 1."""

    sun: float  # 0: overcast, 1: full sun
    direction: tuple[float, float]  # horizontal shadow of one metre of height: x, z
    front: float  # brightness of what faces the viewer, and of what faces right rather than left
    right: float
    tint: tuple[float, float, float]
    exposure: float
    haze: float  # share of haze at 100 m
    haze_colour: tuple[float, float, float]
    clouds: float
    wet: float
    night: float


def game_light(rng: np.random.Generator) -> Light:
    return Light(
        sun=0.35, direction=(rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.2)),
        front=rng.uniform(-0.05, 0.05), right=rng.uniform(-0.08, 0.08), tint=(1.02, 1.0, 0.98),
        exposure=rng.uniform(0.95, 1.06), haze=rng.uniform(0.0, 0.12),
        haze_colour=(0.72, 0.84, 0.96), clouds=0.0, wet=0.0, night=0.0,
    )  # fmt: skip


def camera_light(rng: np.random.Generator) -> Light:
    weather = str(rng.choice(["overcast", "sun", "dusk", "rain", "fog"], p=[0.36, 0.26, 0.14, 0.12, 0.12]))  # fmt: skip
    sun = {"sun": rng.uniform(0.75, 1.0), "dusk": rng.uniform(0.2, 0.5)}.get(weather, 0.0)
    tints = {"sun": (1.08, 1.0, 0.88), "dusk": (1.02, 0.86, 0.8), "rain": (0.92, 0.98, 1.04)}
    tint = np.array(tints.get(weather, (0.98, 1.0, 1.02))) * rng.uniform(0.94, 1.06, 3)
    exposures = {"sun": 1.05, "dusk": 0.68, "rain": 0.75, "fog": 1.0}
    hazes = {"rain": 0.5, "fog": 0.93, "dusk": 0.2, "overcast": 0.25}
    grey = rng.uniform(0.68, 0.84)
    dusk = weather == "dusk"
    return Light(
        sun=sun, direction=(rng.uniform(-2.2, 2.2), rng.uniform(-1.2, 1.2)),
        front=rng.uniform(-0.2, 0.2), right=rng.uniform(-0.25, 0.25),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        exposure=exposures.get(weather, 0.88) * rng.uniform(0.85, 1.15),
        haze=hazes.get(weather, 0.12) * rng.uniform(0.7, 1.05),
        haze_colour=(0.62, 0.5, 0.46) if dusk else (grey, grey, grey + 0.02),
        clouds=rng.uniform(0.15, 0.5) if weather in ("sun", "dusk") else rng.uniform(0.4, 0.9),
        wet=rng.uniform(0.35, 0.65) if weather == "rain" else 0.0,
        night=rng.uniform(0.3, 0.9) if dusk else 0.0,
    )  # fmt: skip


def majority(parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """The most frequent of each 2x2 block; the first two decide where there is none."""
    a, b = parts[0::2, 0::2], parts[0::2, 1::2]
    c, d = parts[1::2, 0::2], parts[1::2, 1::2]
    pair = (b == c) | (b == d)
    return np.where(pair, b, np.where((c == d) & (a != b), c, a))


def _noise(rng: np.random.Generator, shape: tuple[int, int], size: tuple[int, int]) -> Floats:
    """Smooth noise: normal values on a coarse grid, enlarged to ``size`` (H, W)."""
    field = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(field.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _tile(rng: np.random.Generator) -> Floats:
    """A 256x256 noise texture with fine and coarse structure, unit variance."""
    tile = rng.standard_normal((256, 256), dtype=np.float32)
    tile += 0.9 * _noise(rng, (96, 96), (256, 256)) + 0.9 * _noise(rng, (24, 24), (256, 256))
    return tile / np.float32(tile.std())


def _shadows(canvas: Canvas, light: Light) -> Floats:
    """Share of sunlight that reaches the ground, (H, W)."""
    height, width = canvas.size
    image = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(image)
    camera, (dx, dz) = canvas.camera, light.direction

    def ground(points: list[tuple[float, float]], strength: int) -> None:
        near = [(x, max(z, 1.0)) for x, z in points]
        spots = [camera.point(x, 0.0, z) for x, z in near]
        draw.polygon([(u * height + width / 2, v * height) for u, v in spots], fill=strength)

    hard = light.sun > 0.15
    for c in canvas.casters:
        x0, x1, z0, z1 = c.x - c.width / 2, c.x + c.width / 2, c.z - c.depth / 2, c.z + c.depth / 2
        if c.crown:
            lift = 1.0 if hard else 0.0
            angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            xs = c.x + lift * dx * c.height + c.width / 2 * np.cos(angle)
            zs = c.z + lift * dz * c.height + c.depth / 2 * np.sin(angle)
            ground(list(zip(xs.tolist(), zs.tolist(), strict=True)), 255 if hard else 110)
            if hard:
                ground([(c.x - 0.15, c.z), (c.x + 0.15, c.z), (c.x + dx * c.height + 0.15, c.z + dz * c.height), (c.x + dx * c.height - 0.15, c.z + dz * c.height)], 255)  # fmt: skip
        elif hard:
            sx, sz = dx * c.height, dz * c.height
            flat = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
            cast = [(x + sx, z + sz) for x, z in flat]
            for i in range(4):
                j = (i + 1) % 4
                ground([flat[i], flat[j], cast[j], cast[i]], 255)
            ground(cast, 255)
        else:
            grow = 0.25
            ground([(x0 - grow, z0 - grow), (x1 + grow, z0 - grow), (x1 + grow, z1 + grow), (x0 - grow, z1 + grow)], 150)  # fmt: skip
    soft = image.filter(ImageFilter.GaussianBlur(height * (0.003 if hard else 0.012)))
    return np.asarray(soft, np.float32) / np.float32(255)


def render(
    canvas: Canvas, parts: NDArray[np.int32], fine: NDArray[np.int32], *, camera_look: bool,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Paint a canvas.

    Args:
        canvas: the scene.
        parts: (H, W) part ids.
        fine: part ids at ``SUPERSAMPLE`` times the size.
        camera_look: the "camera" domain, else "game".
        rng: decides weather, textures and noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = canvas.size
    view = canvas.camera
    light = camera_light(rng) if camera_look else game_light(rng)
    tones = np.array(canvas.tone, np.float32)
    colours, grain, glow = paint(CAMERA if camera_look else GAME, canvas.material, tones)
    facing, plane = np.array(canvas.facing), np.array(canvas.plane)
    offset = np.array(canvas.offset, np.float32)
    names = np.array(canvas.material)
    owner = np.array(canvas.owner)

    if light.night:  # some windows and all lamps are lit
        lit = (names == "window") & (tones[:, 2] < 0.4 * light.night)
        lit |= np.isin(names, ("headlight", "taillight", "lampglass"))
        colours[(names == "window") & lit] = (1.0, 0.82, 0.5)
        glow[lit] = 0.9
    shade = np.choose(facing, [1 + light.front, 1 - light.right, 1 + light.right, 1.0 + 0.1 * light.sun])
    gain = shade[:, None] * light.exposure * np.array(light.tint)
    sky = names == "sky"
    gain[sky] = light.exposure ** 0.5 * np.array(light.tint)
    gain = gain * (1 - glow[:, None]) + glow[:, None]
    table = np.empty((len(names), 4), np.uint8)
    table[:, :3] = np.clip(colours * gain * 255.0, 0, 255)
    table[:, 3] = 255
    packed = np.take(table.view(np.uint32).ravel(), fine)
    small = Image.fromarray(packed.view(np.uint8).reshape(*fine.shape, 4), "RGBX").reduce(SUPERSAMPLE)
    image = np.asarray(small)[..., :3].astype(np.float32) * np.float32(1 / 255)

    # Where every pixel lies in the world.
    v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    u = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height)[None]
    kinds, values = plane[parts], offset[parts]
    floor = view.focal * view.height / np.maximum(v - view.horizon, 1e-3)
    wall = np.abs(u - view.vanish) + 1e-3
    depth = np.where(kinds == GROUND, floor, np.where(kinds == WALL, view.focal * np.abs(values) / wall, values))  # fmt: skip
    depth = np.clip(depth, 1.0, 1000.0).astype(np.float32)
    is_ground = kinds == GROUND

    rough = grain[parts]
    if camera_look:
        scale = depth / np.float32(view.focal)
        across = (u - np.float32(view.vanish)) * scale
        up = np.where(is_ground, depth, (np.float32(view.horizon) - v) * scale)
        along = np.where(kinds == WALL, depth, across)
        tile = _tile(rng)
        shift = rng.integers(0, 256)
        near = tile[(up * 30).astype(np.int32) & 255, ((along * 30).astype(np.int32) + shift) & 255]
        broad = tile[(up * 5).astype(np.int32) & 255, (along * 5).astype(np.int32) & 255]
        fade = np.clip(14.0 / depth, 0.2, 1.0)
        texture = 0.8 * near * fade + 0.3 * broad
        stain = _noise(rng, (6, 12), canvas.size)
        image *= np.maximum(1 + rough * texture + 0.05 * stain * (rough > 0), 0.1)[..., None]
        _masonry(image, names, owner, parts, along, up, depth, rng)
    else:
        image *= (1 + rough * _noise(rng, (24, 48), canvas.size))[..., None]
        image *= (1.03 - 0.06 * v * ~sky[parts])[..., None]

    shadow = _shadows(canvas, light)
    dark = (0.35 + 0.3 * (light.sun > 0.5)) if light.sun > 0.15 else 0.35
    image *= (1 - dark * shadow * is_ground)[..., None]

    is_sky = sky[parts]
    image = _sky(image, is_sky, v, light, camera_look, rng, canvas)
    if light.haze:
        share = (1 - np.exp(np.log(max(1 - light.haze, 0.02)) * np.minimum(depth, 200.0) / 60.0))
        share = np.where(is_sky, 0.75 * light.haze, share).astype(np.float32)[..., None]
        haze = np.array(light.haze_colour, np.float32) * np.float32(light.exposure)
        image += share * (haze - image)
    if light.wet:
        image = _reflections(image, canvas, names, parts, light)
    if not camera_look:
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _lens(image, light, rng)


def _masonry(
    image: Floats, names: np.ndarray, owner: np.ndarray, parts: NDArray[np.int32],
    along: Floats, up: Floats, depth: Floats, rng: np.random.Generator,
) -> None:
    """Joints between stones: courses on half of the houses, slabs on the pavement."""
    coursed = (names == "facade") & (owner % 2 == 0)
    slabs = names == "pavement"
    kind = (coursed + 2 * slabs).astype(np.uint8)[parts]
    rise = np.where(kind == 1, 0.3, 0.6).astype(np.float32)
    row = up / rise
    column = along / (2 * rise) + 0.5 * (np.floor(row) % 2)
    joint = ((row % 1) < 0.14) | ((column % 1) < 0.07)
    image *= (1 - 0.17 * (joint & (kind > 0)) * np.clip(10.0 / depth, 0, 1))[..., None]


def _sky(
    image: Floats, is_sky: np.ndarray, v: Floats, light: Light, camera_look: bool,
    rng: np.random.Generator, canvas: Canvas,
) -> Floats:
    """Brighter towards the horizon, with clouds."""
    rise = np.clip(v / canvas.camera.horizon, 0, 1)
    if camera_look:
        blue = np.array((0.62, 0.74, 0.92), np.float32)
        cloud = _noise(rng, (5, 10), canvas.size) + 0.5 * _noise(rng, (12, 30), canvas.size)
        cover = np.clip(cloud * 0.35 + light.clouds, 0, 1)[..., None]
        base = image * (blue + (1 - blue) * cover) * (0.9 + 0.2 * rise)[..., None]
        base = base * (1 + 0.06 * cloud[..., None] * light.clouds)
        if light.night:
            glow = np.array((1.25, 0.95, 0.8), np.float32)
            base = base * (1 - 0.35 * light.night * (1 - rise[..., None])) * (1 + (glow - 1) * rise[..., None])
    else:
        white = np.array((1.0, 1.0, 1.0), np.float32)
        cloud = np.clip(_noise(rng, (4, 7), canvas.size) - 0.9, 0, 0.6)[..., None]
        base = image + (white - image) * np.minimum(0.55 * rise[..., None] ** 2 + cloud, 0.9)
    return np.where(is_sky[..., None], base, image).astype(np.float32)


def _reflections(
    image: Floats, canvas: Canvas, names: np.ndarray, parts: NDArray[np.int32], light: Light
) -> Floats:
    """Wet asphalt mirrors what stands behind it."""
    height = canvas.size[0]
    horizon = canvas.camera.horizon * height
    rows = np.clip(2 * horizon - np.arange(height), 0, height - 1).astype(int)
    mirrored = np.asarray(
        Image.fromarray((np.clip(image[rows], 0, 1) * 255).astype(np.uint8)).filter(
            ImageFilter.BoxBlur((height * 0.006, height * 0.03))
        ),
        np.float32,
    ) / np.float32(255)
    wet = np.isin(names, ("asphalt", "patch", "marking", "pavement", "kerb"))[parts]
    share = (light.wet * wet).astype(np.float32)[..., None]
    return image * (1 - 0.55 * share) + share * 0.75 * mirrored


def _lens(image: Floats, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Contrast curve, vignette, blur, sensor noise and JPEG compression."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    image = image * (1 - rng.uniform(0.1, 0.3) * 0.5 * (x * x + y * y))[..., None]
    image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.85, 1.2))
    black = rng.uniform(0.0, 0.06)
    image = black + image * (1 - black)
    picture = Image.fromarray((image * 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(height * rng.uniform(0.0012, 0.0032)))
    strength = rng.uniform(2.0, 6.0) + 8.0 * light.night
    noisy = np.asarray(picture, np.float32) + np.float32(strength) * rng.standard_normal(
        (height, width, 3), dtype=np.float32
    )
    picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=int(rng.integers(45, 85)))
    return np.array(Image.open(packed))


__all__ = ["FRONT", "LEFT", "RIGHT", "UP", "Light", "majority", "render"]
