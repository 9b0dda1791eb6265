"""The options of a SAM, to refuse them where none is run."""

from __future__ import annotations

from seco.cli.options import PrecisionName, SamChoice
from seco.common.cli.unused import given


def sam_options(chosen: SamChoice) -> dict[str, object]:
    """The options of a SAM for :func:`seco.common.cli.unused.check_used`, where none is run."""
    return {
        "--sam": None if chosen.sam.value in ("none", "tiny") else chosen.sam.value,
        "--checkpoint": chosen.checkpoint,
        "--precision": given(chosen.precision, PrecisionName.float32),
        "--accelerate": given(chosen.accelerate, False),
        "--compile": given(chosen.compile, False),
    }
