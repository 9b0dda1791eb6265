"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are of numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Three digits that count; a dash where there is none.

    Example:
        >>> number(1234.5), number(0.04567), number(7.35), number(99.96), number(None)
        ('1,234', '0.0457', '7.35', '100', '–')
    """
    if value is None:
        return "–"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(found: Mapping[str, float] | None) -> str:
    """The median, and the range where there is one.

    Example:
        >>> spread({"median": 3.0, "min": 2.5, "max": 4.0}), spread({"median": 3.0})
        ('3 (2.5–4)', '3')
    """
    if found is None:
        return "–"
    ends = [number(found[name]) for name in ("min", "max") if name in found]
    middle = number(found["median"])
    return middle if set(ends) <= {middle} else f"{middle} ({'–'.join(ends)})"


def times(ratio: float | Mapping[str, float]) -> str:
    """How many times as fast, or median and range of that; a loss is called so.

    Example:
        >>> times(28.58), times(0.91), times({"median": 2.0, "min": 1.5, "max": 2.5})
        ('**28.6**', '0.91 (a loss)', '**2 (1.5–2.5)**')
    """
    found = {"median": ratio} if isinstance(ratio, int | float) else ratio
    return f"**{spread(found)}**" if found["median"] >= 1 else f"{spread(found)} (a loss)"


def share(value: float | None) -> str:
    """In percent.

    Example:
        >>> share(0.0897), share(None)
        ('9.0 %', '–')
    """
    return "–" if value is None else f"{100 * value:.1f} %"


def shares(found: Mapping[str, float]) -> str:
    """In percent, the median and the range where there is one.

    Example:
        >>> shares({"median": 0.089, "min": 0.0763, "max": 0.11})
        '8.9 % (7.6–11)'
    """
    percent = {name: round(100 * value, 1) for name, value in found.items()}
    middle, *ends = spread(percent).split(" ")
    return " ".join([middle, "%", *ends])


def counted(count: int, what: str) -> str:
    """A number and what it is of.

    Example:
        >>> counted(1, "image"), counted(7, "image"), counted(2, "class")
        ('1 image', '7 images', '2 classes')
    """
    if count == 1:
        return f"1 {what}"
    return f"{count} {what}{'es' if what.endswith('s') else 's'}"


def by(size: Sequence[int]) -> str:
    """Height and width.

    Example:
        >>> by([512, 1024])
        '512 × 1024'
    """
    return " × ".join(map(str, size))
