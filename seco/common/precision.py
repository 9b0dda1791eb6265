"""Counting and weighing must not depend on what the caller's training loop has switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


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
        for kind in {device.type for device in devices}:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
