"""The parts of the forward pass that training needs and SAM's own methods do not offer.

A view smaller than the model's frame costs a fraction of a full pass. It is treated as a window of
the frame: position embeddings are cut at its place, so what is learnt carries over.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import (
    Attention,
    add_decomposed_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import nn

from seco.sam.shared_decoder import decode_shared


def encode_views(
    encoder: ImageEncoderViT, images: torch.Tensor, offsets: list[tuple[int, int]]
) -> torch.Tensor:
    """``(B, 3, V, V)`` normalised views at ``(x, y)`` pixel offsets → ``(B, C, V/8, V/8)``."""
    x = encoder.patch_embed(images)
    n = x.shape[1]
    patch = encoder.img_size // encoder.pos_embed.shape[1]
    x = x + torch.cat(
        [
            encoder.pos_embed[:, b // patch : b // patch + n, a // patch : a // patch + n]
            for a, b in offsets
        ]
    )
    for block in encoder.blocks:
        y = block.norm1(x)
        if block.window_size:
            y, padded = window_partition(y, block.window_size)
        y = _attend(block.attn, y)
        if block.window_size:
            y = window_unpartition(y, block.window_size, padded, (n, n))
        x = x + y
        x = x + block.mlp(block.norm2(x))
    return encoder.neck(x.permute(0, 3, 1, 2))


def _attend(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """As the module's forward, but a smaller grid uses the middle of the table of offsets.

    The module itself would stretch the table, which is right for resized images, not for crops.
    """
    batch, h, w, _ = x.shape
    heads = attention.num_heads
    qkv = attention.qkv(x).reshape(batch, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, batch * heads, h * w, -1).unbind(0)
    weights = (q * attention.scale) @ k.transpose(-2, -1)
    tables = []
    for table, size in ((attention.rel_pos_h, h), (attention.rel_pos_w, w)):
        start = (len(table) - (2 * size - 1)) // 2
        tables.append(table[start : start + 2 * size - 1])
    weights = add_decomposed_rel_pos(weights, q, *tables, (h, w), (h, w))
    out = weights.softmax(-1) @ v
    out = out.view(batch, heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(batch, h, w, -1)
    return attention.proj(out)


def decode_view(
    sam: Sam, embedding: torch.Tensor, sparse: torch.Tensor, offset: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks ``(P, 4, V/2, V/2)`` and predicted IoUs ``(P, 4)`` of one view's prompts."""
    n = embedding.shape[-1]
    prompts = sam.prompt_encoder
    patch = sam.image_encoder.img_size // prompts.image_embedding_size[0]
    i, j = offset[1] // patch, offset[0] // patch
    position = prompts.get_dense_pe()[:, :, i : i + n, j : j + n]
    image = embedding[None] + prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
    return decode_shared(sam.mask_decoder, image, position, sparse)


class DenseHead(nn.Module):
    """Only for training, then dropped: borders and pixel grouping straight from the embedding.

    Prompts touch few pixels per step; this gives the encoder a gradient everywhere.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.borders = nn.Conv2d(channels, 16, 1)
        self.grouping = nn.Conv2d(channels, 16 * 4, 1)
        self.scale = nn.Parameter(torch.tensor([8.0, -4.0]))

    def forward(
        self, embedding: torch.Tensor, levels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Loss on embeddings ``(B, C, N, N)`` given object ids ``(B, 8N, 8N)``, 0 in padding."""
        # Border strength at half the view's resolution.
        logits = F.pixel_shuffle(self.borders(embedding), 4)[:, 0].float()
        fine = levels[:, ::2, ::2]
        edge = torch.zeros_like(fine, dtype=torch.bool)
        edge[:, :, :-1] |= fine[:, :, :-1] != fine[:, :, 1:]
        edge[:, :-1] |= fine[:, :-1] != fine[:, 1:]
        weight = (fine > 0).float() * torch.where(edge, 4.0, 1.0)
        borders = F.binary_cross_entropy_with_logits(logits, edge.float(), weight)
        # Same object or not, for pairs of random pixels at a quarter of the resolution.
        features = F.normalize(F.pixel_shuffle(self.grouping(embedding), 2).float(), dim=1)
        ids = levels[:, ::4, ::4].flatten(1)
        at = torch.randint(ids.shape[1], (ids.shape[0], 256), generator=generator).to(ids.device)
        sampled = features.flatten(2).gather(2, at[:, None].expand(-1, features.shape[1], -1))
        name = ids.gather(1, at).long()
        pair = self.scale[0] * (sampled.transpose(1, 2) @ sampled) + self.scale[1]
        same = (name[:, :, None] == name[:, None, :]).float()
        known = ((name[:, :, None] > 0) & (name[:, None, :] > 0)).float()
        balance = torch.where(same > 0, 2.0, 1.0) * known
        return borders + F.binary_cross_entropy_with_logits(pair, same, balance)
