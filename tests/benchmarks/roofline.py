"""What an encoder asks of a machine, and what the machine can do at best."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from measuring import in_turns
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# Dense bfloat16 FLOP/s without sparsity, and bytes/s of memory, from the vendor's data sheets; the
# first whose words are all in the device's name.
CARDS = {
    "H200": (989.4e12, 4.8e12),
    "H100 NVL": (835.5e12, 3.9e12),
    "H100 PCIe": (756.5e12, 2.0e12),
    "H100": (989.4e12, 3.35e12),
    "A100 PCIE 40GB": (312e12, 1.555e12),
    "A100 SXM4 40GB": (312e12, 1.555e12),
    "A100 80GB PCIe": (312e12, 1.935e12),
    "A100 SXM4 80GB": (312e12, 2.039e12),
}
_WORDS = "-", " "


@dataclass(frozen=True)
class Peak:
    """What a device can do at best.

    Args:
        flops: per second, in bfloat16.
        bandwidth: bytes per second of its memory.
        source: where both figures are from.
    """

    flops: float
    bandwidth: float
    source: str


def peak_of(device: torch.device) -> Peak:
    """By the card's name; of another device, or a part of a card, as measured here."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        words = name.replace(*_WORDS).split()
        if "MIG" not in words:
            for card, (flops, bandwidth) in CARDS.items():
                if set(card.split()) <= set(words):
                    return Peak(flops, bandwidth, f"data sheet, {card}")
    return _measured(device)


def _measured(device: torch.device) -> Peak:
    """The best of some matrix products, and of some copies of what no cache holds."""
    side, length = (8192, 1 << 29) if device.type == "cuda" else (1024, 1 << 26)
    one = torch.ones(side, side, dtype=torch.bfloat16, device=device)
    long = torch.ones(length, dtype=torch.bfloat16, device=device)
    other = torch.empty_like(long)
    calls = {"product": lambda: one @ one, "copy": lambda: other.copy_(long)}
    best = {name: min(seen) for name, seen in in_turns(calls, device, repeats=5).items()}
    source = f"measured here: bfloat16 product of {side} x {side}, copy of {length >> 19} MiB"
    return Peak(2 * side**3 / best["product"], 4 * length / best["copy"], source)


def counted_flops(encoder: Any) -> float:
    """Of one image in segment_anything's own encoder, by torch's counter, padding included."""
    meta = {id(weight): nn.Parameter(weight.detach().to("meta")) for weight in encoder.parameters()}
    hollow = copy.deepcopy(encoder, meta)  # the weights are not copied
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        hollow(torch.empty(1, 3, encoder.img_size, encoder.img_size))
    return float(counter.get_total_flops())


def needed_flops(encoder: Any) -> float:
    """Of one image: the linear layers on every token, attention on every query and its keys.

    2 per multiply-add. What windows are padded with is not counted, which stock computes.
    """
    height = width = encoder.img_size // encoder.patch_embed.proj.kernel_size[0]
    tokens, total = height * width, 0
    for block in encoder.blocks:
        layers = (block.attn.qkv, block.attn.proj, block.mlp.lin1, block.mlp.lin2)
        total += tokens * sum(layer.weight.numel() for layer in layers)
        channels = block.attn.proj.in_features
        sides = (block.window_size,) * 2 if block.window_size else (height, width)
        total += tokens * 2 * sides[0] * sides[1] * channels
        if block.attn.use_rel_pos:
            total += tokens * sum(sides) * channels
    convolutions = (encoder.patch_embed.proj, encoder.neck[0], encoder.neck[2])
    total += tokens * sum(layer.weight.numel() for layer in convolutions)
    return 2.0 * total


def needed_bytes(encoder: Any, batch: int) -> float:
    """Of a batch in bfloat16: weights once, what goes into and comes out of every layer once."""
    side = encoder.img_size // encoder.patch_embed.proj.kernel_size[0]
    moved = 0
    for block in encoder.blocks:
        for layer in (block.attn.qkv, block.attn.proj, block.mlp.lin1, block.mlp.lin2):
            moved += layer.in_features + layer.out_features
        moved += 4 * block.attn.proj.in_features  # attention itself
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    return 2.0 * (weights + batch * side * side * moved)
