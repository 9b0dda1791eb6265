"""Images larger than those of a diffusion model: its denoiser asked tile by tile.

As MultiDiffusion (Bar-Tal et al., ICML 2023) does, the tiles' predictions are blended at every
step, not the final images: there is one sample, with one noise, and the tiles agree on it.
"""

from __future__ import annotations

import math
from types import EllipsisType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seco.common.checks import check_integer, describe
from sgg.diffusion.protocol import DiffusionModel, Prediction

_Place = tuple[EllipsisType, slice, slice]
TileSize = int | tuple[int, int] | Literal["auto"] | None


class TiledDiffusion:
    """A diffusion model whose denoiser sees large samples in overlapping tiles.

    Predictions are averaged where tiles overlap, with weights that rise from the tiles' edges. All
    tiles have one size and lie on the grid that the model's sides are multiples of, evenly spread.
    They are asked ``per_batch`` at a time, of all images of a batch together; gradients through
    the denoiser recompute as many at a time. So memory is that of so many tiles. The autoencoder of
    a latent model sees whole images (diffusers' have an ``enable_tiling()`` of their own).

    Args:
        model: the diffusion model.
        tile_size: (height, width) in pixels of images; samples that are smaller are one tile.
        overlap: least overlap of neighbours in pixels; it is rounded up to the grid.
        reduction: side of an image divided by that of its sample, 1 in pixel space.
        per_batch: tiles that the denoiser is asked about at once.

    Raises:
        ValueError: sides that the model cannot take, an overlap that leaves no way forward, or
            fewer tiles at once than one.

    Example:
        >>> from sgg import CallableDiffusion
        >>> seen = []
        >>> def denoiser(x_t, t):
        ...     seen.append(tuple(x_t.shape))
        ...     return torch.zeros_like(x_t)
        >>> model = TiledDiffusion(CallableDiffusion(denoiser, [0.9]), (8, 8), 2)
        >>> model.predict(torch.zeros(1, 3, 8, 14), 0).pred_x0.shape, seen
        (torch.Size([1, 3, 8, 14]), [(1, 3, 8, 8), (1, 3, 8, 8)])
    """

    def __init__(
        self,
        model: DiffusionModel,
        tile_size: tuple[int, int],
        overlap: int,
        *,
        reduction: int = 1,
        per_batch: int = 1,
    ) -> None:
        multiple = model.size_multiple
        for side in tile_size:
            if check_integer("tile_size", side, low=1) % multiple:
                raise ValueError(
                    f"tile_size: expected multiples of {multiple}, which the model takes, "
                    f"got {tile_size}"
                )
        cells = -(-check_integer("tile_overlap", overlap, low=0) // multiple)
        if cells * multiple >= min(tile_size):
            raise ValueError(
                f"tile_overlap: expected less than {min(tile_size)}, the tiles' shorter side, also "
                f"when rounded up to a multiple of {multiple}, got {overlap}"
            )
        self.model = model
        self.tile_size = tile_size
        self._overlap = cells
        self._cell = multiple // reduction
        self._per_batch = check_integer("tiles_per_batch", per_batch, low=1)
        # The last samples' tiles: each weight that goes to a GPU waits for what is under way there.
        self._known: tuple[tuple[Any, ...], list[tuple[_Place, Tensor]]] | None = None

    @property
    def alphas_cumprod(self) -> Tensor:
        """See :class:`sgg.diffusion.DiffusionModel`."""
        return self.model.alphas_cumprod

    @property
    def size_multiple(self) -> int:
        """See :class:`sgg.diffusion.DiffusionModel`."""
        return self.model.size_multiple

    @property
    def device(self) -> torch.device:
        """See :class:`sgg.diffusion.DiffusionModel`."""
        return self.model.device

    def predict(self, x_t: Tensor, t: int) -> Prediction:
        """See :meth:`sgg.diffusion.DiffusionModel.predict`."""
        tiles = self._layout(x_t)
        if len(tiles) == 1:
            return self.model.predict(x_t, t)
        pred_x0, epsilon = torch.zeros_like(x_t), torch.zeros_like(x_t)
        fractions = torch.zeros_like(x_t)
        fraction: Tensor | float = 0.0
        for start in range(0, len(tiles), self._per_batch):
            asked = tiles[start : start + self._per_batch]
            found = self._ask(torch.cat([x_t[place] for place, _ in asked]), t)
            fraction = found.variance_fraction
            for index, (place, weight) in enumerate(asked):
                own = slice(index * len(x_t), (index + 1) * len(x_t))
                pred_x0[place] += weight * found.pred_x0[own]
                epsilon[place] += weight * found.epsilon[own]
                if isinstance(fraction, Tensor):
                    fractions[place] += weight * fraction[own]
        return Prediction(pred_x0, epsilon, fractions if isinstance(fraction, Tensor) else fraction)

    def encode(self, images: Tensor) -> Tensor:
        """See :meth:`sgg.diffusion.DiffusionModel.encode`."""
        return self.model.encode(images)

    def decode(self, x_0: Tensor) -> Tensor:
        """See :meth:`sgg.diffusion.DiffusionModel.decode`."""
        return self.model.decode(x_0)

    def _layout(self, x_t: Tensor) -> list[tuple[_Place, Tensor]]:
        """Places of all tiles of such samples and their weights, which sum to 1."""
        like = (*x_t.shape[-2:], x_t.dtype, x_t.device)
        known = self._known
        if known is None or known[0] != like:
            rows, columns = (
                _tiles(length // self._cell, side // self.size_multiple, self._overlap, self._cell)
                for length, side in zip(x_t.shape[-2:], self.tile_size, strict=True)
            )
            with torch.inference_mode(False):  # later calls may differentiate with them
                places = [
                    ((..., vertical, horizontal), (tall[:, None] * wide).to(x_t))
                    for vertical, tall in rows
                    for horizontal, wide in columns
                ]
            self._known = known = like, places
        return known[1]

    def _ask(self, tiles: Tensor, t: int) -> Prediction:
        if not tiles.requires_grad:
            return self.model.predict(tiles, t)
        found: Prediction = checkpoint(
            self.model.predict, tiles, t, use_reentrant=False, preserve_rng_state=False
        )
        return found


def tiled(
    model: DiffusionModel,
    images: Tensor,
    x_0: Tensor,
    *,
    tile_size: TileSize = "auto",
    tile_overlap: int | None = None,
    tiles_per_batch: int = 1,
) -> DiffusionModel:
    """Return a model that sees images of a size in tiles, or the model itself.

    Args:
        model: the diffusion model.
        images: (B, 3, H, W), of the size to be worked on.
        x_0: (B, C, h, w), what the model encodes them to.
        tile_size: side or (height, width) in pixels; ``None`` for no tiles, ``"auto"`` for what
            the model has as ``tile_size``, if anything.
        tile_overlap: in pixels; ``None`` is a quarter of the tiles' shorter side.
        tiles_per_batch: tiles that the denoiser is asked about at once.

    Raises:
        TypeError, ValueError: a size, overlap or number of another kind or range.
    """
    size = check_tile_size(tile_size)
    if size == "auto":
        size = getattr(model, "tile_size", None)
    if size is None:
        return model
    overlap = min(size) // 4 if tile_overlap is None else tile_overlap
    reduction = images.shape[-1] // x_0.shape[-1]
    return TiledDiffusion(model, size, overlap, reduction=reduction, per_batch=tiles_per_batch)


def tile_size_of(network: object, trained_size: object) -> tuple[int, int] | None:
    """Sides of the tiles in which a network should see larger inputs; ``None`` if in none.

    A network without attention is convolutional and takes every size. With attention, its cost
    rises with the square of the pixels, and it has learned relations within its own size only.

    Args:
        network: layers of attention are known by the name of their type, as diffusers and
            guided-diffusion call theirs.
        trained_size: side or (height, width) that it was trained on; ``None`` if not known.

    Example:
        >>> tile_size_of(nn.Sequential(nn.MultiheadAttention(4, 1)), 64)
        (64, 64)
        >>> tile_size_of(nn.Conv2d(3, 3, 1), 64) is None
        True
    """
    layers = network.modules() if isinstance(network, nn.Module) else ()
    if trained_size is None or not any("Attention" in type(layer).__name__ for layer in layers):
        return None
    if isinstance(trained_size, int):
        return trained_size, trained_size
    if not isinstance(trained_size, (tuple, list)):
        return None
    height, width = trained_size
    return int(height), int(width)


def check_tile_size(tile_size: object) -> tuple[int, int] | Literal["auto"] | None:
    """Return the sides of tiles as (height, width), or ``"auto"`` or ``None`` as they are.

    Raises:
        TypeError, ValueError: something else.

    Example:
        >>> check_tile_size(64)
        (64, 64)
        >>> check_tile_size((64, 0))
        Traceback (most recent call last):
            ...
        ValueError: tile_size: expected an integer >= 1, got 0
    """
    if tile_size is None:
        return None
    if isinstance(tile_size, str) and tile_size == "auto":
        return "auto"
    sides = tile_size if isinstance(tile_size, (tuple, list)) else (tile_size,) * 2
    if len(sides) != 2 or isinstance(tile_size, str):
        raise ValueError(
            f"tile_size: expected a side, (height, width), 'auto' or None, "
            f"got {describe(tile_size)}"
        )
    height, width = (check_integer("tile_size", side, low=1) for side in sides)
    return height, width


def _tiles(length: int, tile: int, overlap: int, cell: int) -> list[tuple[slice, Tensor]]:
    """Places along one side and their weights, which sum to 1; lengths in cells, places not."""
    if length <= tile:
        return [(slice(0, length * cell), torch.ones(length * cell, dtype=torch.float64))]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [cell * (index * (length - tile) // (count - 1)) for index in range(count)]
    from_edge = torch.arange(tile * cell, dtype=torch.float64) + 0.5
    from_edge = torch.minimum(from_edge, from_edge.flip(0))
    ramp = (from_edge / max(overlap * cell, 0.5)).clamp(max=1)
    weight = (math.pi / 2 * ramp).sin().square()
    total = torch.zeros(length * cell, dtype=torch.float64)
    places = [slice(start, start + tile * cell) for start in starts]
    for place in places:
        total[place] += weight
    return [(place, weight / total[place]) for place in places]
