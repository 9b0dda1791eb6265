"""What a stage's manifest says its outputs were made with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from torch import nn

from seco.common.jobs import Manifest, library_versions
from seco.common.modules import fingerprint
from seco.correction.extractors import as_extractor
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.storage import CORRECTOR_FILE

_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "scikit-learn", "pillow")


def manifest_of(
    job: str, settings: Mapping[str, Any], models: Mapping[str, object], *, fits: bool = False
) -> Manifest:
    """The manifest of a stage, with the versions of this library and of those that compute.

    Args:
        job: see :class:`seco.common.jobs.Manifest`.
        settings: see there.
        models: a SAM or an encoder, or ``None``, per name.
        fits: whether the stage trains them, from the weights that they have now.

    Raises:
        ValueError: as :func:`describe_model`.
    """
    from seco import __version__

    versions = {"seco": __version__, **library_versions(*_LIBRARIES)}
    known = {}
    for name, model in models.items():
        said = describe_model(model, fits=fits)
        if said is not None:
            known[name] = said
            versions |= _versions_of(model)
    return Manifest(job, settings, known, versions)


def describe_model(model: object, *, fits: bool = False) -> str | None:
    """The kind of a SAM or an encoder and a hash of its weights; ``None`` of ``None``.

    Args:
        model: as the stages take it.
        fits: add the weights that a training starts from, if the model is one to be trained.

    Raises:
        ValueError: a segmenter that two of the same class cannot be told apart by.
    """
    if model is None:
        return None
    extractor = as_extractor(model)
    said = extractor.describe()
    if isinstance(extractor, SegmenterExtractor) and not extractor.tells_segmenters_apart:
        raise ValueError(
            f"{said['segmenter']}: expected a segmenter whose outputs can be told from another's, "
            "got one without an nn.Module among its attributes; give it a method describe() that "
            "returns a dict of what decides its answers, such as a hash of its weights"
        )
    if fits and extractor.trained is not None:
        said = {**said, "initial weights": fingerprint(extractor.trained)}
    return ", ".join(f"{name} {value}" for name, value in said.items())


def describe_corrector(directory: Path) -> str:
    """A hash of a saved corrector, weights and settings.

    Raises:
        OSError: it cannot be read.
    """
    # The file holds the hash of the weights.
    return f"sha256 {hashlib.sha256((directory / CORRECTOR_FILE).read_bytes()).hexdigest()}"


def _versions_of(model: object) -> dict[str, str]:
    """Versions of the libraries that a model's modules come from, such as segment_anything."""
    packages = {
        type(part).__module__.partition(".")[0]
        for module in _modules_of(model)
        for part in module.modules()
    }
    installed = packages_distributions()
    others = packages - {"seco", "torch", "torchvision"}  # the manifest has these anyway
    return library_versions(*sorted({name for one in others for name in installed.get(one, ())}))


def _modules_of(value: object, depth: int = 3) -> Iterator[nn.Module]:
    """The modules that an object is or holds; an extractor holds a back end, which holds one."""
    if isinstance(value, nn.Module):
        yield value
    elif depth:
        held = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
        for part in held:
            yield from _modules_of(part, depth - 1)
