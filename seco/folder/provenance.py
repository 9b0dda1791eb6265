"""What a stage's manifest says its outputs were made with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from seco.common.jobs import Manifest, library_versions
from seco.common.modules import fingerprint
from seco.common.provenance import describe_making
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
    return describe_making(job, settings, models, partial(describe_model, fits=fits), versions)


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
