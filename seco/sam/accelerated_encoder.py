"""segment_anything's image encoder, faster: the same numbers up to rounding, from its weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seco.common.checks import check_choice, describe
from seco.common.compile_modes import COMPILE_MODES, CompileMode
from seco.common.compiling import compiled
from seco.common.modules import device_of, dtype_of
from seco.sam.encoder_network import EncoderNetwork
from seco.sam.loading import as_segmenter
from seco.sam.relative_attention import ATTENTION_KINDS, AttentionKind
from seco.sam.segment_anything import SegmentAnythingBackend
from seco.sam.stock_encoder import check_returns_embedding, check_stock_encoder

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_FLEX = "torch.nn.attention.flex_attention"


def accelerate_sam(
    sam: object,
    *,
    dtype: torch.dtype | None = None,
    global_attention: AttentionKind = "bias",
    window_attention: AttentionKind = "bias",
    compile: bool | CompileMode = False,
) -> SegmentAnythingBackend:
    """Encode images faster with a ``segment_anything`` model: pass the result in its place.

    The model stays as it is and keeps working. Its encoder's weights are shared where they have
    the right dtype and copied otherwise; when they change or move, the next call sees it (but not
    what is written through ``.data`` or to settings such as ``num_heads``). Prompts are decoded as
    ever, by the model's own decoder in its own precision.

    For inference: nothing passes gradients.

    Args:
        sam: a ``segment_anything`` ``Sam``, ``SamPredictor`` or ``SamAutomaticMaskGenerator``, or
            ``load_sam("vit_h")``'s result. Its encoder must be made of ``segment_anything``'s own
            classes, with no subclass, adapter or hook in it.
        dtype: what the encoder computes in. ``None``: bfloat16 on a GPU, the weights' own on a
            CPU. ``torch.float32`` is exact (rounding differs). ViT-H overflows in float16.
        global_attention: of blocks that see the whole image: ``"bias"``, ``"channels"`` or
            ``"flex"`` (:class:`seco.sam.relative_attention.RelativeAttention`). It changes speed
            and memory, the result by rounding only. ``"flex"`` compiles and needs torch 2.5.
        window_attention: the same of blocks that see windows.
        compile: ``True`` for ``torch.compile``, or its mode, such as ``"reduce-overhead"`` (CUDA
            graphs) or ``"max-autotune"``. The first call with a batch of a new size then compiles,
            for up to 64 sizes.

    Returns:
        A back end; no ``nn.Module``.

    Raises:
        TypeError: another kind of SAM, or an encoder with a part that is something else; the
            message names it.
        ValueError: an unknown dtype, attention or mode.

    Example:
        >>> import seco
        >>> sam = seco.load_sam("tiny")
        >>> fast = accelerate_sam(sam)
        >>> image = torch.zeros(1, 3, 60, 80, dtype=torch.uint8)
        >>> one, other = (s.encode(image)[0].features[0] for s in (sam, fast))
        >>> torch.allclose(one, other, atol=1e-4)
        True
    """
    if dtype is not None and dtype not in DTYPES:
        names = ", ".join(map(str, DTYPES))
        raise ValueError(f"dtype: expected None or one of {names}, got {describe(dtype)}")
    check_choice("global_attention", global_attention, ATTENTION_KINDS)
    check_choice("window_attention", window_attention, ATTENTION_KINDS)
    check_choice("compile", compile, (False, True, *COMPILE_MODES))
    if "flex" in (global_attention, window_attention) and find_spec(_FLEX) is None:
        raise ValueError(
            f"global_attention, window_attention: 'flex' needs torch 2.5, got {torch.__version__}"
        )
    backend = as_segmenter(sam)
    if type(backend) is not SegmentAnythingBackend:
        raise TypeError(
            "sam: expected a segment_anything Sam, SamPredictor or SamAutomaticMaskGenerator, "
            f"got {describe(sam)}"
        )
    encoder = AcceleratedEncoder(
        backend.model.image_encoder,
        dtype=dtype,
        global_attention=global_attention,
        window_attention=window_attention,
        compile=compile,
    )
    return SegmentAnythingBackend(backend.model, image_encoder=encoder)


class AcceleratedEncoder:
    """Computes what an ``ImageEncoderViT`` does; see :func:`accelerate_sam` for the arguments."""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dtype: torch.dtype | None,
        global_attention: AttentionKind,
        window_attention: AttentionKind,
        compile: bool | CompileMode,
    ) -> None:
        check_stock_encoder(encoder)
        check_returns_embedding(encoder)
        self._encoder = encoder
        self._dtype = dtype
        self._kinds = {"global_attention": global_attention, "window_attention": window_attention}
        self._compile = compile
        self._ready = self._prepared()

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        if self._dtype is not None:
            return self._dtype
        on_cpu = device_of(self._encoder).type == "cpu"
        return dtype_of(self._encoder) if on_cpu else torch.bfloat16

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images to (B, C, h, w) embeddings of :attr:`dtype`."""
        ready = self._ready
        if _look_of(ready.modules) != ready.look:
            ready = self._ready = self._prepared()
        if not self._compile:
            return ready.network(images.to(self.dtype))
        # The next replay of a CUDA graph writes to the same memory. No step is marked: that would
        # be one of the caller's graphs as well, and give away what a backward of theirs needs.
        return ready.network(images.to(self.dtype)).clone()

    def describe(self) -> dict[str, str]:
        """What of its answers is neither the weights' doing nor rounding, for manifests.

        Below single precision rounding shows in the masks, so how it came about is said as well.
        """
        own, used = dtype_of(self._encoder), self.dtype
        if used in (torch.float32, torch.float64):
            return {} if used == own else {"image_encoder": f"in {used}"}
        said = [f"in {used}", "accelerated"]
        said += [f"{name} {kind}" for name, kind in self._kinds.items() if kind != "bias"]
        if self._compile:
            said.append("compiled")
        return {"image_encoder": ", ".join(said)}

    def _prepared(self) -> _Ready:
        check_stock_encoder(self._encoder)
        modules = list(self._encoder.modules())
        look = _look_of(modules)
        # Tables and index tensors go where the weights are, whatever the caller's default is.
        with torch.inference_mode(False), torch.no_grad(), device_of(self._encoder):
            network = EncoderNetwork(self._encoder, dtype=self.dtype, **self._kinds)
        if not self._compile:
            return _Ready(modules, look, network)
        mode = None if self._compile is True else str(self._compile)
        return _Ready(modules, look, compiled(network, mode))


class _Ready(NamedTuple):
    """A network, and the encoder as it was when the network was made of it."""

    modules: list[nn.Module]
    look: list[object]
    network: Callable[[Tensor], Tensor]


def _look_of(modules: list[nn.Module]) -> list[object]:
    """Differs when a weight was written to, replaced or moved, or a part was added or hooked.

    Asked before every pass: a quarter of a millisecond for ViT-H, where one of
    :func:`check_stock_encoder` takes 1.5.
    """
    return [
        (
            type(module),
            "forward" in vars(module),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            *map(id, module._modules.values()),
            *map(id, module._buffers.values()),
            *(
                (id(weight), weight.data_ptr(), 0 if weight.is_inference() else weight._version)
                for weight in module._parameters.values()
                if weight is not None
            ),
        )
        for module in modules
    ]
