"""What a stage's manifest says its outputs were made with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seco.common.jobs import Manifest, library_versions
from seco.correction.extractors import as_extractor
from seco.correction.storage import CORRECTOR_FILE

_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "scikit-learn", "pillow")


def manifest_of(
    job: str, settings: Mapping[str, Any], models: Mapping[str, str | None]
) -> Manifest:
    """The manifest of a stage, with the versions of this library and of those that compute."""
    from seco import __version__

    versions = {"seco": __version__, **library_versions(*_LIBRARIES)}
    known = {name: value for name, value in models.items() if value is not None}
    return Manifest(job, settings, known, versions)


def describe_model(model: object) -> str | None:
    """The kind of a SAM or an encoder and a hash of its weights; ``None`` of ``None``."""
    if model is None:
        return None
    said = as_extractor(model).describe()
    return ", ".join(f"{name} {value}" for name, value in said.items())


def describe_corrector(directory: Path | None) -> str | None:
    """A hash of a saved corrector, weights and settings; ``None`` of ``None``.

    Raises:
        OSError: it cannot be read.
    """
    if directory is None:
        return None
    # The file holds the hash of the weights.
    return f"sha256 {hashlib.sha256((directory / CORRECTOR_FILE).read_bytes()).hexdigest()}"
