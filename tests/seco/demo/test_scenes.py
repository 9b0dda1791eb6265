"""Street scenes: exact, repeatable, the same in both domains."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from seco.demo import STREETS, scenes, things
from seco.demo.canvas import SUPERSAMPLE, Camera, Canvas
from seco.demo.palettes import CAMERA, GAME
from seco.demo.render import majority
from seco.demo.scenes import street_scene

SMALL = (64, 128)


@pytest.mark.parametrize("domain", ["game", "camera"])
def test_same_seed_same_scene(domain: scenes.Domain) -> None:
    first, second = (street_scene(3, size=SMALL, domain=domain) for _ in range(2))
    other = street_scene(4, size=SMALL, domain=domain)
    for name in ("image", "label", "instances"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("domain", ["game", "camera"])
def test_global_random_state_is_untouched(domain: scenes.Domain) -> None:
    def state() -> tuple[object, ...]:
        kind, keys, *rest = np.random.get_state()
        return random.getstate(), kind, keys.tobytes(), rest, torch.get_rng_state().tolist()

    before = state()
    street_scene(5, size=SMALL, domain=domain)
    assert state() == before


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**40),
    height=st.integers(32, 90),
    width=st.integers(32, 200),
)
def test_any_seed_and_size(seed: int, height: int, width: int) -> None:
    game = street_scene(seed, size=(height, width), domain="game")
    camera = street_scene(seed, size=(height, width), domain="camera")
    assert np.array_equal(game.label, camera.label)
    assert np.array_equal(game.instances, camera.instances)
    assert not np.array_equal(game.image, camera.image)
    for scene in (game, camera):
        assert scene.image.shape == (height, width, 3)
        assert scene.image.dtype == scene.label.dtype == np.uint8
        assert scene.instances.dtype == np.int32
        assert scene.label.max() < STREETS.num_classes
        ids = np.unique(scene.instances)
        assert np.array_equal(ids, np.arange(1, len(ids) + 1))
        pairs = np.unique(np.stack([scene.instances.ravel(), scene.label.ravel()]), axis=1)
        assert pairs.shape[1] == len(ids), "an instance has more than one class"


def test_every_class_occurs_and_many_touch() -> None:
    count = STREETS.num_classes
    seen, touching = np.zeros(count, int), np.zeros((count, count), bool)
    for seed in range(40):
        label = street_scene(seed, size=(96, 192), domain="game").label
        seen += np.bincount(label.ravel(), minlength=count) > 0
        touching[label[:, 1:], label[:, :-1]] = True
        touching[label[1:], label[:-1]] = True
    assert (seen >= 8).all(), dict(zip(STREETS.names, seen.tolist(), strict=True))
    index = STREETS.names.index
    for a, b in (("pole", "traffic sign"), ("pole", "traffic light"), ("person", "bicycle")):
        assert touching[index(a), index(b)]
        assert touching[index(b), index(a)]


def test_same_street_at_another_size() -> None:
    for seed in range(4):
        small = street_scene(seed, size=(128, 256), domain="game").label
        large = street_scene(seed, size=(256, 512), domain="game").label
        agree = np.mean([small == large[a::2, b::2] for a in (0, 1) for b in (0, 1)])
        assert agree > 0.95


def test_a_wider_picture_shows_more_of_the_same_street() -> None:
    for seed in range(3):
        narrow = street_scene(seed, size=(64, 64)).label
        wide = street_scene(seed, size=(64, 160)).label
        assert np.mean(narrow == wide[:, 48:112]) > 0.98


def test_the_domains_look_different() -> None:
    """Game images are smoother and more colourful."""

    def colour_and_grain(domain: scenes.Domain) -> tuple[float, float]:
        images = [street_scene(s, domain=domain).image.astype(float) for s in range(6)]
        colour = np.mean([np.ptp(image, axis=2).mean() for image in images])
        grain = np.mean([np.median(np.abs(np.diff(image.mean(2), 2))) for image in images])
        return float(colour), float(grain)

    (game_colour, game_grain), (colour, grain) = map(colour_and_grain, ("game", "camera"))
    assert game_colour > 1.5 * colour
    assert grain > 2 * game_grain


def test_seed_ranges_do_not_overlap() -> None:
    ranges = [scenes.TRAIN_SEEDS, scenes.DEV_SEEDS, scenes.TEST_SEEDS]
    assert len(set().union(*ranges)) == sum(len(r) for r in ranges)
    assert len(scenes.TEST_SEEDS) >= 200


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": 1.5}, TypeError, "seed: expected an integer, got float"),
        ({"seed": True}, TypeError, "seed: expected an integer, got bool"),
        ({"seed": 0, "size": (31, 64)}, ValueError, "size: .*at least 32.*31"),
        ({"seed": 0, "size": (64,)}, ValueError, r"size: .*got \(64,\)"),
        ({"seed": 0, "size": (64.0, 64)}, TypeError, "size: expected integers"),
        ({"seed": 0, "size": 5}, TypeError, r"size: expected integers \(height, width\), got 5"),
        ({"seed": 0, "size": None}, TypeError, "size: expected integers .*got None"),
        ({"seed": 0, "domain": "film"}, ValueError, "domain: .*'film'"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        street_scene(**arguments)


def test_majority_against_counting() -> None:
    rng = np.random.default_rng(0)
    parts = rng.integers(0, 4, (60, 80), dtype=np.int32)
    small = majority(parts)
    for y, x in np.ndindex(small.shape):
        block = parts[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()
        counts = np.bincount(block, minlength=4)
        assert counts[small[y, x]] == counts.max()


def test_a_body_covers_its_convex_hull() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        camera = Camera(focal=1.2, height=rng.uniform(0.5, 4.0), horizon=0.45, vanish=0.0)
        canvas = Canvas((128, 256), camera, rng)
        x, z = rng.uniform(-4, 4), rng.uniform(5, 12)
        bottom = (x - 1.0, x + 1.0, z, z + 3.0)
        top = (x - 0.8, x + 0.9, z + 0.3, z + 2.5)
        background = canvas.part(canvas.object(0), "sky")
        canvas.frustum(canvas.object(1), "car", bottom, top, (0.2, 1.5), (0.5, 0.5, 0.5))
        points = [
            camera.point(x, y, z)
            for (x0, x1, z0, z1), y in ((bottom, 0.2), (top, 1.5))
            for x in (x0, x1)
            for z in (z0, z1)
        ]
        pixels = np.array(points) * SUPERSAMPLE * 128 + [SUPERSAMPLE * 128, 0]
        hull = Image.new("L", (SUPERSAMPLE * 256, SUPERSAMPLE * 128), 0)
        outline = pixels[ConvexHull(pixels).vertices]
        ImageDraw.Draw(hull).polygon(outline.ravel().tolist(), fill=1)
        drawn = np.asarray(canvas.image) != background
        assert (drawn != np.asarray(hull).astype(bool)).mean() < 0.001


def test_a_cyclist_is_two_touching_objects() -> None:
    canvas = Canvas((64, 64), Camera(1.2, 1.6, 0.45, 0.0), np.random.default_rng(0))
    canvas.part(canvas.object(0), "sky")
    things.bicycle(canvas, 7, 5, 0.0, 4.0)
    label = np.array(canvas.classes)[np.array(canvas.owner)[np.asarray(canvas.image)]]
    assert set(np.unique(label)) == {0, 5, 7}
    assert ((label[1:] == 7) & (label[:-1] == 5)).any()


def test_both_palettes_know_every_material() -> None:
    assert GAME.keys() == CAMERA.keys()
    canvas_materials = set()
    for seed in range(30):
        canvas = Canvas((32, 64), Camera(1.2, 1.6, 0.45, 0.0), np.random.default_rng(seed))
        scenes.draw_street(canvas, {name: k for k, name in enumerate(STREETS.names)})
        canvas_materials |= set(canvas.material)
    assert canvas_materials == GAME.keys()
