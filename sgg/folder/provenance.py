"""What a manifest says its outputs were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seco.common.jobs import Manifest, library_versions
from seco.common.libraries import libraries_of
from sgg.folder.models import describe_model

_LIBRARIES = ("torch", "numpy", "pillow")


def manifest_of(job: str, settings: Mapping[str, Any], models: Mapping[str, object]) -> Manifest:
    """The manifest of a job, with the versions of this library and of those that compute.

    Args:
        job: see :class:`seco.common.jobs.Manifest`.
        settings: see there.
        models: a diffusion model or a segmenter, or ``None``, per name.
    """
    from sgg import __version__

    versions = {"sgg": __version__, **library_versions(*_LIBRARIES)}
    known = {}
    for name, model in models.items():
        said = describe_model(model)
        if said is not None:
            known[name] = said
            versions |= libraries_of(model)
    return Manifest(job, settings, known, versions)
