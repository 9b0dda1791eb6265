"""``seco regions``: find what SAM sees in every image, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import sam_named, warn_of_tiny
from seco.cli.options import (
    Accelerate,
    Checkpoint,
    Compile,
    Precision,
    PrecisionName,
    ProposalAssignments,
    ProposalSettingsListed,
    Sam,
    SamChoice,
    SamModel,
)
from seco.common.cli.options import (
    Device,
    ImageFolder,
    ImageSuffix,
    ListFile,
    NamingRule,
    Overwrite,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import conclude, device_named, job, refused


def regions(
    images: ImageFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for an .npz file per image.")],
    sam: Sam = SamModel.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Device = None,
    assignments: ProposalAssignments = None,
    settings_listed: ProposalSettingsListed = False,
    list_file: ListFile = None,
    naming: NamingRule = None,
    image_suffix: ImageSuffix = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the regions of every image, which labels do not change: seco refine --regions OUT.

    An image that cannot be used is reported and the rest goes on; the exit code is then 1. A run
    that was stopped is gone on with by the same command, also under torchrun.
    """
    from seco.common.cli.inputs import folder_inputs
    from seco.common.settings_text import change_settings
    from seco.folder import find_regions
    from seco.sam.proposal_settings import proposal_settings_of

    with refused():
        inputs = folder_inputs(
            images, None, apart=[out], list_file=list_file, naming=naming,
            image_suffix=image_suffix,
        )  # fmt: skip
        chosen = SamChoice(sam, checkpoint, precision, accelerate, compile)
        model = sam_named(chosen, device_named(device))
        settings = change_settings(proposal_settings_of(model), assignments or [])
    with job(overwrite=overwrite, phase=Phase("Finding regions", resumes=True)) as options:
        warn_of_tiny(sam, first=options.processes.first)
        summary = find_regions(inputs, out, model, settings=settings, options=options)
    conclude(summary, "done", out, options)
