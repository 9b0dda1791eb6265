"""Functions that a user names in words: ``package.module:function``."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names_function(spec: str) -> bool:
    """Whether a text has the form ``package.module:function``.

    Example:
        >>> names_function("my.models:encoder"), names_function("small")
        (True, False)
    """
    return _FUNCTION.fullmatch(spec) is not None


def load_function(spec: str) -> Callable[..., Any]:
    """The function of ``package.module:function``; its modules may lie in the current folder.

    Raises:
        ValueError: no such module, or no such function in it.

    Example:
        >>> load_function("math:sqrt")(9)
        3.0
    """
    if not names_function(spec):
        raise ValueError(f"expected package.module:function, got {spec}")
    module_name, _, name = spec.partition(":")
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # The user's module may lack one of its own imports: that is another message.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            raise ValueError(
                f"{spec}: expected an importable module, got no {error.name}"
            ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{spec}: expected a function {name} in {module_name}, got {function!r}")
    loaded: Callable[..., Any] = function
    return loaded


def call_function(spec: str) -> Any:
    """What the function of ``package.module:function`` returns; see :func:`load_function`."""
    function = load_function(spec)
    with _current_folder_importable():
        return function()


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """As ``python`` itself has it, and installed commands have not."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
