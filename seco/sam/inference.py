"""How every back end runs its model: no gradients, no foreign autocast, nothing left behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from seco.common.device_time import computing
from seco.common.modules import device_of
from seco.common.precision import cpu_by_default
from seco.sam.inputs import check_counts
from seco.sam.protocol import Embedding, MaskLogits, MultiImageDecoder, PromptableSegmenter

IMAGES_PER_BATCH = 4
"""Images per pass of an encoder, where they come in batches: ViT-H takes gigabytes for each."""


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run ``model`` in evaluation mode, without gradients, in its own precision.

    The caller's autocast is switched off (ViT-H overflows in float16), and every training flag
    is as before on exit. ``no_grad`` rather than ``inference_mode``: the latter's tensors cannot
    enter a loss ("Inference tensors cannot be saved for backward"), neither as the scores we
    return nor as the position encodings that sam2 and transformers cache on first use, and it
    saved 2 % on the smallest model.

    Args:
        model: the user's module; its parameters, buffers and ``requires_grad`` are not touched.

    Example:
        >>> layer = nn.Dropout()
        >>> with inference(layer):
        ...     layer.training, torch.is_grad_enabled()
        (False, False)
        >>> layer.training
        True
    """
    device = device_of(model)
    device_type = device.type
    with ExitStack() as stack:
        stack.enter_context(computing(device))
        stack.enter_context(_evaluating(model))
        stack.enter_context(torch.no_grad())
        if torch.amp.is_autocast_available(device_type):
            stack.enter_context(torch.autocast(device_type, enabled=False))
        yield


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    before = [(module, module.training) for module in model.modules()]
    if not any(training for _, training in before):
        yield
        return
    model.eval()
    try:
        yield
    finally:
        # Through train(), parents first: MobileSAM's encoder hangs a cache on that call.
        for module, training in before:
            if module.training != training:
                module.train(training)
        for module, training in before:  # a module with two parents may have been set twice
            module.training = training


def encode(
    images: Tensor, segmenter: PromptableSegmenter, *, images_per_batch: int = IMAGES_PER_BATCH
) -> list[Embedding]:
    """Encode a batch: several images in a pass where that is faster, else one by one.

    On a CPU a batch saves nothing, and one by one an image's result does not depend on its
    neighbours, to the last bit.

    Args:
        images: (B, 3, H, W) as :meth:`PromptableSegmenter.encode` takes them; B may be 0.
        segmenter: the back end.
        images_per_batch: the most images in a pass; bounds memory.
    """
    step = images_at_once(segmenter, images_per_batch)
    parts = [images[start : start + step] for start in range(0, len(images), step)]
    with cpu_by_default():  # encoders count positions without naming a device
        return [embedding for part in parts for embedding in segmenter.encode(part)]


def images_at_once(segmenter: PromptableSegmenter, images_per_batch: int) -> int:
    """How many images go through a back end together: on a CPU always one."""
    return 1 if segmenter.device.type == "cpu" else images_per_batch


def decode_several(
    segmenter: PromptableSegmenter,
    embeddings: Sequence[Embedding],
    counts: Sequence[int],
    *,
    boxes: Tensor | None = None,
    points: Tensor | None = None,
    point_labels: Tensor | None = None,
    multimask: bool = False,
) -> MaskLogits:
    """Answer prompts about several images: in one pass if the back end can, else image by image.

    Args:
        segmenter: the back end.
        embeddings: of at least one image, all of the same height and width.
        counts: how many of the N prompts are about each of them, image after image.
        boxes: (N, 4), see :meth:`PromptableSegmenter.decode`.
        points: (N, P, 2).
        point_labels: (N, P).
        multimask: several masks per prompt, or one.
    """
    check_counts(embeddings, counts, boxes=boxes, points=points)
    given = {"boxes": boxes, "points": points, "point_labels": point_labels}
    if len(embeddings) == 1:
        return segmenter.decode(embeddings[0], **given, multimask=multimask)
    if _decodes_several(segmenter):
        several = cast(MultiImageDecoder, segmenter)
        return several.decode_several(embeddings, counts, **given, multimask=multimask)
    return decode_each(segmenter, embeddings, counts, **given, multimask=multimask)


def _decodes_several(segmenter: PromptableSegmenter) -> bool:
    """Whether a back end has its own ``decode_several``, which speaks for its ``decode``.

    Not one that only passes on what it does not know, nor one that has another ``decode`` by now:
    what it changes would be left out.
    """
    if "decode" in getattr(segmenter, "__dict__", {}):
        return False
    for kind in type(segmenter).__mro__:
        if {"decode", "decode_several"} & vars(kind).keys():
            return "decode_several" in vars(kind)
    return False


def decode_each(
    segmenter: PromptableSegmenter,
    embeddings: Sequence[Embedding],
    counts: Sequence[int],
    *,
    multimask: bool = False,
    **prompts: Tensor | None,
) -> MaskLogits:
    """Answer the prompts about one image after the other; see :func:`decode_several`."""
    parts = {
        name: [None] * len(counts) if value is None else torch.split(value, list(counts))
        for name, value in prompts.items()
    }
    answers = [
        segmenter.decode(
            embedding, **{name: part[i] for name, part in parts.items()}, multimask=multimask
        )
        for i, embedding in enumerate(embeddings)
        if counts[i]
    ]
    return MaskLogits(
        logits=torch.cat([answer.logits for answer in answers]),
        scores=torch.cat([answer.scores for answer in answers]),
        extent=answers[0].extent,
    )


def in_float32(prompt_encoder: nn.Module) -> nn.Module:
    """Return a prompt encoder that computes in float32: itself, or a copy if its weights differ.

    SAM's position encoding multiplies float32 coordinates with its weights, which fails outright
    in any other dtype; and bfloat16 coordinates would be off by up to four pixels. The copy is
    made per call (6,000 parameters), so it never goes stale.
    """
    if all(t.dtype == torch.float32 for t in prompt_encoder.state_dict().values()):
        return prompt_encoder
    return copy.deepcopy(prompt_encoder).float()


def to_answer(logits: Tensor, scores: Tensor, extent: tuple[float, float]) -> MaskLogits:
    """Wrap a decoder's output, (N, M, h, w) logits and (N, M) scores of any float dtype.

    Raises:
        FloatingPointError: the model returned NaN or infinity.
    """
    scores = scores.float()
    if not bool(torch.isfinite(scores).all()):
        raise FloatingPointError(
            "sam: expected finite scores, got NaN or infinity from the mask decoder; a model in "
            "float16 overflows easily: use bfloat16 or float32"
        )
    return MaskLogits(logits=logits.float(), scores=scores, extent=extent)
