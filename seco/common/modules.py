"""Where a module lives and in which precision, told by its parameters."""

from __future__ import annotations

import torch
from torch import nn


def device_of(module: object) -> torch.device:
    """Device of a module's parameters; the CPU if it has none or is no module."""
    parameter = next(module.parameters(), None) if isinstance(module, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def dtype_of(module: object, default: torch.dtype = torch.float32) -> torch.dtype:
    """Floating dtype of a module's parameters; ``default`` if it has none or is no module."""
    parameters = module.parameters() if isinstance(module, nn.Module) else iter(())
    return next((p.dtype for p in parameters if p.is_floating_point()), default)
