"""What a manifest says its outputs were made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import packages_distributions
from inspect import ismethod
from typing import Any

from torch import nn

from seco.common.jobs import Manifest, library_versions

# What every manifest has anyway: this library's version, and torch's.
_KNOWN = {"seco", "sgg", "torch"}


def describe_making(
    job: str,
    settings: Mapping[str, Any],
    models: Mapping[str, object],
    describe: Callable[[object], str | None],
    versions: Mapping[str, str],
) -> Manifest:
    """A job's manifest, with the versions of the libraries that its models come from.

    Args:
        job: see :class:`seco.common.jobs.Manifest`.
        settings: see there.
        models: whatever the job takes, per name.
        describe: tells a model from any other; ``None`` where there is none.
        versions: of what computes without them.
    """
    known = {}
    versions = dict(versions)
    for name, model in models.items():
        said = describe(model)
        if said is not None:
            known[name] = said
            versions |= libraries_of(model)
    return Manifest(job, settings, known, versions)


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
