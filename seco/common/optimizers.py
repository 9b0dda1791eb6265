"""What an optimizer has gathered, out of it and into it: for the state of a training on disk."""

from __future__ import annotations

import torch
from torch import Tensor


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer has gathered, as tensors."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None  # SGD's without momentum
    }


def load_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Give an optimizer what :func:`moments_of` took."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, name = key.split(".")
        if value.ndim > 0:  # in the memory format of its parameter: other loops round otherwise
            value = torch.empty_like(parameters[int(index)].detach()).copy_(value)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
