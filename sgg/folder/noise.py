"""The noise of every image of a set."""

from __future__ import annotations

import hashlib


def image_seed(seed: int, name: str) -> int:
    """The seed of an image's noise: by its name, so that no order and no share of work matters.

    Args:
        seed: of the whole set.
        name: the image's path within its folder, without the format.

    Returns:
        The first eight bytes of the SHA-256 of ``"SEED/NAME"``, big-endian, without the highest
        bit.

    Example:
        >>> image_seed(0, "00001") == image_seed(0, "00001")
        True
        >>> len({image_seed(0, "00001"), image_seed(1, "00001"), image_seed(0, "00002")})
        3
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
