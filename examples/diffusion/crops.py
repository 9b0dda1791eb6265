"""Random crops of a folder of images, the same for the same number whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def list_images(folder: Path) -> list[Path]:
    """Images below a folder, sorted by name."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not found:
        raise SystemExit(f"{folder}: expected images ({', '.join(ENDINGS)}), found none")
    return found


def random_crop(
    path: Path, size: tuple[int, int], height: int | None, rng: np.random.Generator
) -> torch.Tensor:
    """Read, scale to a height, cut out a window, mirror every other one.

    Returns:
        (3, H, W) float in [-1, 1].
    """
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = 1.0 if height is None else height / image.height
    # not smaller than the window
    scale = max(scale, size[0] / image.height, size[1] / image.width)
    if scale != 1.0:
        sides = (
            max(size[1], round(image.width * scale)),
            max(size[0], round(image.height * scale)),
        )
        image = image.resize(sides, Image.Resampling.LANCZOS)
    left = int(rng.integers(image.width - size[1] + 1))
    top = int(rng.integers(image.height - size[0] + 1))
    pixels = np.asarray(image.crop((left, top, left + size[1], top + size[0])))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1


class Crops(Dataset[torch.Tensor]):
    """Crop number k of an endless stream: its image, window and mirroring follow from k alone.

    So a run that goes on from a checkpoint, or with other workers, sees what it would have seen.
    """

    def __init__(
        self, paths: Sequence[Path], size: tuple[int, int], height: int | None, seed: int
    ) -> None:
        self.paths, self.size, self.height, self.seed = paths, size, height, seed

    def __getitem__(self, number: int) -> torch.Tensor:
        rng = np.random.default_rng([self.seed, number])
        path = self.paths[int(rng.integers(len(self.paths)))]
        return random_crop(path, self.size, self.height, rng)


class Numbers(Sampler[list[int]]):
    """Batches of crop numbers from one step to another, for one of several processes."""

    def __init__(self, first: int, last: int, batch: int, rank: int, world: int) -> None:
        self.steps, self.batch, self.rank, self.world = range(first, last), batch, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            start = (step * self.world + self.rank) * self.batch
            yield list(range(start, start + self.batch))

    def __len__(self) -> int:
        return len(self.steps)
