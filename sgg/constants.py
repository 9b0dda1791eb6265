"""A model's few constant numbers as tensors beside its samples."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: Tensor, like: Tensor) -> Tensor:
    """Numbers, float64 on the CPU, on a tensor's device and in its dtype; not to be written to.

    Sent there once: sending to a GPU waits for all that is under way on it.

    Example:
        >>> constant(torch.tensor([0.5, 2.0], dtype=torch.float64), torch.zeros(1))
        tensor([0.5000, 2.0000])
    """
    return _sent(values.numpy().tobytes(), tuple(values.shape), like.device, like.dtype)


@lru_cache(maxsize=128)
def _sent(
    content: bytes, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    with torch.inference_mode(False):  # later calls may differentiate with it
        values = torch.frombuffer(bytearray(content), dtype=torch.float64)
        return values.reshape(shape).to(device, dtype)
