"""The sam2 package: ``SAM2Base``, used as its image predictor uses it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seco.common.modules import device_of, dtype_of
from seco.sam.inference import in_float32, inference, to_answer
from seco.sam.inputs import check_images, check_prompts, prepare_images
from seco.sam.proposal_settings import SAM2_PROPOSALS, ProposalSettings
from seco.sam.protocol import Embedding, MaskLogits

_PARTS = ("image_encoder", "sam_prompt_encoder", "sam_mask_decoder", "forward_image", "image_size")


class Sam2Backend:
    """A ``sam2.modeling.sam2_base.SAM2Base`` as a :class:`PromptableSegmenter`.

    Images are squeezed to a square of ``image_size``, so the masks show the whole frame and
    there is no padding. The image predictor's hole filling and its cut of low-resolution logits
    to ±32 are left out.

    Args:
        model: the model (not the predictor); used as it is, never changed or copied.

    Raises:
        TypeError: ``model`` lacks one of SAM 2's parts, or is HQ-SAM 2.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        if not is_sam2(model):
            raise TypeError(
                f"model: expected a module with {', '.join(_PARTS)}, got {type(model).__name__}"
            )
        decoder: Any = self.model.sam_mask_decoder
        if "hq_token_only" in inspect.signature(decoder.forward).parameters:
            raise TypeError(
                f"model: expected SAM 2, got {type(model).__name__}, whose HQ mask decoder "
                "is not supported"
            )

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return device_of(self.model)

    @property
    def proposal_settings(self) -> ProposalSettings:
        """The thresholds of the official ``SAM2AutomaticMaskGenerator``."""
        return SAM2_PROPOSALS

    def encode(self, images: Tensor) -> Sequence[Embedding]:
        """Encode a batch in one pass; see :meth:`PromptableSegmenter.encode`."""
        check_images(images)
        model = self.model
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with inference(model):
            batch = prepare_images(images, self._input_size, device=self.device)
            pyramid = model.forward_image(batch.to(dtype_of(model.image_encoder)))
            levels = list(pyramid["backbone_fpn"][-model.num_feature_levels :])
            if model.directly_add_no_mem_embed:
                levels[-1] = levels[-1] + model.no_mem_embed.view(1, -1, 1, 1)
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
        """Answer N prompts in one pass; see :meth:`PromptableSegmenter.decode`."""
        prompts = check_prompts(boxes, points, point_labels, self.device)
        prompts = prompts.scaled(embedding.size, self._input_size)
        coords, labels = [], []
        if prompts.boxes is not None:  # SAM 2 was trained on boxes as two labelled points, first
            coords.append(prompts.boxes.view(-1, 2, 2))
            labels.append(torch.tensor([[2, 3]], device=self.device).expand(len(coords[0]), 2))
        if prompts.points is not None and prompts.point_labels is not None:
            coords.append(prompts.points)
            labels.append(prompts.point_labels)
        model = self.model
        with inference(model):
            dtype = dtype_of(model.sam_mask_decoder)
            *fine, features = (f.to(self.device, dtype) for f in embedding.features)
            prompt_encoder: Any = in_float32(model.sam_prompt_encoder)
            sparse, dense = prompt_encoder(
                points=(torch.cat(coords, dim=1), torch.cat(labels, dim=1).int()),
                boxes=None,
                masks=None,
            )
            logits, scores, _, _ = model.sam_mask_decoder(
                image_embeddings=features,
                image_pe=prompt_encoder.get_dense_pe().to(dtype),
                sparse_prompt_embeddings=sparse.to(dtype),
                dense_prompt_embeddings=dense.to(dtype),
                multimask_output=multimask,
                repeat_image=True,
                high_res_features=fine,
            )
            return to_answer(logits, scores, (float(logits.shape[-2]), float(logits.shape[-1])))

    @property
    def _input_size(self) -> tuple[int, int]:
        return self.model.image_size, self.model.image_size


def is_sam2(obj: object) -> bool:
    """Whether ``obj`` is a module with the parts of sam2's ``SAM2Base``."""
    return isinstance(obj, nn.Module) and all(hasattr(obj, part) for part in _PARTS)
