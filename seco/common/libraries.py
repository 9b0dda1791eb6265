"""Which libraries a model's modules come from, for what is said of outputs made with it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import packages_distributions
from inspect import ismethod

from torch import nn

from seco.common.jobs import library_versions

# What every manifest has anyway: this library's version, and torch's.
_KNOWN = {"seco", "sgg", "torch"}


def libraries_of(model: object) -> dict[str, str]:
    """Versions of the libraries that a model's modules come from, such as segment_anything.

    Args:
        model: a module, or an object or a method that holds one; of others nothing is known.

    Example:
        >>> libraries_of(nn.Linear(2, 2))
        {}
    """
    packages = {
        type(part).__module__.partition(".")[0]
        for module in _modules_of(model)
        for part in module.modules()
    }
    installed = packages_distributions()
    names = {name for one in packages - _KNOWN for name in installed.get(one, ())}
    return library_versions(*sorted(names))


def _modules_of(value: object, depth: int = 3) -> Iterator[nn.Module]:
    """The modules that an object is or holds; an extractor holds a back end, which holds one."""
    if isinstance(value, nn.Module):
        yield value
    elif depth:
        held = getattr(value, "__dict__", {}).values()
        if isinstance(value, (tuple, list)):
            held = value
        elif ismethod(value):
            held = (value.__self__,)
        for part in held:
            yield from _modules_of(part, depth - 1)
