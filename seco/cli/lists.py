"""UniMatch's lists of what a command wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seco.common.checks import check_number
from seco.common.cli.unused import check_used, given
from seco.common.inputs import Inputs
from seco.common.jobs import JobOptions
from seco.common.lists import check_listable, write_lists
from seco.folder.outputs import OutputFormat, labelled_share


def check_lists(
    inputs: Inputs, out: Path, output: OutputFormat, *, root: Path | None, least_share: float
) -> None:
    """Raise ``ValueError`` if :func:`save_lists` would, or has no use for ``least_share``."""
    check_number("--min-labelled", least_share, low=0, high=1)
    if root is None:
        check_used({"--min-labelled": given(least_share, 0.0)}, "--list-root")
    else:
        for files in inputs.files:
            check_listable([files.image, output.paths(files, out)[0]], root)


def save_lists(
    inputs: Inputs,
    out: Path,
    output: OutputFormat,
    facts: Mapping[str, Mapping[str, Any]],
    *,
    root: Path | None,
    least_share: float,
    options: JobOptions,
) -> None:
    """Write UniMatch's lists of all images that did not fail, if a root is given.

    ``facts`` are those of :func:`seco.folder.outputs.write_result`, by the images' names.
    """
    if root is None or not options.processes.first:
        return
    pairs = [
        (files.image, output.paths(files, out)[0], labelled_share(facts[files.name]))
        for files in inputs.files
        if files.name in facts
    ]
    write_lists(out, pairs, root=root, least_share=least_share)
