"""A segmenter's weights as a file between two stages."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from seco.common.checks import describe
from seco.common.files import write_bytes
from seco.common.tensor_files import pack_tensors
from sgg.segmenter import Segmenter


def check_savable(segmenter: Segmenter) -> None:
    """Raise ``TypeError`` unless a segmenter is a module whose state is tensors alone."""
    if not isinstance(segmenter.model, nn.Module):
        raise TypeError(
            "seg_model: expected a torch.nn.Module, whose weights are trained and saved at every "
            f"stage, got {describe(segmenter.model)}"
        )
    for name, value in segmenter.model.state_dict().items():
        if not hasattr(value, "detach"):
            raise TypeError(f"seg_model: expected tensors in its state, got {name}: {value!r:.40}")


def copied(segmenter: Segmenter) -> Segmenter:
    """A copy that can be trained without changing the original."""
    with torch.no_grad():  # with gradients, TorchScript's copied weights would have a history
        made = copy.deepcopy(segmenter)
    pairs = zip(_module(segmenter).parameters(), _module(made).parameters(), strict=True)
    for weight, own in pairs:
        own.requires_grad = weight.requires_grad
    return made


def write_weights(path: Path, segmenter: Segmenter) -> None:
    """Write the model's state dict as safetensors, whole or not at all."""
    write_bytes(path, pack_tensors(_module(segmenter).state_dict()))


def with_weights(segmenter: Segmenter, path: Path) -> Segmenter:
    """A copy of a segmenter with the weights of a file.

    Raises:
        OSError: it cannot be read.
        RuntimeError: it holds other weights than the model has.
    """
    from safetensors.torch import load

    made = copied(segmenter)
    _module(made).load_state_dict(load(path.read_bytes()))
    return made


def bad_weight(segmenter: Segmenter) -> str | None:
    """The name of a weight or statistic that is not finite, if there is one."""
    for name, value in _module(segmenter).state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return None


def _module(segmenter: Segmenter) -> nn.Module:
    if not isinstance(segmenter.model, nn.Module):
        raise TypeError(f"seg_model: expected a torch.nn.Module, got {describe(segmenter.model)}")
    return segmenter.model
