"""``seco correct``: repair or drop the regions of labels whose class is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import fitted_encoder, warn_of_tiny
from seco.cli.options import (
    Accelerate,
    Checkpoint,
    Compile,
    ConfidenceSuffix,
    ConnectivitiesFolder,
    FittedEncoder,
    FittedSam,
    LayoutName,
    LayoutRule,
    LeastShare,
    ListRoot,
    Precision,
    PrecisionName,
    SamChoice,
    SamModel,
    ScoreFormatName,
    ScoreFormatRule,
    Scores,
)
from seco.common.cli.options import (
    Device,
    ImageFolder,
    ImageSuffix,
    LabelFolder,
    LabelSuffix,
    ListFile,
    MatchRule,
    NamingRule,
    Overwrite,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import conclude, job, refused
from seco.common.cli.unused import check_used, given


def correct(
    images: ImageFolder,
    labels: LabelFolder,
    corrector: Annotated[
        Path, typer.Argument(metavar="CORRECTOR", help="Folder that seco fit made.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for PNGs with the labels' file names.")
    ],
    encoder: FittedEncoder = None,
    sam: FittedSam = SamModel.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Device = None,
    confidence: Annotated[
        Path | None,
        typer.Option(
            help="Folder of how sure the labels are, such as seco refine --save-scores wrote; the "
            "scores of what is kept are multiplied with it. Needed if seco fit had it."
        ),
    ] = None,
    connectivities: ConnectivitiesFolder = None,
    save_scores: Scores = None,
    score_format: ScoreFormatRule = ScoreFormatName.png,
    layout: LayoutRule = LayoutName.palette,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    confidence_suffix: ConfidenceSuffix = None,
    list_root: ListRoot = None,
    min_labelled: LeastShare = 0.0,
    overwrite: Overwrite = False,
) -> None:
    """Keep, repair or drop every region of labels, with what seco fit has learnt.

    If that was with the features of a SAM (--encoder sam or sam-crops), --sam must be the same
    again, and --encoder if it was with a network of your own.
    An image that cannot be used is reported and the rest goes on; the exit code is then 1. A run
    that was stopped is gone on with by the same command, also under torchrun.
    """
    from seco.cli.lists import check_lists, save_lists
    from seco.common.cli.inputs import folder_inputs
    from seco.folder import OutputFormat, correct_folder

    with refused():
        if save_scores is None:
            check_used(
                {"--score-format": given(score_format, ScoreFormatName.png)}, "--save-scores"
            )
        output = OutputFormat(layout.value, save_scores, score_format.value)
        inputs = folder_inputs(
            images, labels, apart=[out, save_scores], beside=[corrector, connectivities],
            confidence=confidence, list_file=list_file, naming=naming, match=match,
            image_suffix=image_suffix, label_suffix=label_suffix,
            confidence_suffix=confidence_suffix,
        )  # fmt: skip
        check_lists(inputs, out, output, root=list_root, least_share=min_labelled)
        chosen = SamChoice(sam, checkpoint, precision, accelerate, compile)
        features, own = fitted_encoder(corrector, encoder, chosen, device)
    with job(overwrite=overwrite, phase=Phase("Correcting labels", resumes=True)) as options:
        if encoder is None and own is None:
            warn_of_tiny(sam, first=options.processes.first, features=True)
        summary = correct_folder(
            inputs, corrector, out, encoder=features, device=own,
            connectivities=connectivities, output=output, options=options,
        )  # fmt: skip
        save_lists(
            inputs, out, output, summary.facts(),
            root=list_root, least_share=min_labelled, options=options,
        )  # fmt: skip
    conclude(summary, "corrected", out, options)
