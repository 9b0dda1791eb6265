"""Options that would do nothing are refused by name: whoever gives one expects something of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import typer


def check_used(options: Mapping[str, object], wanted: str) -> None:
    """Refuse options that would do nothing.

    Args:
        options: their values by their names; ``None`` of one that is not given.
        wanted: what they need to do anything.

    Raises:
        ValueError: one of them is given.

    Example:
        >>> check_used({"--list": None, "--layout": "proda"}, "folders")
        Traceback (most recent call last):
            ...
        ValueError: --layout: expected only with folders, got proda
    """
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name}: expected only with {wanted}, got {value}")


def given(value: object, default: object) -> object:
    """An option's value for :func:`check_used`: ``None`` where it is what it is by default."""
    if value is None or value == default:
        return None
    return value.value if isinstance(value, Enum) else value


def is_default(context: typer.Context, option: str) -> bool:
    """Whether nobody has given an option: :func:`given` cannot tell one that is as by default.

    Args:
        context: of the command.
        option: the name of its parameter.
    """
    source = context.get_parameter_source(option)
    return source is not None and source.name == "DEFAULT"
