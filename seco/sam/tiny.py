"""The bundled tiny SAM: segment_anything's own architecture, small, with weights in the wheel.

For demos and tests. It was trained for some hours on generated images only; for work use a real
checkpoint.
"""

from __future__ import annotations

from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import torch

from seco.common.precision import cpu_by_default
from seco.sam.build import build_empty, fill
from seco.sam.proposal_settings import ProposalSettings

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

IMAGE_SIZE = 256
PATCH_SIZE = 8
WEIGHTS = "weights/tiny_sam.safetensors"


# It rates its own masks lower than SAM does; chosen on DEV_SEEDS of the street scenes and on
# photographs of traffic (docs/aggregation.md).
PROPOSALS = ProposalSettings(pred_iou_thresh=0.6, stability_score_thresh=0.7)


def build_tiny_sam() -> Sam:
    """The tiny architecture with random weights, drawn without touching torch's global RNG.

    ``segment_anything``'s ``Sam`` at 256 × 256 input: 8 × 8 patches (a 32 × 32 embedding, masks
    of 128 × 128), a ViT of width 128, 8 blocks and 4 heads with windows of 8 and two global
    blocks, and a 64-channel two-block mask decoder: 2 M parameters.

    Returns:
        The model in training mode, float32, on the CPU. The weights are the same every time.

    Example:
        >>> sam = build_tiny_sam()
        >>> sam.image_encoder.img_size
        256
    """
    with torch.random.fork_rng(devices=[]), cpu_by_default():
        torch.default_generator.manual_seed(0)  # torch.manual_seed seeds the GPUs', too
        return _architecture()


def load_tiny_sam() -> Sam:
    """The tiny SAM with its bundled weights; offline, global RNG untouched.

    Mask prompts (``mask_input``) were not part of its training; boxes and points were.

    Returns:
        A ``segment_anything.modeling.Sam`` in evaluation mode, float32, on the CPU.

    Example:
        >>> load_tiny_sam().training
        False
    """
    from safetensors.torch import load_file

    with as_file(files("seco.sam").joinpath(WEIGHTS)) as path:
        state = load_file(path)
    sam: Sam = fill(
        build_empty(_architecture), {name: value.float() for name, value in state.items()}
    )
    sam.proposal_settings = PROPOSALS
    return sam


def _architecture() -> Sam:
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    norm: Any = partial(torch.nn.LayerNorm, eps=1e-6)
    grid, channels = IMAGE_SIZE // PATCH_SIZE, 64
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            embed_dim=128,
            depth=8,
            num_heads=4,
            mlp_ratio=4,
            out_chans=channels,
            norm_layer=norm,
            use_rel_pos=True,
            window_size=8,
            global_attn_indexes=(3, 7),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=channels, mlp_dim=256, num_heads=4
            ),
            transformer_dim=channels,
            iou_head_depth=3,
            iou_head_hidden_dim=128,
        ),
    )
