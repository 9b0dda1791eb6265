"""segment_anything's ``Sam`` and models with the same parts: MobileSAM, HQ-SAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.common.modules import device_of, dtype_of
from seco.common.tables import join
from seco.sam.inference import decode_each, in_float32, inference, to_answer
from seco.sam.inputs import (
    Prompts,
    check_counts,
    check_images,
    check_prompts,
    describe_statistics,
    long_side_size,
    prepare_images,
)
from seco.sam.prompt_embedding import embed_prompts, is_stock_prompt_encoder
from seco.sam.proposal_settings import ProposalSettings
from seco.sam.protocol import Embedding, MaskLogits
from seco.sam.shared_decoder import decode_shared, is_shared_decoder

_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder", "pixel_mean", "pixel_std")


class ImageEncoder(Protocol):
    """Computes what a model's own image encoder does."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """(B, 3, S, S) normalised images to (B, C, h, w) embeddings."""
        ...

    def describe(self) -> Mapping[str, str]:
        """What changes its answers and is no weight of the model."""
        ...


class SegmentAnythingBackend:
    """A ``segment_anything.modeling.Sam`` as a :class:`PromptableSegmenter`.

    Also for models built from the same parts: MobileSAM's, and HQ-SAM's, whose encoder returns
    early features beside the embedding. Images are resized as ``ResizeLongestSide`` does it for
    tensors (antialiased, the longer side to ``image_encoder.img_size``), prompts are scaled the
    same way; both are padded at the bottom and the right.

    Each part runs in the dtype of its own parameters, so that
    ``sam.image_encoder.to(torch.bfloat16)`` gives a fast encoder and an exact decoder.

    Args:
        model: the model; used as it is, never changed or copied.
        hq_token_only: HQ-SAM only: return the high-quality mask alone instead of its sum with
            SAM's mask.
        image_encoder: called instead of the model's own; see :func:`seco.accelerate_sam`.

    Raises:
        TypeError: ``model`` lacks one of SAM's parts.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        hq_token_only: bool = False,
        image_encoder: ImageEncoder | None = None,
    ) -> None:
        if not is_segment_anything(model):
            raise TypeError(
                f"model: expected a module with {', '.join(_PARTS)}, got {type(model).__name__}"
            )
        self.model: Any = model
        self.hq_token_only = hq_token_only
        self._image_encoder = image_encoder

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return device_of(self.model)

    @property
    def proposal_settings(self) -> ProposalSettings | None:
        """The model's own thresholds for segmenting everything, if it carries any."""
        own = getattr(self.model, "proposal_settings", None)
        return own if isinstance(own, ProposalSettings) else None

    def encode(self, images: Tensor) -> Sequence[Embedding]:
        """Encode a batch in one pass; see :meth:`PromptableSegmenter.encode`."""
        check_images(images)
        model = self.model
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with inference(model):
            if self._image_format == "BGR":
                images = images.flip(1)
            batch = prepare_images(
                images,
                self._input_size(size),
                mean=model.pixel_mean,
                std=model.pixel_std,
                device=self.device,
            )
            bottom, right = (model.image_encoder.img_size - side for side in batch.shape[-2:])
            batch = F.pad(batch, (0, right, 0, bottom))
            if self._image_encoder is None:
                encoded = model.image_encoder(batch.to(dtype_of(model.image_encoder)))
            else:
                encoded = self._image_encoder(batch)
        # HQ-SAM: (embedding, features of all global blocks), of which it uses the first block's.
        levels = (encoded,) if isinstance(encoded, Tensor) else (encoded[0], encoded[1][0])
        return [
            Embedding(features=tuple(level[i : i + 1] for level in levels), size=size)
            for i in range(len(images))
        ]

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        """Answer N prompts in one pass; see :meth:`PromptableSegmenter.decode`.

        With HQ-SAM, ``multimask`` still gives one mask: its decoder picks the best level itself.
        """
        prompts = check_prompts(boxes, points, point_labels, self.device)
        return self._decode([embedding], None, prompts, multimask=multimask)

    def decode_several(
        self,
        embeddings: Sequence[Embedding],
        counts: Sequence[int],
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        point_labels: Tensor | None = None,
        multimask: bool = False,
    ) -> MaskLogits:
        """Answer prompts about several images; see :meth:`MultiImageDecoder.decode_several`.

        In one pass with SAM's own decoder; others (HQ-SAM's, changed ones) take one image.
        """
        prompts = check_prompts(boxes, points, point_labels, self.device)
        check_counts(embeddings, counts, boxes=prompts.boxes, points=prompts.points)
        hq = any(len(embedding.features) > 1 for embedding in embeddings)
        if hq or not is_shared_decoder(self.model.mask_decoder):
            return decode_each(self, embeddings, counts, **prompts._asdict(), multimask=multimask)
        return self._decode(embeddings, counts, prompts, multimask=multimask)

    def _decode(
        self,
        embeddings: Sequence[Embedding],
        counts: Sequence[int] | None,
        prompts: Prompts,
        *,
        multimask: bool,
    ) -> MaskLogits:
        size = embeddings[0].size
        input_size = self._input_size(size)
        prompts = prompts.scaled(size, input_size)
        model = self.model
        with inference(model):
            dtype = dtype_of(model.mask_decoder)
            features, *early = (
                join([level.to(self.device, dtype) for level in levels])
                for levels in zip(*(embedding.features for embedding in embeddings), strict=True)
            )
            prompt_encoder: Any = in_float32(model.prompt_encoder)
            if is_stock_prompt_encoder(prompt_encoder):
                sparse, dense = embed_prompts(prompt_encoder, prompts)
            else:
                given = None if prompts.points is None else (prompts.points, prompts.point_labels)
                sparse, dense = prompt_encoder(points=given, boxes=prompts.boxes, masks=None)
            position = prompt_encoder.get_dense_pe().to(dtype)
            sparse, dense = sparse.to(dtype), dense.to(dtype)
            if not early and is_shared_decoder(model.mask_decoder):
                chosen = slice(1, None) if multimask else slice(0, 1)
                logits, scores = decode_shared(
                    model.mask_decoder,
                    features + dense[:1],
                    position,
                    sparse,
                    counts=counts,
                    chosen=chosen,
                )
            else:
                high_quality: dict[str, Any] = (
                    {"hq_token_only": self.hq_token_only, "interm_embeddings": early}
                    if early
                    else {}
                )
                logits, scores = model.mask_decoder(
                    image_embeddings=features,
                    image_pe=position,
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=multimask,
                    **high_quality,
                )
            length = model.image_encoder.img_size
            extent = (
                logits.shape[-2] * input_size[0] / length,
                logits.shape[-1] * input_size[1] / length,
            )
            return to_answer(logits, scores, extent)

    def describe(self) -> dict[str, str]:
        """What changes its answers and is neither a weight nor as in SAM, for manifests."""
        said = describe_statistics(self.model.pixel_mean, self.model.pixel_std)
        if self._image_format != "RGB":
            said["image_format"] = self._image_format
        if self.hq_token_only:
            said["hq_token_only"] = "True"
        precision = dtype_of(self.model.image_encoder)
        if precision != torch.float32:
            said["image_encoder"] = f"in {precision}"
        if self._image_encoder is not None:
            said |= self._image_encoder.describe()
        return said

    @property
    def _image_format(self) -> str:
        return str(getattr(self.model, "image_format", "RGB"))

    def _input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return long_side_size(size, self.model.image_encoder.img_size)


def is_segment_anything(obj: object) -> bool:
    """Whether ``obj`` is a module with the parts of segment_anything's ``Sam``."""
    return (
        isinstance(obj, nn.Module)
        and all(hasattr(obj, part) for part in _PARTS)
        and hasattr(obj.image_encoder, "img_size")
    )
