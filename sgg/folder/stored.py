"""What the weight files of a diffusers or transformers folder say before they are loaded."""

from __future__ import annotations

import re
from pathlib import Path

import torch

# NAME.safetensors, NAME-00001-of-00002.safetensors, and the same with NAME.VARIANT
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:\.(?P<variant>\w+))?(?:-\d+-of-\d+)?\.(?:safetensors|bin)"
)
_HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}


def variant_in(folder: Path) -> str | None:
    """What ``variant`` of ``from_pretrained`` must be: ``"fp16"`` where only such files are.

    Args:
        folder: with the weights of one model.

    Returns:
        ``None`` where there are weights without a variant, or none at all.

    Raises:
        ValueError: several variants, and none without.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as here:
        ...     Path(here, "diffusion_pytorch_model.fp16.safetensors").touch()
        ...     variant_in(Path(here))
        'fp16'
    """
    variants = {found["variant"] for found in _weight_files(folder).values()}
    if not variants or None in variants:
        return None
    if len(variants) > 1:
        raise ValueError(
            f"{folder}: expected weights of one variant, or without one, got "
            f"{', '.join(sorted(map(str, variants)))}"
        )
    return str(variants.pop())


def stored_dtype(folder: Path) -> torch.dtype:
    """``float16`` or ``bfloat16`` where the weights to be loaded are stored in it, else float32.

    Files other than safetensors are taken for float32, as diffusers does.

    Args:
        folder: with the weights of one model.

    Raises:
        OSError: a file is damaged.
        ValueError: see :func:`variant_in`.
    """
    from safetensors import SafetensorError, safe_open

    variant = variant_in(folder)
    kinds = set()
    for path, found in _weight_files(folder).items():
        if found["variant"] != variant or path.suffix != ".safetensors":
            continue
        try:
            with safe_open(path, "pt") as weights:
                names = weights.keys()
                kinds |= {weights.get_slice(name).get_dtype() for name in names}
        except SafetensorError as error:
            raise OSError(f"{path}: expected safetensors, got {error}") from error
    floating = {kind for kind in kinds if kind.startswith(("F", "BF"))}
    return _HALVES.get(floating.pop(), torch.float32) if len(floating) == 1 else torch.float32


def _weight_files(folder: Path) -> dict[Path, re.Match[str]]:
    found = {path: _WEIGHTS.fullmatch(path.name) for path in sorted(folder.iterdir())}
    return {path: match for path, match in found.items() if match is not None}
