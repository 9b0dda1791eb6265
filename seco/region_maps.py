"""Regions that travel with their image through the augmentations of a training pipeline.

Of :class:`seco.Regions`, the map goes where the image goes, as an integer label map does: resized
with the nearest neighbour, cropped, flipped, padded. The table stays as it is. Two numbers of the
map mean "no region": 0, and 255, which pipelines pad label maps with.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_choice, check_integer, check_label_map, describe
from seco.common.resizing import nearest_places
from seco.regions import Regions

PADDING = 255


@dataclass(frozen=True, eq=False)
class RegionTable:
    """What of an image's regions does not change when the image is augmented: some kilobytes.

    Plain arrays, so that the processes of a data loader can send it to each other.

    Args:
        members: (R, ceil((A + 1) / 8)) uint8, the bits of :class:`seco.Regions`' ``members``.
        atom_count: A + 1.
        scores: (R,) float32, of the regions.
    """

    members: Array
    atom_count: int
    scores: Array


def to_region_map(regions: Regions) -> tuple[Array, RegionTable]:
    """Split regions into the map that moves with the image and the table that does not.

    Returns:
        (H, W) uint16 (int32 beyond 65,534 atoms), whose values are numbers of atoms, but one
        more from 255 on: 0 and 255 are in no region. And the table.

    Raises:
        TypeError: something else than regions.

    Example:
        >>> regions = Regions.from_label_map(torch.tensor([[7, 7, 3]]))
        >>> region_map, table = to_region_map(regions)
        >>> region_map, len(from_region_map(region_map[:, 1:], table))
        (array([[2, 2, 1]], dtype=uint16), 2)
    """
    if not isinstance(regions, Regions):
        raise TypeError(f"regions: expected seco.Regions, got {describe(regions)}")
    members = regions.members.cpu().numpy()
    count = members.shape[1]
    ids = np.arange(count)
    ids += ids >= PADDING
    stored = ids.astype(np.uint16 if count < 1 << 16 else np.int32)
    region_map: Array = stored[regions.atoms.cpu().numpy()]
    scores = regions.scores.cpu().numpy()
    return region_map, RegionTable(np.packbits(members, axis=1), count, scores)


def read_region_map(path: str | os.PathLike[str]) -> tuple[Array, RegionTable]:
    """Read what ``seco regions`` or :meth:`seco.Regions.save` wrote; see :func:`to_region_map`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind.
    """
    return to_region_map(Regions.load(os.fspath(path)))


def from_region_map(region_map: Array | Tensor, table: RegionTable) -> Regions:
    """Put the map of an augmented image and the table together again.

    Args:
        region_map: (H, W) integers, as :func:`to_region_map` gives them, of the image as it is
            now; 0, 255 and negative numbers are in no region.
        table: of the same image.

    Returns:
        Those of the regions that have a pixel left, on the CPU.

    Raises:
        TypeError, ValueError: another kind of object, dtype or shape, or a number that the table
            does not know: the table of another image.
    """
    check_label_map("region_map", region_map, batched=False)
    if not isinstance(table, RegionTable):
        raise TypeError(f"table: expected seco.RegionTable, got {describe(table)}")
    if isinstance(region_map, Tensor):
        region_map = region_map.cpu().numpy()
    if region_map.dtype.kind == "i":
        region_map = np.maximum(region_map, 0)
    # One number more than there are atoms, for the padding that lies among them.
    size = max(table.atom_count, PADDING) + 1
    highest = int(region_map.max())
    if highest >= size:  # before it is counted, in as many cells
        raise ValueError(
            f"region_map: expected at most {size - 1}, the last atom in table, got {highest}"
        )
    pixels = np.bincount(region_map.ravel(), minlength=size)
    pixels[[0, PADDING]] = 0
    present = pixels.nonzero()[0]
    atoms = present - (present > PADDING)
    if len(atoms) and atoms[-1] >= table.atom_count:
        raise ValueError(
            f"region_map: expected at most atom {table.atom_count - 1} of table, got {atoms[-1]}"
        )
    number = np.zeros(size, np.int32)
    number[present] = np.arange(1, len(present) + 1)
    members = np.unpackbits(table.members, axis=1, count=table.atom_count)[:, atoms].astype(bool)
    left = members.any(axis=1)
    members = np.pad(members[left], ((0, 0), (1, 0)))
    return Regions(
        torch.from_numpy(number.take(region_map)),
        torch.from_numpy(members),
        torch.from_numpy(table.scores[left]),
    )


def transform_region_map(
    region_map: Array,
    *,
    resize: tuple[int, int] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    flip: Literal["horizontal", "vertical"] | None = None,
    pad_to: tuple[int, int] | None = None,
) -> Array:
    """Do to a region map what was done to its image, in this order.

    For loops that augment by their own code; pipelines with fields of label maps move it
    themselves, see :class:`seco.LoadRegions`. Only the pixels that remain are looked at.

    Args:
        region_map: (H, W) integers.
        resize: new height and width; nearest neighbour of pixel centres.
        crop: top, left, height and width, in the resized image.
        flip: ``"horizontal"`` (left and right change places) or ``"vertical"``.
        pad_to: height and width after adding 255 at the right and the bottom.

    Returns:
        A new array of the same dtype.

    Raises:
        TypeError, ValueError: another kind of array, or sizes that do not go together.

    Example:
        >>> transform_region_map(np.array([[1, 2, 3]]), crop=(0, 1, 1, 2), flip="horizontal")
        array([[3, 2]])
        >>> transform_region_map(np.array([[1, 2]]), resize=(1, 4), pad_to=(1, 5))
        array([[  1,   1,   2,   2, 255]])
    """
    if not isinstance(region_map, np.ndarray):
        raise TypeError(f"region_map: expected a numpy array, got {describe(region_map)}")
    check_label_map("region_map", region_map, batched=False)
    check_choice("flip", flip, (None, "horizontal", "vertical"))
    sides = [np.arange(length) for length in region_map.shape]
    if resize is not None:
        sides = [
            nearest_places(len(side), length)
            for side, length in zip(sides, _lengths("resize", resize, low=1), strict=True)
        ]
    if crop is not None:
        top, left, height, width = _lengths("crop", crop, low=0, count=4)
        if not (0 < height <= len(sides[0]) - top and 0 < width <= len(sides[1]) - left):
            raise ValueError(
                f"crop: expected a part of {len(sides[0])} x {len(sides[1])}, got {crop}"
            )
        sides = [sides[0][top : top + height], sides[1][left : left + width]]
    if flip is not None:
        axis = 0 if flip == "vertical" else 1
        sides[axis] = sides[axis][::-1]
    moved: Array = region_map[np.ix_(*sides)]
    if pad_to is None:
        return moved
    missing = [
        length - len(side)
        for length, side in zip(_lengths("pad_to", pad_to, low=1), sides, strict=True)
    ]
    if min(missing) < 0:
        raise ValueError(f"pad_to: expected at least {moved.shape}, got {pad_to}")
    padded: Array = np.pad(moved, [(0, length) for length in missing], constant_values=PADDING)
    return padded


def _lengths(name: str, value: object, *, low: int, count: int = 2) -> list[int]:
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise ValueError(f"{name}: expected {count} integers, got {value!r}")
    return [check_integer(name, item, low=low) for item in value]
