"""What a manifest says its outputs were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seco.common.jobs import Manifest, library_versions
from seco.common.provenance import describe_making
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
    return describe_making(job, settings, models, describe_model, versions)
