"""Numbers as a page says them."""

from __future__ import annotations

import math

from seco.common import numbers


def percent(share: float) -> str:
    """A share as percent; a dash where there is none.

    Example:
        >>> percent(0.123), percent(math.nan)
        ('12.3 %', '–')
    """
    return numbers.percent(share) + (" %" if math.isfinite(share) else "")


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed; nothing where there is none.

    Example:
        >>> points(0.0123), points(-0.5), points(math.nan)
        ('+1.2', '−50.0', '')
    """
    return numbers.percent(difference, "+").replace("-", "−") if math.isfinite(difference) else ""


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> count(1, "image"), count(1200, "image"), count(2, "class", "classes")
        ('1 image', '1,200 images', '2 classes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def in_hex(colour: tuple[int, int, int]) -> str:
    """An RGB colour as pages write it.

    Example:
        >>> in_hex((255, 0, 16))
        '#ff0010'
    """
    return f"#{bytes(colour).hex()}"
