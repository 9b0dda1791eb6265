"""The feature maps in what a network returned."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from seco.common.checks import describe
from seco.correction.protocol import FeatureMap


def whole(values: Tensor) -> FeatureMap:
    """A (C, h, w) map that shows the image and nothing else."""
    return FeatureMap(values, (float(values.shape[1]), float(values.shape[2])))


def levels_of(found: object, output: int | str | tuple[int | str, ...] | None) -> list[Tensor]:
    """Choose from a network's output and check it.

    Args:
        found: a (1, C, h, w) tensor, or a list, tuple or mapping of such.
        output: see :class:`seco.ModuleExtractor`.

    Returns:
        One (1, C, h, w) tensor per level.

    Raises:
        TypeError, ValueError: no feature maps, or none by that name or at that position.

    Example:
        >>> import torch
        >>> [tuple(level.shape) for level in levels_of({"fine": torch.zeros(1, 8, 4, 6)}, None)]
        [(1, 8, 4, 6)]
    """
    if isinstance(output, tuple):
        return [level for one in output for level in levels_of(found, one)]
    if isinstance(found, Mapping):
        chosen = output if output is not None or len(found) != 1 else next(iter(found))
        if chosen not in found:
            raise ValueError(
                f"output: expected one of {', '.join(map(repr, found))}, got {chosen!r}"
            )
        found = found[chosen]
    elif isinstance(found, (list, tuple)):
        if output is not None:
            if not isinstance(output, int) or not -len(found) <= output < len(found):
                raise ValueError(
                    f"output: expected a position in a list of {len(found)}, got {output!r}"
                )
            found = found[output]
    elif output is not None and isinstance(found, Tensor):
        raise ValueError(
            f"output: expected None, since the network returns a tensor, got {output!r}"
        )
    listed = list(found) if isinstance(found, (list, tuple)) else [found]
    levels = []
    for level in listed:
        if not isinstance(level, Tensor) or not level.is_floating_point():
            raise TypeError(f"encoder: expected feature maps, got {describe(level)}")
        if level.ndim != 4 or len(level) != 1 or level.shape[1] < 2 or 0 in level.shape:
            raise ValueError(
                "encoder: expected feature maps of shape (1, C, h, w) with C > 1, "
                f"got {tuple(level.shape)}"
            )
        levels.append(level)
    if not levels:
        raise ValueError("encoder: expected at least one feature map, got none")
    return levels
