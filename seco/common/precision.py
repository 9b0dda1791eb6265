"""Counting and training must not depend on what the caller's own loop has switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def cpu_by_default() -> Iterator[None]:
    """Make tensors on the CPU where no device is named, whatever ``torch.set_default_device`` says.

    Example:
        >>> torch.set_default_device("meta")
        >>> with cpu_by_default():
        ...     torch.zeros(1).device
        device(type='cpu')
        >>> torch.set_default_device(None)
    """
    if torch.get_default_device().type == "cpu":
        yield
    else:
        with torch.device("cpu"):
            yield


@contextmanager
def exact(*devices: torch.device) -> Iterator[None]:
    """Compute without gradients and outside the caller's autocast on the given devices.

    A product of a mask with a histogram in half precision counts wrongly beyond 2,048 pixels.

    Example:
        >>> ones = torch.ones(1, 4096)
        >>> with torch.autocast("cpu", torch.float16), exact(torch.device("cpu")):
        ...     (ones @ ones.T).item()
        4096.0
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(cpu_by_default())
        for kind in {device.type for device in devices}:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def learning(device: torch.device) -> Iterator[None]:
    """Compute with gradients and outside the caller's autocast on a device.

    TF32, which cuDNN uses unless it is switched off, is left as it is.
    """
    with ExitStack() as stack:
        stack.enter_context(cpu_by_default())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        yield
