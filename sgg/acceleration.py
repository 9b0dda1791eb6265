"""How networks are run faster than they come: weights converted once, channels last, compiled.

Each lasts as long as a context manager is open, and only ``forward`` of the user's modules is
replaced meanwhile: their weights, and where these live, stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only  # outputs are mappings or data classes of tensors

from seco.common.checks import describe
from seco.common.compile_modes import CompileMode
from seco.common.compiling import compiled
from sgg.diffusion.protocol import DiffusionModel
from sgg.segmenter import Segmenter

_WITHOUT_CUDA_GRAPHS = {
    "reduce-overhead": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}

# What autocast converts the weights of, by a method that takes nothing else from the module.
_LAYERS = frozenset(
    {
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    }
)


@contextmanager
def accelerated(
    model: DiffusionModel,
    segmenter: Segmenter | None,
    *,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    compile: bool | CompileMode = False,
) -> Iterator[None]:
    """Run the networks of a diffusion model and a segmenter faster while it is open.

    - In autocast of ``dtype``, linear and convolutional layers take weights that are converted
      here, once. Autocast itself converts them at every call, as it keeps only what is
      differentiated. The numbers are the same to the bit; outside autocast nothing changes.
    - With ``channels_last``, weights of 2-D convolutions are laid out so, which activations follow.
    - With ``compile``, ``forward`` of the denoiser and of the segmenter is compiled, once for each
      of up to 64 sizes. Of a mode with CUDA graphs, a denoiser that is differentiated gets none:
      they keep what one backward needs, and the segmenter has several between the denoiser's
      forward and backward.

    Left as they are: what is compiled already, what has a ``forward`` put on it from elsewhere,
    weights that are made at every call (``weight_norm``, pruning), and what is in
    ``DataParallel``, which copies modules to other devices. Opened again inside, it does nothing
    more. Weights that are changed in place meanwhile are not looked at again.

    Args:
        model: networks are the modules that it holds as attributes, and those of a diffusion model
            that it holds.
        segmenter: ``None`` where there is no guidance.
        dtype: of the autocast in which they are going to run.
        channels_last: see there; without ``dtype``, it takes as much memory as these weights.
        compile: ``True`` or a mode of ``torch.compile``.

    Raises:
        ValueError: nothing to compile: a function, TorchScript.

    Example:
        >>> from sgg import CallableDiffusion
        >>> layer = nn.Conv2d(3, 3, 3)
        >>> model = CallableDiffusion(layer, [0.9])
        >>> with accelerated(model, None, channels_last=True):
        ...     layer(torch.zeros(1, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
        True
        >>> layer(torch.zeros(1, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
        False
    """
    networks = networks_of(model, by_method=True)
    if segmenter is not None and isinstance(segmenter.model, nn.Module):
        networks.append(segmenter.model)
    with ExitStack() as stack:
        for layer in (layer for network in networks for layer in _layers(network)):
            converted = _converted(layer, dtype, channels_last)
            if converted is not None:
                stack.enter_context(_replaced(layer, converted))
        if compile:
            mode = None if compile is True else compile
            for network in _called_by(model):
                stack.enter_context(_compiled(network, partial(_denoising, mode=mode)))
            for network in () if segmenter is None else _called_by(segmenter):
                stack.enter_context(_compiled(network, partial(_segmenting, mode=mode)))
        yield


def in_powers_of_two(segment: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Fill batches with blank images: few sizes, of each of which a compiled network needs its own.

    Example:
        >>> in_powers_of_two(lambda x: x[:, :2] + len(x))(torch.zeros(3, 3, 1, 1)).flatten(1)
        tensor([[4., 4.],
                [4., 4.],
                [4., 4.]])
    """

    def filled(images: Tensor) -> Tensor:
        missing = (1 << (len(images) - 1).bit_length()) - len(images)
        return segment(F.pad(images, (0, 0, 0, 0, 0, 0, 0, missing)))[: len(images)]

    return filled


def networks_of(model: object, *, by_method: bool = False) -> list[nn.Module]:
    """The modules that a diffusion model holds; itself, if it is one.

    Args:
        model: the diffusion model.
        by_method: also those that it holds a method of.

    Example:
        >>> from sgg import CallableDiffusion
        >>> layer = nn.Conv2d(3, 3, 1)
        >>> networks_of(CallableDiffusion(layer, [0.9]))
        [Conv2d(3, 3, kernel_size=(1, 1), stride=(1, 1))]
        >>> networks_of(CallableDiffusion(layer.forward, [0.9]))
        []
    """
    found: list[nn.Module] = []
    parts, seen = [model], set[int]()
    while parts:
        part = parts.pop(0)
        owner = getattr(part, "__self__", None)  # of a method, such as network.forward
        if isinstance(part, type) or id(part) in seen:  # what is held may hold its owner
            continue
        seen.add(id(part))
        if isinstance(part, nn.Module):
            found.append(part)
        elif part is model or isinstance(part, DiffusionModel):
            parts += getattr(part, "__dict__", {}).values()
        elif by_method and isinstance(owner, nn.Module):
            found.append(owner)
    return found


def _called_by(model: DiffusionModel | Segmenter) -> list[nn.Module]:
    """Modules whose ``forward`` computes what a model says."""
    if isinstance(model, Segmenter):
        found = model.called
    elif isinstance(model, nn.Module):
        found = list(model.children())  # it is called by the protocol's methods
    else:
        found = networks_of(model)
    if not found or any(isinstance(one, torch.jit.ScriptModule) for one in found):
        said = describe(model.model if isinstance(model, Segmenter) else model)
        raise ValueError(f"compile: expected a model made of torch modules, got {said}")
    return found


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.DataParallel) or _is_compiled(module):
        return
    if type(module) in _LAYERS and "forward" not in vars(module):
        yield module
    for child in module.children():
        yield from _layers(child)


def _converted(
    layer: nn.Module, dtype: torch.dtype | None, channels_last: bool
) -> Callable[..., Tensor] | None:
    """``forward`` with converted weights; ``None`` where they are as they shall be."""
    own = dict(layer._parameters)
    # Of others, as weight_norm and pruning have, the weight is made anew at every call.
    if own.keys() != {"weight", "bias"}:
        return None
    made: dict[str, nn.Parameter | None] = {}
    changed = False
    for name, weight in own.items():
        if weight is None:
            made[name] = None
            continue
        # Of a subclass, as quantised weights are, another type computes; autocast leaves float64.
        if type(weight) is not nn.Parameter or weight.dtype not in _CONVERTIBLE:
            return None
        layout = torch.channels_last if channels_last and weight.ndim == 4 else None
        with torch.inference_mode(False), torch.no_grad():
            found = weight.detach().to(dtype or weight.dtype)
            if layout is not None:
                found = found.contiguous(memory_format=layout)
        changed |= found.data_ptr() != weight.data_ptr()
        made[name] = nn.Parameter(found, requires_grad=False)
    if not changed:
        return None
    twin = copy.copy(layer)
    twin._parameters = made
    forward = type(layer).forward

    def with_converted(input: Tensor, *args: Any, **options: Any) -> Tensor:
        kind = input.device.type
        used = dtype is None or (
            torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == dtype
        )
        # Not if others are in their place, as torch.func.functional_call puts them there.
        used = used and all(layer._parameters[name] is weight for name, weight in own.items())
        found: Tensor = forward(twin if used else layer, input, *args, **options)
        return found

    return with_converted


_CONVERTIBLE = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class _Compiled:
    """A ``forward`` by ``torch.compile``: as it is differentiated, and as it is not."""

    differentiated: Callable[..., Any]
    constant: Callable[..., Any]

    def __call__(self, *args: Any, **options: Any) -> Any:
        used = self.differentiated if torch.is_grad_enabled() else self.constant
        return used(*args, **options)


def _denoising(forward: Callable[..., Any], mode: str | None) -> _Compiled:
    fast = _fast(forward, mode)
    if mode not in _WITHOUT_CUDA_GRAPHS:
        return _Compiled(fast, fast)
    # Graphs know one pending backward. After the segmenter's first one they give away what that of
    # the denoiser, which comes last, has saved.
    return _Compiled(_fast(forward, _WITHOUT_CUDA_GRAPHS[mode]), fast)


def _segmenting(forward: Callable[..., Any], mode: str | None) -> _Compiled:
    # Without gradients it is only asked how many classes it knows.
    return _Compiled(_fast(forward, mode), forward)


def _fast(forward: Callable[..., Any], mode: str | None) -> Callable[..., Any]:
    found = compiled(forward, mode)
    if mode not in _WITHOUT_CUDA_GRAPHS:
        return found
    # The next replay of a CUDA graph, be it the other network's, writes to the same memory.
    return lambda *args, **options: tree_map_only(Tensor, Tensor.clone, found(*args, **options))


@contextmanager
def _compiled(module: nn.Module, make: Callable[[Callable[..., Any]], _Compiled]) -> Iterator[None]:
    before = vars(module).get("forward")
    if _is_compiled(module) or isinstance(before, _Compiled):
        yield
        return
    with _replaced(module, make(module.forward), before):
        yield


def _is_compiled(module: nn.Module) -> bool:
    """Whether the user has compiled it, with ``torch.compile`` or ``module.compile``."""
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or "_orig_mod" in module._modules


@contextmanager
def _replaced(
    module: nn.Module, forward: Callable[..., Any], before: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Put a ``forward`` on a module, and then back what was on it ``before``, if anything was."""
    module.forward = forward
    try:
        yield
    finally:
        if vars(module).get("forward") is forward:  # else another thread's, which removes it
            del module.forward
            if before is not None:
                module.forward = before
