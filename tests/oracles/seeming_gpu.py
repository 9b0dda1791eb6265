"""A CUDA device that is not there, so that what is meant for a GPU also runs where there is none.

A tensor "on" it is one of the CPU that says otherwise. As on CUDA it cannot be mixed with tensors
of the host nor become an array, what is computed of it lies there too, and a copy to the host that
nobody waited for has not arrived. Not there: CUDA's kernels, its rounding, memory, clock and
compilers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

NEEDS_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device, its compilers or its clock"
)
DEVICE = torch.device("cuda", 0)
NEVER_ARRIVED = 77  # what is in memory that a copy has not reached


class OnDevice(Tensor):
    """A tensor of the CPU that says it lies on the GPU."""

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def record_stream(self, stream: object) -> None:
        """Memory is not given away here; torch asks for a stream of its own."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


class _Everywhere(TorchFunctionMode):
    """For what is asked of the device without a tensor that lies there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


def _place(tensor: Tensor, there: bool) -> Tensor:
    """The tensor itself, from now on there or here."""
    if isinstance(tensor, OnDevice) != there:
        parameter = isinstance(tensor, torch.nn.Parameter)
        if there:
            tensor.__class__ = OnDevice
            if parameter:
                tensor._is_param = True
        else:
            tensor.__class__ = torch.nn.Parameter if parameter else Tensor
    return tensor


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function of torch, as it would be with such a device."""
    name = getattr(func, "__name__", "")
    with torch._C.DisableTorchFunctionSubclass():
        if name in SPECIAL:
            return SPECIAL[name](*args, **kwargs)
        if name == "__set__":  # of ``data`` and ``grad``
            func(*args)
            if isinstance(args[1], Tensor) and getattr(func, "__self__", None) is Tensor.data:
                _place(args[0], isinstance(args[1], OnDevice))
            return None
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        there = any(isinstance(one, OnDevice) for one in tensors)
        _refuse_mixed(name, args, kwargs, tensors)
        wanted = kwargs.get("device")
        if wanted is not None:
            there = _is_there(wanted)
            kwargs = kwargs | {"device": "cpu" if there else wanted}
        with _on_the_host(tensors if isinstance(func, FunctionType) else []):
            found = func(*args, **kwargs)
        return tree_map_only(Tensor, lambda one: _place(one, there), found) if there else found


@contextmanager
def _on_the_host(tensors: list[Tensor]) -> Iterator[None]:
    """Functions of Python ask where tensors lie, and are to make theirs beside them."""
    moved = [_place(one, False) for one in tensors if isinstance(one, OnDevice)]
    try:
        yield
    finally:
        for one in moved:
            _place(one, True)


def _refuse_mixed(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
) -> None:
    """Numbers of the host may come along, and its indices; anything else of two devices not."""
    if name in ("__get__", "_has_compatible_shallow_copy_type"):
        return
    if name in ("__getitem__", "__setitem__"):
        indexed, index, *values = args
        indices = [one for one in tree_leaves(index) if isinstance(one, Tensor)]
        if name == "__setitem__" and not indices:
            return  # a copy
        tensors = [one for one in (indexed, *values) if isinstance(one, Tensor)]
        if not isinstance(indexed, OnDevice):
            tensors += [one for one in indices if one.dim()]
    places = {isinstance(one, OnDevice) for one in tensors if one.dim() or one.is_cuda}
    if len(places) > 1:
        raise RuntimeError(
            f"{name}: Expected all tensors to be on the same device, but found at least two "
            f"devices, {DEVICE} and cpu!"
        )


# What says where a tensor is to be.


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    copy = kwargs.pop("copy", False)
    waits_not = kwargs.pop("non_blocking", False)
    layout = kwargs.pop("memory_format", torch.preserve_format)
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    other = kwargs.pop("other", None)
    rest = [one for one in args if one is not None and not isinstance(one, bool)]
    for one in rest:
        if isinstance(one, Tensor):
            other = one
        elif isinstance(one, torch.dtype):
            dtype = one
        else:
            device = one
    assert not kwargs, kwargs
    if other is not None:
        device, dtype = other.device, other.dtype
    was = isinstance(tensor, OnDevice)
    if "meta" in {torch.device(device or "cpu").type, tensor.device.type}:
        return tensor.to(device, dtype)
    there = was if device is None else _is_there(device)
    found = tensor
    if dtype is not None and dtype != tensor.dtype:
        found = Tensor.to(found, dtype)
    if layout is not torch.preserve_format and not found.is_contiguous(memory_format=layout):
        found = found.contiguous(memory_format=layout)
    if found is tensor and (copy or was != there):
        found = tensor.clone()
    if was and not there and waits_not and found is not tensor:
        return _arrives_later(torch.empty_like(found), found)
    return _place(found, there) if found is not tensor else tensor


def _copy_(tensor: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    leaves = isinstance(source, OnDevice) and not isinstance(tensor, OnDevice)
    if leaves and non_blocking and getattr(tensor, "_pinned", False):
        return _arrives_later(tensor, source)
    return tensor.copy_(source)


def _arrives_later(tensor: Tensor, source: Tensor) -> Tensor:
    tensor = _place(tensor, False)
    tensor.fill_(NEVER_ARRIVED)
    kept = source.detach().clone()  # memory of the source may be given away meanwhile
    torch.cuda.current_stream().begin(lambda: tensor.copy_(kept))
    return tensor


def _pin(tensor: Tensor, *_: Any) -> Tensor:
    if isinstance(tensor, OnDevice):
        raise RuntimeError(
            "cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
        )
    found = tensor.clone()
    found._pinned = True
    return found


def _empty(*args: Any, pin_memory: bool = False, device: Any = None, **kwargs: Any) -> Tensor:
    found = torch.empty(*args, **kwargs, device="cpu" if _is_there(device) else device)
    if pin_memory:
        assert not _is_there(device), "only memory of the host can be pinned"
        found._pinned = True
    return _place(found, _is_there(device))


def _array(tensor: Tensor, *, force: bool = False) -> Any:
    if isinstance(tensor, OnDevice) and not force:
        raise TypeError(
            f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )
    return tensor.numpy(force=force)


def _as_array(tensor: Tensor, dtype: Any = None, **_: Any) -> Any:
    found = _array(tensor)
    return found if dtype is None else found.astype(dtype, copy=False)


def _deep_copy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(tensor) in memo:
        return memo[id(tensor)]
    if not isinstance(tensor, OnDevice):
        return Tensor.__deepcopy__(tensor, memo)
    found = tensor.detach().clone()
    if isinstance(tensor, torch.nn.Parameter):
        found._is_param = True
    memo[id(tensor)] = _place(found, True).requires_grad_(tensor.requires_grad)
    return found


SPECIAL: dict[str, Callable[..., Any]] = {
    "to": _to,
    "cuda": lambda tensor, device=None, non_blocking=False: _to(tensor, DEVICE),
    "cpu": lambda tensor: _to(tensor, "cpu"),
    "copy_": _copy_,
    "empty": _empty,
    "pin_memory": _pin,
    "is_pinned": lambda tensor, *_: getattr(tensor, "_pinned", False),
    "get_device": lambda tensor: 0 if isinstance(tensor, OnDevice) else -1,
    "numpy": _array,
    "__array__": _as_array,
    "__deepcopy__": _deep_copy,
}


class Event:
    """Where a stream had got to: the copies before it."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self._stream, self._copies = Stream(), 0
        self._time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self._stream = stream or torch.cuda.current_stream()
        self._copies, self._time = self._stream.begun, time.perf_counter()

    def synchronize(self) -> None:
        while not self.query():
            self._stream.arrive()

    def query(self) -> bool:
        return self._stream.arrived >= self._copies

    def elapsed_time(self, other: Event) -> float:
        return 1000 * (other._time - self._time)


class Stream:
    """Its copies to the host arrive in turn, once they are waited for; all else is done at once.

    Attributes:
        begun: how many copies have been.
        arrived: how many of them have, too.
    """

    def __init__(self, device: Any = None, **_: Any) -> None:
        self._pending: deque[Callable[[], Any]] = deque()
        self.begun = self.arrived = 0

    def begin(self, copy: Callable[[], Any]) -> None:
        self._pending.append(copy)
        self.begun += 1

    def arrive(self) -> None:
        self._pending.popleft()()
        self.arrived += 1

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        self.record_event().synchronize()

    def wait_event(self, event: Event) -> None: ...

    def wait_stream(self, stream: Stream) -> None: ...


@contextmanager
def seeming_gpu() -> Iterator[None]:
    """``cuda`` is a device in here, in threads that are begun here too."""
    own = threading.local()
    first = Stream()

    def current(device: Any = None) -> Stream:
        return getattr(own, "stream", first)

    @contextmanager
    def on(stream: Stream | None) -> Iterator[None]:
        before = current()
        own.stream = stream or before
        try:
            yield
        finally:
            own.stream = before

    @contextmanager
    def nothing(*_: Any, **__: Any) -> Iterator[None]:
        yield

    bootstrap = threading.Thread._bootstrap_inner

    def begun(thread: threading.Thread) -> None:
        with _Everywhere():
            bootstrap(thread)

    autocast = torch.autocast

    class Autocast(autocast):
        """The CPU's, where CUDA's is asked for."""

        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    known: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: "seeming GPU",
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda *_: True,
        "synchronize": lambda device=None: current().synchronize(),
        "empty_cache": lambda: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda device=None: torch.zeros(1, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "device": nothing,
        "Stream": Stream,
        "Event": Event,
        "stream": on,
        "current_stream": current,
        "is_current_stream_capturing": lambda: False,
    }
    with (
        mock.patch.multiple(torch.cuda, **known),
        mock.patch.object(threading.Thread, "_bootstrap_inner", begun),
        mock.patch.object(torch, "autocast", Autocast),
        mock.patch("torch.accelerator.is_available", return_value=False),  # Adam asks its streams
        _Everywhere(),
    ):
        yield
