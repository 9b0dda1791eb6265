"""``seco evaluate``: measure labels, and what a corrector makes of them, against truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import fitted_encoder
from seco.cli.options import (
    Accelerate,
    Checkpoint,
    Compile,
    ConnectivitiesFolder,
    FittedConfidence,
    FittedEncoder,
    Precision,
    PrecisionName,
    SamChoice,
    SamModel,
)
from seco.cli.unused import sam_options
from seco.common.cli.options import LabelSpaceName, MatchRule, NamingRule
from seco.common.cli.progress import Phase
from seco.common.cli.running import job, place_for_json, refused
from seco.common.cli.unused import check_used, given


def evaluate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="Folder of labels, subfolders included: one class id per pixel, 8- or 16-bit "
            "grey or palette images. Or a single one.",
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH",
            help="Folder of the true labels, named as the labels or as the data set names them "
            "(see --naming and --match), or a single one. Ids outside the classes do not count.",
        ),
    ],
    label_space: LabelSpaceName = "cityscapes",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all measures there.")
    ] = None,
    boundary_ratio: Annotated[
        float,
        typer.Option(
            help="How far from outlines boundary IoU looks, as a share of the image's diagonal "
            "(for Cityscapes 0.005 is usual)."
        ),
    ] = 0.02,
    corrector: Annotated[
        Path | None,
        typer.Option(
            help="With --images, folder that seco fit made: measure also how well it recognises "
            "wrong regions of these labels and what it makes of them. LABELS are those before "
            "correction."
        ),
    ] = None,
    connectivities: ConnectivitiesFolder = None,
    confidence: FittedConfidence = None,
    images: Annotated[
        Path | None, typer.Option(help="With --corrector: folder of the images, or a single one.")
    ] = None,
    encoder: FittedEncoder = None,
    sam: Annotated[
        SamModel, typer.Option(help="With --corrector: the SAM that it was fitted with, if any.")
    ] = SamModel.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Annotated[
        str | None,
        typer.Option(help="With --corrector: cpu, cuda, cuda:1, ...; cuda if there is one."),
    ] = None,
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="Take the labels that a list names, a line each: label and truth, paths within "
            "the given folders.",
        ),
    ] = None,
    naming: NamingRule = None,
    match: MatchRule = None,
) -> None:
    """Measure labels against the truth, where there is one.

    Ignored pixels count as missed in IoU; "labelled" looks at labelled pixels alone. A file that
    has no partner or cannot be used is reported and left out; the exit code is then 1.
    """
    from seco import ConnectivityCorrector, find_label_space
    from seco.arguments import check_corrector
    from seco.common.checks import check_number
    from seco.common.files import write_bytes
    from seco.evaluation.tables import connectivity_table, quality_table
    from seco.folder.evaluate import evaluate_folder, find_pairs

    chosen = SamChoice(sam, checkpoint, precision, accelerate, compile)
    with refused():
        check_number("--boundary-ratio", boundary_ratio, low=0, high=1, low_open=True)
        if (corrector is None) != (images is None):
            raise ValueError("--corrector and --images belong together")
        if corrector is None:
            unused = {"--connectivities": connectivities, "--confidence": confidence}
            check_used(unused, "--corrector")
            models = sam_options(chosen) | {"--encoder": encoder, "--device": device}
            check_used(models, "--corrector")
        if labels.is_file():
            of_folders = {
                "--list": list_file,
                "--naming": given(naming, None),
                "--match": given(match, None),
            }
            check_used(of_folders, "folders")
        space = find_label_space(label_space)
        pairs = find_pairs(
            labels,
            truth,
            images=images,
            confidence=confidence,
            list_file=list_file,
            naming="auto" if naming is None else naming.value,
            match="path" if match is None else match.value,
        )
        fitted = None
        if corrector is not None:
            features, own = fitted_encoder(corrector, encoder, chosen, device)
            fitted = ConnectivityCorrector.load(corrector, encoder=features, device=own)
            check_corrector(fitted, space)
        place_for_json(json_file)
    with job(overwrite=False, phase=Phase("Measuring")) as options:
        found = evaluate_folder(
            pairs,
            space,
            dilation_ratio=boundary_ratio,
            corrector=fitted,
            connectivities=connectivities,
            options=options,
        )
        if options.processes.first:
            if json_file is not None:
                said = {"boundary_ratio": boundary_ratio, **found.numbers()}
                write_bytes(json_file, (json.dumps(said, indent=1) + "\n").encode())
            typer.echo(quality_table(found.quality, space))
            if found.tau_ns is not None:
                typer.echo("\n" + connectivity_table(found.connectivities, found.tau_ns))
            typer.echo(f"{found.images} measured, {len(found.failures)} failed")
    if found.failures:
        raise typer.Exit(1)
