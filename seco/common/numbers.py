"""Measured shares as JSON and tables say them."""

from __future__ import annotations

import math


def plain(value: float, decimals: int = 6) -> float | None:
    """A number as JSON holds it: rounded, and ``None`` for NaN, which JSON does not know.

    Example:
        >>> plain(1 / 3, 2), plain(math.nan)
        (0.33, None)
    """
    return round(float(value), decimals) if math.isfinite(value) else None


def measured(value: float | None) -> float:
    """What :func:`plain` made plain: NaN for ``None``.

    Example:
        >>> measured(0.5), measured(None)
        (0.5, nan)
    """
    return math.nan if value is None else float(value)


def percent(share: float | None, sign: str = "") -> str:
    """A share in percent with one decimal; a dash where there is none: NaN or ``None``.

    Example:
        >>> percent(0.123), percent(-0.01, "+"), percent(math.nan)
        ('12.3', '-1.0', '–')
    """
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:{sign}.1f}"
