"""``seco fit``: learn from a data set's labels which of their regions are wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import encoder_of, sam_named, warn_of_tiny
from seco.cli.options import (
    FEATURE_GIB,
    Accelerate,
    Checkpoint,
    Compile,
    ConfidenceSuffix,
    ConnectivitiesFolder,
    Encoder,
    EncoderSam,
    FeatureMemory,
    FittedConfidence,
    Paper,
    Precision,
    PrecisionName,
    SamChoice,
    SamModel,
    SCCAssignments,
    SCCSettingsListed,
)
from seco.cli.unused import sam_options
from seco.common.cli.options import (
    Device,
    ImageFolder,
    ImageSuffix,
    LabelFolder,
    LabelSpaceName,
    LabelSuffix,
    ListFile,
    MatchRule,
    NamingRule,
    Overwrite,
)
from seco.common.cli.running import conclude, device_named, job, refused
from seco.common.cli.unused import check_used, given
from seco.correction.encoder_names import sam_layers


def fit(
    images: ImageFolder,
    labels: LabelFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the corrector.")],
    label_space: LabelSpaceName = "cityscapes",
    encoder: Encoder = "sam",
    sam: EncoderSam = SamModel.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Device = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Training steps between two savings of the training.")
    ] = 500,
    confidence: FittedConfidence = None,
    connectivities: ConnectivitiesFolder = None,
    feature_memory: FeatureMemory = FEATURE_GIB,
    paper: Paper = False,
    assignments: SCCAssignments = None,
    settings_listed: SCCSettingsListed = False,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    confidence_suffix: ConfidenceSuffix = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit a corrector to labels, refined or raw: seco correct then repairs or drops regions.

    An image that cannot be used is reported and left out; the exit code is then 1. A training that
    was stopped is gone on with by the same command.
    """
    from seco import SCC_PAPER, SCCSettings, find_label_space
    from seco.common.cli.inputs import folder_inputs
    from seco.common.settings_text import change_settings
    from seco.folder import fit_folder

    chosen = SamChoice(sam, checkpoint, precision, accelerate, compile)
    with refused():
        if sam_layers(encoder) is None:
            check_used(sam_options(chosen), "--encoder sam or sam-crops")
        if encoder == "small":
            memory = {"--feature-memory": given(feature_memory, FEATURE_GIB)}
            check_used(memory, "another --encoder than small")
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[out], beside=[connectivities], confidence=confidence,
            list_file=list_file, naming=naming, match=match, image_suffix=image_suffix,
            label_suffix=label_suffix, confidence_suffix=confidence_suffix,
        )  # fmt: skip
        settings = change_settings(SCC_PAPER if paper else SCCSettings(), assignments or [])
        used = device_named(device)
        features, own = encoder_of(encoder, lambda: sam_named(chosen, used), used)
    with job(overwrite=overwrite) as options:
        if sam_layers(encoder) is not None:
            warn_of_tiny(sam, first=options.processes.first, features=True)
        summary = fit_folder(
            inputs, out, label_space=space, settings=settings, encoder=features, seed=seed,
            device=own, checkpoint_every=checkpoint_every,
            connectivities=connectivities, feature_memory=int(feature_memory * 2**30),
            progress=sys.stderr.isatty(), options=options,
        )  # fmt: skip
    conclude(summary, "fitted", out, options)
