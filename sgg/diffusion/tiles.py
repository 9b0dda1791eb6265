"""Whether a denoiser should see large images in tiles, told by its layers."""

from __future__ import annotations

from torch import nn


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
