"""Files of numpy's own formats, read in several threads at once."""

from __future__ import annotations

import io

import numpy as np

from seco.common.arrays import Array

_ATTEMPTS = 20
_STARTS = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")  # .npy, .npz, and an empty .npz


def load_numpy(content: bytes) -> Array | dict[str, Array]:
    """What a file holds, with nothing unpickled.

    numpy reads the header of an array with Python's parser. That of Python before 3.11.8 and
    3.12.2 raises SystemError at times where two threads are in it (python/cpython#106905), though
    nothing is wrong with the file; then it is read again.

    Args:
        content: of a ``.npy`` file, or of an ``.npz``.

    Returns:
        The array, or those of the ``.npz`` by name.

    Raises:
        Exception: of several kinds, where the file is broken or another.

    Example:
        >>> buffer = io.BytesIO()
        >>> np.save(buffer, np.array([3, 4]))
        >>> load_numpy(buffer.getvalue())
        array([3, 4])
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _load(content)
        except SystemError:
            continue
    return _load(content)


def _load(content: bytes) -> Array | dict[str, Array]:
    if not content.startswith(_STARTS):  # numpy would recommend to unpickle it
        raise ValueError(f"a file of numpy expected, got {len(content)} bytes of something else")
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(found, np.lib.npyio.NpzFile):
        with found:
            return dict(found)
    array: Array = found
    return array
