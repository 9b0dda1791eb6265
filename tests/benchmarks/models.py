"""SAMs to be timed: the bundled one, and the public architectures with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seco.sam.tiny import load_tiny_sam

MODELS = ("tiny", "vit_b", "vit_l", "vit_h")


def load_model(name: str, side: int = 1024) -> Any:
    """The bundled model, or an architecture with random weights that carry signal, on the CPU.

    Args:
        name: one of ``MODELS``.
        side: of the images it looks at, but for the bundled one (256). Below 1024, for slow
            machines, tables of positions shrink.
    """
    if name == "tiny":
        return load_tiny_sam()
    from segment_anything import sam_model_registry

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = sam_model_registry[name]().eval()
        encoder = model.image_encoder
        for key, parameter in encoder.named_parameters():
            if "rel_pos" in key or key == "pos_embed":  # made of zeros
                nn.init.normal_(parameter, std=0.1)
    if side != encoder.img_size:
        tokens = side // encoder.patch_embed.proj.kernel_size[0]
        encoder.img_size = side
        encoder.pos_embed = nn.Parameter(encoder.pos_embed.data[:, :tokens, :tokens].clone())
        model.prompt_encoder.input_image_size = (side, side)
        model.prompt_encoder.image_embedding_size = (tokens, tokens)
    return model
