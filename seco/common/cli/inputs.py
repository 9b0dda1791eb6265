"""From the options of a command to the files it works on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seco.common.cli.options import Match, NamingName
from seco.common.inputs import Inputs, check_apart, find_inputs
from seco.common.naming import Naming


def folder_inputs(
    images: Path,
    labels: Path | None,
    *,
    apart: Sequence[Path | None],
    beside: Sequence[Path | None] = (),
    confidence: Path | None = None,
    list_file: Path | None = None,
    naming: NamingName | None = None,
    match: Match | None = None,
    image_suffix: str | None = None,
    label_suffix: str | None = None,
    confidence_suffix: str | None = None,
) -> Inputs:
    """Find what a command works on.

    Args:
        images: as the following, an option of the command.
        labels: see ``images``.
        apart: where the command writes, each a place of its own.
        beside: folders that it reads besides images, labels and confidences.
        confidence: see ``images``; all that follow.
        list_file: see there.
        naming: see there.
        match: see there.
        image_suffix: see there.
        label_suffix: see there.
        confidence_suffix: see there.

    Raises:
        OSError, ValueError: as :func:`seco.common.inputs.find_inputs`, or options or places that
            do not go together.
    """
    suffixes = image_suffix, label_suffix, confidence_suffix
    given = any(suffix is not None for suffix in suffixes)
    if given and naming is not None:
        raise ValueError("--naming and the --*-suffix options exclude each other")
    if list_file is not None and (given or match is not None):
        raise ValueError("--list says which files belong together: expected no suffix, no --match")
    rule: str | Naming = "auto" if naming is None else naming.value
    if given:
        ends = [("" if suffix is None else suffix,) for suffix in suffixes]
        rule = Naming(image_ends=ends[0], label_ends=ends[1], confidence_ends=ends[2])
    check_apart([images, labels, confidence, *beside], apart)
    for folder in beside:
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    return find_inputs(
        images,
        labels,
        confidence=confidence,
        list_file=list_file,
        naming=rule,
        match="path" if match is None else match.value,
    )
