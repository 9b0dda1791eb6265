"""Whether an image encoder computes what segment_anything's does, and nothing more."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor, nn

from seco.common.modules import device_of, dtype_of


def check_stock_encoder(encoder: nn.Module) -> None:
    """Raise unless ``encoder`` is built of segment_anything's own classes, with nothing added.

    Subclasses, adapters (LoRA, quantisation), hooks and replaced forwards are refused: whoever
    computes in the encoder's place would leave them out.

    Args:
        encoder: of a ``Sam``.

    Raises:
        TypeError: naming the part that is something else, and what it is.

    Example:
        >>> check_stock_encoder(nn.Linear(2, 2))
        Traceback (most recent call last):
            ...
        TypeError: sam.image_encoder: expected segment_anything's own ImageEncoderViT, got Linear
    """
    name = "sam.image_encoder"
    if "segment_anything" not in sys.modules:  # nobody can have made one
        raise TypeError(
            f"{name}: expected segment_anything's own ImageEncoderViT, got {_kind(encoder)}"
        )
    from segment_anything.modeling.common import LayerNorm2d, MLPBlock
    from segment_anything.modeling.image_encoder import (
        Attention,
        Block,
        ImageEncoderViT,
        PatchEmbed,
    )

    parts: Any = encoder
    _expect(name, encoder, ImageEncoderViT, "patch_embed blocks neck", "pos_embed")
    _expect(f"{name}.patch_embed", parts.patch_embed, PatchEmbed, "proj")
    _expect_leaf(f"{name}.patch_embed.proj", parts.patch_embed.proj, nn.Conv2d)
    _expect(f"{name}.blocks", parts.blocks, nn.ModuleList, None)
    for index, block in enumerate(parts.blocks):
        place = f"{name}.blocks.{index}"
        _expect(place, block, Block, "norm1 attn norm2 mlp")
        _expect(f"{place}.attn", block.attn, Attention, "qkv proj", "rel_pos_h rel_pos_w")
        _expect(f"{place}.mlp", block.mlp, MLPBlock, "lin1 lin2 act")
        for norm in ("norm1", "norm2"):
            _expect_leaf(f"{place}.{norm}", getattr(block, norm), nn.LayerNorm)
        for layer in ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2"):
            _expect_leaf(f"{place}.{layer}", block.get_submodule(layer), nn.Linear)
        _expect_leaf(f"{place}.mlp.act", block.mlp.act, nn.GELU)
    _expect(f"{name}.neck", parts.neck, nn.Sequential, "0 1 2 3")
    for index, kind in enumerate((nn.Conv2d, LayerNorm2d, nn.Conv2d, LayerNorm2d)):
        _expect_leaf(f"{name}.neck.{index}", parts.neck[index], kind)
    _expect_convolutions(name, parts)


def check_returns_embedding(encoder: nn.Module) -> None:
    """Raise unless a stock encoder returns one tensor.

    HQ-SAM's fork is called ``segment_anything`` too and has the same classes, but returns the
    features of every global block beside the embedding. Found out by running it without blocks.

    Raises:
        TypeError: it returns something else.
    """
    shallow: Any = copy.copy(encoder)
    shallow.__dict__["_modules"] = {**encoder._modules, "blocks": nn.ModuleList()}
    channels, side = shallow.patch_embed.proj.in_channels, shallow.img_size
    zeros = torch.zeros(1, channels, side, side, device=device_of(encoder), dtype=dtype_of(encoder))
    with torch.no_grad():
        found = shallow(zeros)
    if not isinstance(found, Tensor):
        raise TypeError(
            "sam.image_encoder: expected one that returns a tensor, got one that returns "
            f"{type(found).__name__}, as HQ-SAM's does"
        )


def _expect(
    name: str, module: nn.Module, kind: type[nn.Module], children: str | None, own: str = ""
) -> None:
    """Exactly this class, these children (``None``: any) and at most these parameters."""
    if type(module) is not kind:
        raise TypeError(
            f"{name}: expected segment_anything's own {kind.__name__}, got {_kind(module)}"
        )
    found = (
        module._forward_hooks or module._forward_pre_hooks,
        "forward" in vars(module),
    )
    for said, what in zip(found, ("a forward hook", "a forward of its own"), strict=True):
        if said:
            raise TypeError(f"{name}: expected a plain {kind.__name__}, got one with {what}")
    added = [*module._parameters, *module._buffers]
    added = [key for key in added if key not in own.split()]
    if children is not None:
        added += [key for key in module._modules if key not in children.split()]
    if added:
        raise TypeError(
            f"{name}: expected a plain {kind.__name__}, got one with {', '.join(added)} added"
        )


def _expect_leaf(name: str, module: nn.Module, kind: type[nn.Module]) -> None:
    _expect(name, module, kind, "", "weight bias")


def _expect_convolutions(name: str, encoder: Any) -> None:
    """Patches side by side, then one pixel to one pixel, then a window of one size."""
    patch, first, second = encoder.patch_embed.proj, encoder.neck[0], encoder.neck[2]
    usual = {
        "patch_embed.proj": (patch, {"stride": patch.kernel_size, "padding": (0, 0)}),
        "neck.0": (first, {"kernel_size": (1, 1), "stride": (1, 1), "padding": (0, 0)}),
        "neck.2": (second, {"stride": (1, 1)}),
    }
    for place, (layer, wanted) in usual.items():
        wanted |= {"dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
        for key, value in wanted.items():
            if getattr(layer, key) != value:
                raise TypeError(
                    f"{name}.{place}: expected a convolution with {key} {value}, "
                    f"got {getattr(layer, key)}"
                )


def _kind(module: object) -> str:
    """Its class, with the package where that alone tells it from the expected one."""
    kind = type(module)
    return (
        kind.__name__
        if kind.__module__.startswith("torch.")
        else f"{kind.__module__}.{kind.__qualname__}"
    )
