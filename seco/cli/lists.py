"""UniMatch's lists of what a command wrote."""

from __future__ import annotations

from pathlib import Path

from seco.common.inputs import Inputs
from seco.common.jobs import JobOptions, Summary
from seco.common.lists import check_listable, write_lists
from seco.folder.outputs import OutputFormat, labelled_share


def check_lists(inputs: Inputs, out: Path, output: OutputFormat, root: Path | None) -> None:
    """Raise ``ValueError`` if :func:`save_lists` would."""
    if root is not None:
        for files in inputs.files:
            check_listable([files.image, output.paths(files, out)[0]], root)


def save_lists(
    inputs: Inputs,
    out: Path,
    output: OutputFormat,
    summary: Summary,
    *,
    root: Path | None,
    least_share: float,
    options: JobOptions,
) -> None:
    """Write UniMatch's lists of all images that did not fail, if a root is given."""
    if root is None or not options.processes.first:
        return
    facts = summary.facts()
    pairs = [
        (files.image, output.paths(files, out)[0], labelled_share(facts[files.name]))
        for files in inputs.files
        if files.name in facts
    ]
    write_lists(out, pairs, root=root, least_share=least_share)
