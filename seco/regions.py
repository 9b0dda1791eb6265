"""Class-agnostic regions of an image, stored so that a vote in them costs one histogram.

SAM's regions overlap (a window, its wall, the house). What a pixel can be told about them is
which of them it lies in, so the image is cut into *atoms*: maximal sets of pixels that lie in
exactly the same regions. One integer map of atoms plus a small membership table holds every mask
losslessly, compresses well, travels through flips, crops and nearest-neighbour resizes like a
label map, and turns any per-region count into ``membership @ per-atom count``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.array_files import read_arrays, write_arrays
from seco.common.checks import describe
from seco.common.tables import take_rows
from seco.sam.masks import masks_at_once

FORMAT = 1
_CELLS = 1 << 24  # of a table of members that are float64 at a time: 128 MiB


@dataclass(frozen=True)
class Regions:
    """Overlapping regions of one image.

    Args:
        atoms: (H, W) int32; 0 lies in no region, ``a >= 1`` in those of column ``a``. To move the
            regions with the image, transform this map alone (nearest neighbour, fill 0) and use
            :func:`dataclasses.replace`.
        members: (R, A + 1) bool; ``members[r, a]`` if region r contains atom a. Column 0 is false.
        scores: (R,) float32, how much SAM trusts each region, 0-1.

    Raises:
        TypeError: a field is no tensor.
        ValueError: another shape or dtype, or an atom without a column: 255 or -1, say, that a
            transform filled in instead of 0.

    Example:
        >>> masks = torch.zeros(2, 4, 4, dtype=torch.bool)
        >>> masks[0, :, :3] = True
        >>> masks[1, :2] = True
        >>> regions = Regions.from_masks(masks)
        >>> len(regions), int(regions.atoms.max())
        (2, 3)
        >>> bool((regions.masks() == masks).all())
        True
    """

    atoms: Tensor
    members: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _check_tensor(name, value)
        if self.atoms.ndim != 2 or self.atoms.is_floating_point():
            raise ValueError(
                "atoms: expected an integer tensor of shape (H, W), "
                f"got {self.atoms.dtype} {tuple(self.atoms.shape)}"
            )
        if self.members.ndim != 2 or self.members.dtype != torch.bool:
            raise ValueError(
                "members: expected a bool tensor of shape (R, A + 1), "
                f"got {self.members.dtype} {tuple(self.members.shape)}"
            )
        if self.scores.shape != self.members.shape[:1]:
            raise ValueError(
                f"scores: expected shape ({len(self.members)},), got {tuple(self.scores.shape)}"
            )
        if self.atoms.numel():
            # torch has no minimum of the larger unsigned integers
            atoms = self.atoms if self.atoms.dtype == torch.int32 else self.atoms.long()
            low, high = torch.stack(torch.aminmax(atoms)).tolist()
            if low < 0 or high >= self.members.shape[1]:
                raise ValueError(
                    f"atoms: expected 0 (no region) to {self.members.shape[1] - 1}, as members "
                    f"has columns, got {low} to {high}"
                )

    def __len__(self) -> int:
        return len(self.members)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.atoms.shape[0], self.atoms.shape[1]

    @classmethod
    def from_masks(cls, masks: Tensor, scores: Tensor | None = None) -> Regions:
        """Build regions from (R, H, W) boolean masks and, optionally, (R,) scores (1 if absent).

        Raises:
            TypeError: masks or scores are no tensors.
            ValueError: another shape or dtype.
        """
        _check_tensor("masks", masks)
        if scores is not None:
            _check_tensor("scores", scores)
        if masks.ndim != 3 or masks.dtype != torch.bool or 0 in masks.shape[1:]:
            raise ValueError(
                "masks: expected a bool tensor of shape (R, H, W), H and W at least 1, "
                f"got {masks.dtype} {tuple(masks.shape)}"
            )
        # True is a byte of 255 in what pillow makes of a bitmap: compared, it is 1.
        planes = [
            pack_masks(some.view(torch.uint8) != 0)
            for some in torch.split(masks, masks_at_once(masks.shape[1:].numel(), masks.device))
        ]
        packed = [(torch.cat(planes), len(masks))]
        return cls.from_packed(packed, masks.shape[1:], scores, masks.device)

    @classmethod
    def from_packed(
        cls,
        packed: list[tuple[Tensor, int]],
        size: tuple[int, ...],
        scores: Tensor | None,
        device: torch.device,
    ) -> Regions:
        """Build regions from groups of masks, each as of :func:`pack_masks`, and how many."""
        count = sum(some for _, some in packed)
        if scores is None:
            scores = torch.ones(count, dtype=torch.float32, device=device)
        if count == 0:
            atoms = torch.zeros(size, dtype=torch.int32, device=device)
            return cls(atoms, torch.zeros(0, 1, dtype=torch.bool, device=device), scores)
        planes = torch.cat([some for some, _ in packed]).flatten(1)
        first, inverse = _distinct_columns(planes)
        bits = torch.arange(8, device=device, dtype=torch.uint8)[:, None]
        eights = torch.split(planes[:, first], [len(some) for some, _ in packed])
        members = torch.cat(
            [
                (some[:, None] >> bits & 1).bool().flatten(0, 1)[:length]
                for some, (_, length) in zip(eights, packed, strict=True)
            ]
        )
        inside = members.any(dim=0)
        # Column 0 is reserved for pixels in no region; the others keep their order.
        number = torch.where(inside, inside.cumsum(0), 0)
        members = torch.cat([members.new_zeros(count, 1), members[:, inside]], dim=1)
        atoms = take_rows(number.to(torch.int32), inverse.reshape(size))
        return cls(atoms, members, scores.to(torch.float32))

    @classmethod
    def from_label_map(cls, label_map: Tensor, *, background: int = 0) -> Regions:
        """Build disjoint regions from an (H, W) integer map, one per value but ``background``.

        Raises:
            TypeError: no tensor.
            ValueError: another shape or dtype.

        Example:
            >>> len(Regions.from_label_map(torch.tensor([[7, 7, 0], [3, 3, 3]])))
            2
        """
        _check_tensor("label_map", label_map)
        if label_map.ndim != 2 or label_map.is_floating_point():
            raise ValueError(
                "label_map: expected an integer tensor of shape (H, W), "
                f"got {label_map.dtype} {tuple(label_map.shape)}"
            )
        values, inverse = torch.unique(label_map, return_inverse=True)
        inside = values != background
        number = torch.where(inside, inside.cumsum(0), 0)
        count = int(inside.sum())
        members = torch.zeros(count, count + 1, dtype=torch.bool, device=label_map.device)
        members[:, 1:].fill_diagonal_(True)
        scores = torch.ones(count, dtype=torch.float32, device=label_map.device)
        return cls(number[inverse].to(torch.int32), members, scores)

    def masks(self) -> Tensor:
        """Every region as a boolean mask: (R, H, W)."""
        return self.members[:, self.atoms.long()]

    def areas(self) -> Tensor:
        """Pixels of every region: (R,) int64."""
        atom_areas = torch.bincount(self.atoms.flatten(), minlength=self.members.shape[1])
        return weigh(self.members, atom_areas.double()).long()

    def to(self, device: torch.device | str) -> Regions:
        """Return the same regions on another device; themselves if they are there."""
        device = torch.empty(0, device=device).device  # "cuda" is the current one of them
        if all(part.device == device for part in vars(self).values()):
            return self
        return Regions(self.atoms.to(device), self.members.to(device), self.scores.to(device))

    def save(self, path: str | Path) -> None:
        """Write a compressed ``.npz``, atomically (typically 20-100 kB for 512x1024).

        Missing folders are made; scores are rounded to half precision.
        """
        members = self.members.cpu().numpy()
        atoms = self.atoms.cpu().numpy()
        arrays = {
            "atoms": atoms.astype(np.uint16 if members.shape[1] <= 1 << 16 else np.int32),
            "members": np.packbits(members, axis=1),
            "atom_count": np.array(members.shape[1]),
            "scores": self.scores.cpu().numpy().astype(np.float16),
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, FORMAT, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Regions:
        """Read what :meth:`save` wrote; ValueError if the file is something else."""
        try:
            data = read_arrays(path, FORMAT)
            count = int(data["atom_count"])
            members = np.unpackbits(data["members"], axis=1, count=count).astype(bool)
            atoms, scores = data["atoms"].astype(np.int32), data["scores"].astype(np.float32)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"path: {path} is not a regions file: {error}") from error
        try:
            return cls(*(torch.from_numpy(part) for part in (atoms, members, scores)))
        except ValueError as error:
            raise ValueError(f"path: {path} is not a regions file: {error}") from error


def weigh(members: Tensor, values: Tensor) -> Tensor:
    """``members.double() @ values``, of a table that would be too large in float64 as a whole.

    Args:
        members: (M, N) bool; of thousands of regions it has hundreds of millions of cells.
        values: (N,) or (N, K) float64.
    """
    rows = max(1, _CELLS // max(1, members.shape[1]))
    return torch.cat([some.double() @ values for some in torch.split(members, rows)])


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch tensor, got {describe(value)}")


def pack_masks(masks: Tensor) -> Tensor:
    """Pack (N, H, W) boolean masks, N >= 1, eight to a byte.

    Returns:
        (ceil(N / 8), H, W) uint8, mask n in bit n % 8 of map n // 8.
    """
    planes = masks.view(torch.uint8)  # the same bytes
    packed = planes[::8].clone()
    for bit in range(1, min(8, len(planes))):
        some = planes[bit::8]
        packed[: len(some)].bitwise_or_(some << bit)
    return packed


def _distinct_columns(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct columns of a (P, T) uint8 matrix: an index of each, and every column's number.

    Neighbouring columns are mostly equal, so only where one differs from its left neighbour is
    it looked at; the few that remain are sorted, eight planes as one word, and pairs of words
    by their ranks until one is left.
    """
    width = planes.shape[1]
    starts = (planes[:, 1:] != planes[:, :-1]).any(dim=0).nonzero()[:, 0] + 1
    starts = torch.cat([starts.new_zeros(1), starts])
    eights = F.pad(planes[:, starts], (0, 0, 0, -len(planes) % 8)).view(-1, 8, len(starts))
    words = eights.transpose(1, 2).flatten().view(torch.int64)
    numbers = _ranks(words.view(-1, len(starts)))
    while len(numbers) > 1:
        numbers = F.pad(numbers, (0, 0, 0, len(numbers) % 2))
        numbers = _ranks(numbers[::2] * len(starts) + numbers[1::2])
    number = numbers[0]
    first = starts.new_full((int(number.max()) + 1,), width)
    first.scatter_reduce_(0, number, starts, reduce="amin")
    lengths = torch.diff(starts, append=starts.new_full((1,), width))
    return first, torch.repeat_interleave(number, lengths, output_size=width)


def _ranks(words: Tensor) -> Tensor:
    """How many smaller values there are in its row, for every cell of (N, T) int64."""
    ordered, order = words.sort(dim=1)
    new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0))
    return torch.empty_like(order).scatter_(1, order, new.cumsum(dim=1))
