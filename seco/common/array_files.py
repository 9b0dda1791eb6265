"""Arrays by name in one compressed file of a numbered format, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seco.common.arrays import Array
from seco.common.files import PathLike, write_bytes
from seco.common.numpy_files import load_numpy


def write_arrays(path: PathLike, version: int, arrays: Mapping[str, Any]) -> None:
    """Write a compressed ``.npz`` atomically; its folder must exist.

    Args:
        path: to write to.
        version: of the format, for :func:`read_arrays`.
        arrays: by name; none is called ``format``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.npz"), 1, {"ids": np.array([3, 4])})
        ...     read_arrays(Path(folder, "a.npz"), 1)["ids"].tolist()
        [3, 4]
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=np.array(version), **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: PathLike, version: int) -> dict[str, Array]:
    """Read what :func:`write_arrays` wrote.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is something else, or of another version.
    """
    content = Path(path).read_bytes()
    try:
        found = load_numpy(content)
        if not isinstance(found, dict):
            raise ValueError("expected arrays by name, got a single one")
        known = int(found["format"])
    except Exception as error:  # numpy raises several kinds on a broken file
        raise ValueError(str(error)) from error
    if known != version:
        raise ValueError(f"format {known}, expected {version}")
    return found
