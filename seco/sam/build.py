"""A segment_anything model from its architecture and its weights, nothing drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seco.sam.inputs import IMAGENET_MEAN, IMAGENET_STD


def build_empty(architecture: Callable[[], Any]) -> Any:
    """Build a model without weights, on the meta device, for :func:`fill`.

    The weights to come replace every random number, so none is drawn: faster, and the caller's
    random state stays as it is.

    Args:
        architecture: returns a ``segment_anything.modeling.Sam``.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return architecture()


def fill(sam: Any, weights: Mapping[str, Tensor]) -> Any:
    """Give a model of :func:`build_empty` its weights.

    Args:
        sam: the model; changed in place.
        weights: its whole state dict, on the CPU; the tensors become the model's own.

    Returns:
        The model, in evaluation mode, on the CPU.

    Raises:
        RuntimeError: the weights of another architecture.
    """
    sam.load_state_dict(weights, assign=True)
    # SAM's input normalisation is not in the state dict, so it is still on the meta device.
    for buffer, values in (("pixel_mean", IMAGENET_MEAN), ("pixel_std", IMAGENET_STD)):
        setattr(sam, buffer, torch.tensor(values, device="cpu").view(-1, 1, 1))
    return sam.eval()
