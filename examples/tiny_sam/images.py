"""A folder of generated training images: written once by several processes, read as memory maps.

``NAME-KKKKK.images.npy`` holds ``(N, 256, 256, 3)`` uint8, ``NAME-KKKKK.levels.npy``
``(N, 3, 256, 256)`` uint8: segment ids at three levels (part, object, group), 0 where there is
none (padding). A chunk counts when its levels file exists, which is renamed into place last.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from shapes import shapes_image

Bytes = npt.NDArray[np.uint8]

SIZE = 256
CHUNK = 250
STREET_SEEDS = range(200_000, 205_000)  # no others: the evidence measures on those after them


def generate(folder: Path, source: str, count: int, *, workers: int) -> None:
    """Write the missing chunks of ``count`` images of ``source`` ("shapes" or "streets")."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [k for k in range(-(-count // CHUNK)) if not _path(folder, source, k, "levels").exists()]
    with ProcessPoolExecutor(workers) as pool:
        for done, k in enumerate(pool.map(partial(_write_chunk, folder, source), todo), start=1):
            print(f"{source}: chunk {k} written, {done}/{len(todo)}", flush=True)


def load(folder: Path, source: str) -> list[tuple[Bytes, Bytes]]:
    """The finished chunks of a source as (images, levels) memory maps."""
    return [
        (
            np.load(_path(folder, source, k, "images"), mmap_mode="r"),
            np.load(_path(folder, source, k, "levels"), mmap_mode="r"),
        )
        for k in range(len(list(folder.glob(f"{source}-*.levels.npy"))))
    ]


def street_sample(seed: int, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
    """A street scene as ``(256, 256, 3)`` image and ``(3, 256, 256)`` levels.

    Half the time the whole 2:1 scene shrunk and padded at the bottom as SAM pads, else a square
    crop of it.
    """
    from seco.demo.scenes import street_scene

    scene = street_scene(seed, size=(256, 512), domain=str(rng.choice(["game", "camera"])))
    levels = street_levels(np.asarray(scene.label), np.asarray(scene.instances))
    image = np.asarray(scene.image)
    if rng.random() < 0.5:
        half = np.asarray(Image.fromarray(image).resize((256, 128), Image.Resampling.BILINEAR))
        image = np.pad(half, ((0, 128), (0, 0), (0, 0)))
        levels = np.pad(levels[:, ::2, ::2], ((0, 0), (0, 128), (0, 0)))
    else:
        left = int(rng.integers(0, 257))
        image = image[:, left : left + 256]
        levels = levels[:, :, left : left + 256]
    return np.ascontiguousarray(image), np.ascontiguousarray(levels)


def street_levels(label: npt.NDArray[np.integer], instances: npt.NDArray[np.integer]) -> Bytes:
    """Segments of a labelled scene: twice the things and stuff components, then whole classes."""
    segments = np.zeros(label.shape, np.int64)
    classes = np.zeros(label.shape, np.int64)
    for k, value in enumerate(np.unique(label)):
        inside = label == value
        classes[inside] = k + 1
        pieces = ndimage.label(inside & (instances == 0))[0]
        segments[pieces > 0] = segments.max() + pieces[pieces > 0]
    for value in np.unique(instances[instances > 0]):
        segments[instances == value] = segments.max() + 1
    segments = np.unique(segments, return_inverse=True)[1].reshape(label.shape) + 1
    fine = np.minimum(segments, 255)
    return np.stack([fine, fine, classes]).astype(np.uint8)


def _path(folder: Path, source: str, k: int, kind: str) -> Path:
    return folder / f"{source}-{k:05d}.{kind}.npy"


def _write_chunk(folder: Path, source: str, k: int) -> int:
    images = np.empty((CHUNK, SIZE, SIZE, 3), np.uint8)
    levels = np.empty((CHUNK, 3, SIZE, SIZE), np.uint8)
    for i in range(CHUNK):
        seed = k * CHUNK + i
        if source == "shapes":
            sample = shapes_image(seed, size=SIZE)
            images[i], levels[i] = sample.image, sample.levels
        else:
            rng = np.random.default_rng(seed)
            images[i], levels[i] = street_sample(STREET_SEEDS[seed], rng)
    for kind, array in (("images", images), ("levels", levels)):
        path = _path(folder, source, k, kind)
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            np.save(file, array)
        os.replace(part, path)
    return k
