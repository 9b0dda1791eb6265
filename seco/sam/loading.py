"""From what a user has, or names, to a promptable segmenter."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any, cast

import torch

from seco.common.checks import describe
from seco.sam.build import build_empty, fill
from seco.sam.checkpoints import META_URLS, locate_checkpoint, read_checkpoint
from seco.sam.protocol import PromptableSegmenter
from seco.sam.sam2 import Sam2Backend, is_sam2
from seco.sam.segment_anything import SegmentAnythingBackend, is_segment_anything
from seco.sam.transformers import TransformersBackend, is_transformers_sam

_ACCEPTED = (
    "a segment_anything Sam or SamPredictor (or MobileSAM's, HQ-SAM's), a transformers SamModel, "
    "SamHQModel or Sam2Model (or the pair of model and processor), a sam2 SAM2Base or "
    "SAM2ImagePredictor, or an object with the methods of seco.sam.PromptableSegmenter"
)


def load_sam(
    spec: object,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> PromptableSegmenter:
    """Load a SAM by name, or wrap the one you have.

    Args:
        spec: ``"tiny"`` (bundled, for demos and tests), ``"vit_b"``, ``"vit_l"`` or ``"vit_h"``
            (``segment_anything``), or an object: see :func:`as_segmenter`.
        checkpoint: path or URL of the weights of ``vit_*``; Meta's own if ``None``, downloaded
            once to ``torch.hub``'s checkpoint folder and verified by SHA-256.
        device: where to put a model loaded by name; the CPU if ``None``.

    Returns:
        A segmenter that keeps no state and is no ``nn.Module``.

    Raises:
        TypeError: an object that is not recognised.
        ValueError: an unknown name, a checkpoint of another architecture or not as published,
            or ``checkpoint`` or ``device`` where they have no meaning.
        FileNotFoundError: no file at ``checkpoint``.
        ConnectionError: the download failed; the message says how to go on without internet.

    Example:
        >>> sam = load_sam("tiny")
        >>> embedding = sam.encode(torch.zeros(1, 3, 60, 80, dtype=torch.uint8))[0]
        >>> answer = sam.decode(embedding, boxes=torch.tensor([[10.0, 10.0, 50.0, 40.0]]))
        >>> answer.logits.shape, answer.extent
        (torch.Size([1, 1, 128, 128]), (96.0, 128.0))
    """
    if not isinstance(spec, str):
        for name, value in (("checkpoint", checkpoint), ("device", device)):
            if value is not None:
                raise ValueError(
                    f"{name}: expected None with a model that is loaded already, got {value!r}"
                )
        return as_segmenter(spec)
    if spec == "tiny":
        if checkpoint is not None:
            raise ValueError(
                f"checkpoint: expected None with 'tiny', whose weights are bundled, "
                f"got {checkpoint!r}"
            )
        from seco.sam.tiny import load_tiny_sam

        model: Any = load_tiny_sam()
    elif spec in META_URLS:
        model = _load_vit(spec, checkpoint)
    else:
        names = ", ".join(repr(name) for name in ("tiny", *META_URLS))
        raise ValueError(f"spec: expected one of {names} or a model, got {spec!r}")
    return SegmentAnythingBackend(model if device is None else model.to(device))


def as_segmenter(sam: object) -> PromptableSegmenter:
    """Recognise what the user passed as ``sam`` and wrap it; no library is imported for that.

    A segmenter comes back as it is. Predictors, mask generators and pipelines are looked into
    for their model; their own state (an image that was set) is neither used nor changed.

    Args:
        sam: one of the kinds that the error message lists.

    Raises:
        TypeError: not recognised, or known and not supported.
        ValueError: the model is on a device that cannot do the arithmetic.

    Example:
        >>> as_segmenter(3)
        Traceback (most recent call last):
            ...
        TypeError: sam: expected a segment_anything Sam or SamPredictor (or MobileSAM's, ...
    """
    segmenter = _recognise(sam)
    if segmenter.device.type == "mps":
        raise ValueError(
            "sam: expected a model on the CPU or a CUDA device, got one on mps, which has no "
            "float64; move it with sam.to('cpu')"
        )
    return segmenter


def _recognise(sam: object) -> PromptableSegmenter:
    if _is_segmenter(sam):
        return cast(PromptableSegmenter, sam)
    if isinstance(sam, tuple) and len(sam) == 2 and is_transformers_sam(sam[0]):
        return TransformersBackend(sam[0], sam[1])
    if not isinstance(sam, type):
        for model in _unwrap(sam):
            if is_segment_anything(model):
                return SegmentAnythingBackend(model)
            if is_sam2(model):
                return Sam2Backend(model)
            if is_transformers_sam(model):
                return TransformersBackend(model, getattr(sam, "image_processor", None))
    hint = "; load_sam(name) loads a model by its name" if isinstance(sam, str) else ""
    raise TypeError(f"sam: expected {_ACCEPTED}; got {describe(sam)}{hint}")


def _is_segmenter(obj: object) -> bool:
    """Whether ``obj`` offers the protocol; autoencoders have ``encode`` and ``decode`` too."""
    if isinstance(obj, type) or not isinstance(obj, PromptableSegmenter):
        return False
    try:
        taken = inspect.signature(obj.decode).parameters
    except (TypeError, ValueError):
        return False
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    return takes_any or {"boxes", "points", "point_labels", "multimask"} <= set(taken)


def _unwrap(obj: object) -> Iterator[Any]:
    """The object itself, then what predictors, generators, pipelines and DDP keep inside."""
    for _ in range(4):
        yield obj
        inner = (getattr(obj, name, None) for name in ("predictor", "model", "module"))
        found = next((value for value in inner if value is not None), None)
        if found is None:
            return
        obj = found


def _load_vit(name: str, checkpoint: str | os.PathLike[str] | None) -> Any:
    from segment_anything import sam_model_registry

    path = locate_checkpoint(name, checkpoint)
    state = read_checkpoint(path)
    sam = build_empty(sam_model_registry[name])
    expected = {key: tuple(value.shape) for key, value in sam.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if expected != found:
        wrong = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        key = wrong[0]
        raise ValueError(
            f"checkpoint: expected the weights of {name}, got {path}, which differs in "
            f"{len(wrong)} of them, such as {key}: expected {expected.get(key, 'none')}, "
            f"got {found.get(key, 'none')}"
        )
    return fill(sam, state)
