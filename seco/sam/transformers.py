"""Hugging Face transformers: ``SamModel``, ``SamHQModel``, ``Sam2Model``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.common.modules import device_of, dtype_of
from seco.sam.inference import inference, to_answer
from seco.sam.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_images,
    check_prompts,
    describe_statistics,
    long_side_size,
    prepare_images,
)
from seco.sam.proposal_settings import SAM2_PROPOSALS, ProposalSettings
from seco.sam.protocol import Embedding, MaskLogits

# By config.model_type. SAM 2 squeezes an image to a square, the others resize and pad.
_SQUEEZES = {"sam": False, "sam_hq": False, "sam2": True}


class TransformersBackend:
    """A transformers ``SamModel``, ``SamHQModel`` or ``Sam2Model`` as a segmenter.

    Args:
        model: the model; used as it is, never changed or copied.
        processor: its processor or image processor, for the mean and standard deviation;
            ImageNet's, which all published checkpoints use, if ``None``.

    Raises:
        TypeError: another kind of model.
    """

    def __init__(self, model: nn.Module, processor: Any = None) -> None:
        if not is_transformers_sam(model) or model_type(model) not in _SQUEEZES:
            raise TypeError(
                "model: expected transformers' SamModel, SamHQModel or Sam2Model, "
                f"got {type(model).__name__}"
            )
        self.model: Any = model
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if processor is not None:
            image_processor = getattr(processor, "image_processor", processor)
            self.mean = tuple(255.0 * value for value in image_processor.image_mean)
            self.std = tuple(255.0 * value for value in image_processor.image_std)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return device_of(self.model)

    @property
    def proposal_settings(self) -> ProposalSettings | None:
        """The thresholds of SAM 2's official mask generator, or ``None`` for SAM's."""
        is_sam2 = model_type(self.model).startswith("sam2")
        return SAM2_PROPOSALS if is_sam2 else None

    def encode(self, images: Tensor) -> Sequence[Embedding]:
        """Encode a batch in one pass; see :meth:`PromptableSegmenter.encode`."""
        check_images(images)
        model = self.model
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with inference(model):
            batch = prepare_images(
                images, self._input_size(size), mean=self.mean, std=self.std, device=self.device
            )
            bottom, right = (self._length - side for side in batch.shape[-2:])
            batch = F.pad(batch, (0, right, 0, bottom))
            encoded = model.get_image_embeddings(batch.to(dtype_of(model.vision_encoder)))
        if isinstance(encoded, Tensor):
            levels = [encoded]
        elif model_type(model) == "sam_hq":  # features of all global blocks; the first one's count
            levels = [encoded[0], encoded[1][0]]
        else:
            levels = list(encoded)
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
        input_size = self._input_size(embedding.size)
        prompts = prompts.scaled(embedding.size, input_size)
        model = self.model
        with inference(model):
            dtype = dtype_of(model.mask_decoder)
            features = [f.to(self.device, dtype) for f in embedding.features]
            given: dict[str, Any]
            if model_type(model) == "sam2":
                given = {"image_embeddings": features}
            elif model_type(model) == "sam_hq":
                given = {"image_embeddings": features[0], "intermediate_embeddings": features[1:]}
            else:
                given = {"image_embeddings": features[0]}
            # One image: a leading batch dimension of 1 everywhere.
            if prompts.boxes is not None:
                given["input_boxes"] = prompts.boxes[None]
            if prompts.points is not None and prompts.point_labels is not None:
                given["input_points"] = prompts.points[None]
                given["input_labels"] = prompts.point_labels[None]
            output = model(**given, multimask_output=multimask)
            logits, scores = output.pred_masks[0], output.iou_scores[0]
            extent = (
                logits.shape[-2] * input_size[0] / self._length,
                logits.shape[-1] * input_size[1] / self._length,
            )
            return to_answer(logits, scores, extent)

    def describe(self) -> dict[str, str]:
        """What changes its answers and is neither a weight nor as published, for manifests."""
        return describe_statistics(self.mean, self.std)

    @property
    def _length(self) -> int:
        return int(self.model.config.prompt_encoder_config.image_size)

    def _input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if _SQUEEZES[model_type(self.model)]:
            return self._length, self._length
        return long_side_size(size, self._length)


def model_type(obj: object) -> str:
    """``config.model_type`` of a transformers model, empty for anything else."""
    return str(getattr(getattr(obj, "config", None), "model_type", ""))


def is_transformers_sam(obj: object) -> bool:
    """Whether ``obj`` looks like a member of transformers' SAM family, supported or not."""
    return (
        isinstance(obj, nn.Module)
        and bool(model_type(obj))
        and all(hasattr(obj, part) for part in ("vision_encoder", "prompt_encoder"))
    )
