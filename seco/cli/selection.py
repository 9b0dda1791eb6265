"""The options that say which pixels are confident enough to vote."""

from __future__ import annotations

from pathlib import Path

from seco.common.checks import check_number
from seco.common.inputs import Inputs


def check_selection(
    inputs: Inputs,
    confidence: Path | None,
    keep_fraction: float | None,
    confidence_threshold: float | None,
) -> None:
    """Check ``--keep-fraction`` and ``--confidence-threshold``, before anything is done.

    Args:
        inputs: what is refined; a list may name confidences without ``--confidence``.
        confidence: as the following, an option of the command.
        keep_fraction: see ``confidence``.
        confidence_threshold: see there.

    Raises:
        ValueError: one of them is out of range or without confidences, or both are given.
    """
    if keep_fraction is None and confidence_threshold is None:
        return
    if keep_fraction is not None and confidence_threshold is not None:
        raise ValueError("--keep-fraction and --confidence-threshold exclude each other")
    if keep_fraction is not None:
        check_number("--keep-fraction", keep_fraction, low=0, high=1, low_open=True)
    if confidence_threshold is not None:
        check_number("--confidence-threshold", confidence_threshold, low=0, high=1)
    if confidence is None and all(files.confidence is None for files in inputs.files):
        raise ValueError("--keep-fraction and --confidence-threshold need --confidence")
