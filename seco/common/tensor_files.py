"""Tensors and a JSON header in one safetensors file: no pickle, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from seco.common.files import PathLike, write_bytes

_HEADER = "seco"


def pack_tensors(tensors: dict[str, Tensor], header: dict[str, Any] | None = None) -> bytes:
    """Tensors on any device, and anything JSON holds, as the bytes of a safetensors file."""
    from safetensors.torch import save

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    data: bytes = save(own, metadata=None if header is None else {_HEADER: json.dumps(header)})
    return data


def write_tensors(path: PathLike, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a header atomically; the folder of ``path`` must exist."""
    write_bytes(path, pack_tensors(tensors, header))


def read_tensors(
    path: PathLike, kind: str, version: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote with a header of this ``kind`` and ``version``.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is something else, truncated, or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = Path(path).read_bytes()
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a {kind}, got {error}") from error
    length = int.from_bytes(data[:8], "little")
    own = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(_HEADER)
    header = None if own is None else json.loads(own)
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise ValueError(f"{path}: expected a {kind}, got another kind of safetensors file")
    if header.get("version") != version:
        raise ValueError(f"{path}: expected version {version}, got {header.get('version')}")
    return tensors, header
