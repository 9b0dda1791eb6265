"""Copies between the host and a GPU that neither waits for.

A plain copy to or from a GPU makes the host wait until all that was asked of the GPU before is
done. From pinned memory and on a stream of its own a copy goes on beside the computing. Each way
has one: a copy back waits for what computes it, and images that are to come would wait behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Transfer:
    """Tensors on their way; made by a :class:`Carrier`."""

    def __init__(self, tensors: tuple[Tensor, ...], done: torch.cuda.Event | None) -> None:
        self._tensors, self._done = tensors, done

    def take(self) -> tuple[Tensor, ...]:
        """The tensors, for use in this thread.

        On a GPU it is what is computed next on them that waits, not the host.
        """
        if self._done is None:
            return self._tensors
        if not any(tensor.is_cuda for tensor in self._tensors):
            self._done.synchronize()
        for tensor in self._tensors:
            if tensor.is_cuda:
                stream = torch.cuda.current_stream(tensor.device)
                stream.wait_event(self._done)
                tensor.record_stream(stream)  # its memory is not given away before
        return self._tensors


class Carrier:
    """Brings tensors to a device and back; on another device than a GPU by plain copies.

    Args:
        device: to bring them to.

    Example:
        >>> carrier = Carrier(torch.device("cpu"))
        >>> carrier.back(*carrier.there(torch.ones(2)).take()).take()
        (tensor([1., 1.]),)
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        cuda: Any = torch.cuda  # its streams have no types
        on_gpu = device.type == "cuda"
        self._streams = (cuda.Stream(device), cuda.Stream(device)) if on_gpu else None

    def there(self, *tensors: Tensor) -> Transfer:
        """Begin to copy tensors of the host to the device; from any thread."""
        if self._streams is None:
            return Transfer(tuple(tensor.to(self.device) for tensor in tensors), None)
        stream, _ = self._streams
        with torch.cuda.stream(stream):
            copies = tuple(
                tensor.pin_memory().to(self.device, non_blocking=True) for tensor in tensors
            )
            return Transfer(copies, stream.record_event())

    def back(self, *tensors: Tensor) -> Transfer:
        """Begin to copy tensors of the device to the host, once what computes them is done."""
        if self._streams is None:
            return Transfer(tuple(tensor.cpu() for tensor in tensors), None)
        _, stream = self._streams
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            copies = []
            for tensor in tensors:
                # named, for the default device may be another
                pinned = torch.empty(
                    tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True
                )
                copies.append(pinned.copy_(tensor, non_blocking=True))
                if tensor.is_cuda:
                    tensor.record_stream(stream)
            return Transfer(tuple(copies), stream.record_event())
