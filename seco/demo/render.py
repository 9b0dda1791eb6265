"""From a part map to a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from seco.demo.canvas import GROUND, SUPERSAMPLE, WALL, Camera, Canvas
from seco.demo.lens import photograph
from seco.demo.light import Light, camera_light, game_light, ground_shadow
from seco.demo.palettes import CAMERA, GAME, paint
from seco.demo.surface import joints, smooth_noise, world_noise

Floats = NDArray[np.float32]
Parts = NDArray[np.int32]

_WET = ("asphalt", "patch", "marking", "pavement", "kerb")


def majority(parts: Parts) -> Parts:
    """The most frequent of each 2x2 block; the first where there is none."""
    a, b = parts[0::2, 0::2], parts[0::2, 1::2]
    c, d = parts[1::2, 0::2], parts[1::2, 1::2]
    second = (a != c) & (a != d) & ((b == c) | (b == d))
    third = (a != b) & (a != d) & (c == d)
    return np.where(second, b, np.where(third, c, a))


def render_game(canvas: Canvas, parts: Parts, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Clean and saturated, (H, W, 3) uint8. ``parts``: (H, W) part ids."""
    light = game_light(rng)
    image, grain = _flat(canvas, parts, light, camera_look=False)
    depth, v, _ = _geometry(canvas, parts)
    is_sky = _is(canvas, parts, ("sky",))
    image *= (1 + grain * smooth_noise(rng, (24, 48), canvas.size))[..., None]
    image *= (1.03 - 0.06 * v * ~is_sky)[..., None]
    image *= 1 - 0.35 * _shadow(canvas, parts, light)
    rise = np.clip(v / canvas.camera.horizon, 0, 1)
    cloud = np.clip(smooth_noise(rng, (4, 7), canvas.size) - 0.9, 0, 0.6)
    white = np.where(is_sky, np.minimum(0.55 * rise**2 + cloud, 0.9), 0)[..., None]
    image += white * (1 - image)
    return _bytes(_haze(image, depth, is_sky, light))


def render_camera(canvas: Canvas, parts: Parts, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Textured, in some weather, through a lens, (H, W, 3) uint8. ``parts``: (H, W) part ids."""
    light = camera_light(rng)
    image, grain = _flat(canvas, parts, light, camera_look=True)
    depth, v, u = _geometry(canvas, parts)
    is_sky = _is(canvas, parts, ("sky",))
    view, plane = canvas.camera, np.array(canvas.plane)[parts]
    scale = depth / np.float32(view.focal)
    level = np.float32(view.height) - (v - np.float32(view.horizon)) * scale
    up = np.where(plane == GROUND, depth, level)
    along = np.where(plane == WALL, depth, (u - np.float32(view.vanish)) * scale)

    stain = 0.05 * smooth_noise(rng, (6, 12), canvas.size) * (grain > 0)
    image *= np.maximum(1 + grain * world_noise(rng, along, up, depth) + stain, 0.1)[..., None]
    coursed = _is(canvas, parts, ("facade",)) & (np.array(canvas.owner)[parts] % 2 == 0)
    kind = np.where(coursed, 1, 2 * _is(canvas, parts, ("pavement",))).astype(np.uint8)
    image *= (1 - 0.17 * joints(kind, along, up, depth))[..., None]
    low = np.where(plane == GROUND, 0, np.clip(1 - level / 0.7, 0, 1))  # little light down there
    image *= (1 - 0.3 * low)[..., None]
    image *= 1 - (0.6 if light.sun > 0.5 else 0.35) * _shadow(canvas, parts, light)

    image = np.where(is_sky[..., None], _cloudy(image, v, view, light, rng), image)
    image = _haze(image, depth, is_sky, light)
    if light.wet:
        image = _mirrored(image, _is(canvas, parts, _WET), view, light)
    return photograph(image, rng, night=light.night)


def _is(canvas: Canvas, parts: Parts, materials: tuple[str, ...]) -> NDArray[np.bool_]:
    """Pixels of these materials."""
    chosen: NDArray[np.bool_] = np.isin(np.array(canvas.material), materials)[parts]
    return chosen


def _bytes(image: Floats) -> NDArray[np.uint8]:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _flat(
    canvas: Canvas, parts: Parts, light: Light, *, camera_look: bool
) -> tuple[Floats, Floats]:
    """Anti-aliased colours (H, W, 3) without texture, and grain (H, W)."""
    tones = np.array(canvas.tone)
    colours, grain, glow = paint(CAMERA if camera_look else GAME, canvas.material, tones)
    names = np.array(canvas.material)
    if light.night:  # some windows and all lamps are lit
        lit = (names == "window") & (tones[:, 2] < 0.4 * light.night)
        colours[lit] = (1.0, 0.82, 0.5)
        glow[lit | np.isin(names, ("headlight", "taillight", "lampglass"))] = 0.9
    by_facing = np.array([1 + light.front, 1 - light.right, 1 + light.right, 1 + 0.1 * light.sun])
    gain = by_facing[np.array(canvas.facing)] * light.exposure
    gain[names == "sky"] = light.exposure**0.5
    factor = gain[:, None] * np.array(light.tint)
    factor += (1 - factor) * glow[:, None]
    table = np.full((len(names), 4), 255, np.uint8)
    table[:, :3] = np.clip(colours * factor * 255, 0, 255)
    fine = np.asarray(canvas.image)
    packed = table.view(np.uint32).ravel()[fine].view(np.uint8).reshape(*fine.shape, 4)
    size = fine.shape[1], fine.shape[0]
    small = np.asarray(Image.frombytes("RGBX", size, packed.tobytes()).reduce(SUPERSAMPLE))
    return small[..., :3].astype(np.float32) / np.float32(255), grain[parts]


def _geometry(canvas: Canvas, parts: Parts) -> tuple[Floats, Floats, Floats]:
    """Depth in metres (H, W), and image coordinates v (H, 1) and u (1, W)."""
    (height, width), view = canvas.size, canvas.camera
    v: Floats = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / np.float32(height)
    u: Floats = (np.arange(width, dtype=np.float32)[None] + 0.5 - width / 2) / np.float32(height)
    plane = np.array(canvas.plane, np.uint8)[parts]
    offset = np.array(canvas.offset, np.float32)[parts]
    ground = view.focal * view.height / np.maximum(v - view.horizon, 1e-3)
    wall = view.focal * np.abs(offset) / (np.abs(u - view.vanish) + 1e-3)
    depth = np.where(plane == GROUND, ground, np.where(plane == WALL, wall, offset))
    return np.clip(depth, 1, 1000).astype(np.float32), v, u


def _shadow(canvas: Canvas, parts: Parts, light: Light) -> Floats:
    """Shadow where the ground is seen, (H, W, 1)."""
    on_ground = np.array(canvas.plane)[parts] == GROUND
    shadow: Floats = ground_shadow(canvas, light) * on_ground
    return shadow[..., None]


def _haze(image: Floats, depth: Floats, is_sky: NDArray[np.bool_], light: Light) -> Floats:
    """Blend towards the colour of the haze with growing distance."""
    clear = max(1 - light.haze, 0.02) ** (np.minimum(depth, 200) / 60)
    share = np.where(is_sky, 0.75 * light.haze, 1 - clear).astype(np.float32)[..., None]
    colour = np.array(light.haze_colour, np.float32) * np.float32(light.exposure)
    hazy: Floats = image + share * (colour - image)
    return hazy


def _cloudy(
    image: Floats, v: Floats, view: Camera, light: Light, rng: np.random.Generator
) -> Floats:
    """The image as a sky with clouds, brighter towards the horizon."""
    size = image.shape[:2]
    rise = np.clip(v / view.horizon, 0, 1)[..., None]
    cloud = (smooth_noise(rng, (5, 10), size) + 0.5 * smooth_noise(rng, (12, 30), size))[..., None]
    blue = np.array((0.62, 0.74, 0.92), np.float32)
    cover = np.clip(cloud * 0.35 + light.clouds, 0, 1)
    sky: Floats = image * (blue + (1 - blue) * cover) * (0.9 + 0.2 * rise)
    sky *= 1 + 0.06 * cloud * light.clouds
    if light.night:
        afterglow = np.array((0.25, -0.05, -0.2), np.float32)
        sky *= (1 - 0.35 * light.night * (1 - rise)) * (1 + afterglow * rise)
    return sky


def _mirrored(image: Floats, wet: NDArray[np.bool_], view: Camera, light: Light) -> Floats:
    """Wet ground mirrors what stands behind it."""
    height = len(image)
    rows = np.clip(2 * view.horizon * height - np.arange(height), 0, height - 1).astype(np.intp)
    smear = ImageFilter.BoxBlur((height * 0.006, height * 0.03))
    mirror = np.asarray(Image.fromarray(_bytes(image[rows])).filter(smear), np.float32)
    share = (light.wet * wet).astype(np.float32)[..., None]
    mixed: Floats = image * (1 - np.float32(0.55) * share) + share * np.float32(0.75 / 255) * mirror
    return mixed
