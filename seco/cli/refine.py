"""``seco refine``: refine pseudo-labels in files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import name_of_fitted, warn_of_tiny
from seco.cli.options import (
    Accelerate,
    Assignments,
    Checkpoint,
    Compile,
    Confidence,
    ConfidenceSuffix,
    ConfidenceThreshold,
    CorrectorFolder,
    FittedEncoder,
    ImagePath,
    KeepFraction,
    LabelPath,
    LayoutName,
    LayoutRule,
    LeastShare,
    ListRoot,
    Method,
    Outside,
    OutsideRule,
    Paper,
    Precision,
    PrecisionName,
    PSAMethod,
    SamChoice,
    SamName,
    SamOrNone,
    SaveConnectivities,
    ScoreFormatName,
    ScoreFormatRule,
    Scores,
    SettingsListed,
)
from seco.cli.selection import check_selection
from seco.common.cli.options import (
    Device,
    ImageSuffix,
    LabelSpaceName,
    LabelSuffix,
    ListFile,
    MatchRule,
    NamingRule,
    Overwrite,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import conclude, job, plain_warnings, refused, stop
from seco.common.cli.unused import check_used, given, is_default
from seco.correction.encoder_names import sam_layers


def refine(
    context: typer.Context,
    image: ImagePath,
    label: LabelPath,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="PNG to write, or the folder for PNGs with the labels' file names: ids inside, "
            "colours when looked at.",
        ),
    ],
    label_space: LabelSpaceName = "cityscapes",
    sam: SamOrNone = SamName.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Device = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of seco regions, so that nothing is segmented anew; with --sam none they "
            "alone vote. If they were found by another model than tiny, --sam must be said."
        ),
    ] = None,
    corrector: CorrectorFolder = None,
    encoder: FittedEncoder = None,
    confidence: Confidence = None,
    keep_fraction: KeepFraction = None,
    confidence_threshold: ConfidenceThreshold = None,
    outside: OutsideRule = Outside.ignore,
    method: PSAMethod = None,
    paper: Paper = False,
    assignments: Assignments = None,
    settings_listed: SettingsListed = False,
    save_scores: Scores = None,
    save_connectivities: SaveConnectivities = None,
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
    """Turn speckled, noisy pseudo-labels into clean regions.

    In folders, a file that has no partner or cannot be used is reported and the rest goes on; the
    exit code is then 1. Every output is written whole or not at all, and a run that was stopped is
    gone on with by the same command, also under torchrun.
    """
    from seco import find_label_space
    from seco.cli.lists import check_lists, save_lists
    from seco.cli.refiner import check_prompting, refiner_of
    from seco.common.cli.inputs import folder_inputs
    from seco.common.inputs import check_apart
    from seco.common.jobs.run import is_about_file
    from seco.folder import OutputFormat, refine_file, refine_folder, single_input

    single = image.is_file()
    if sam is SamName.none and (regions is None or method is Method.prompts):
        stop("--sam none needs --regions, and another --method than prompts")
    of_folders = {
        "--regions": regions,
        "--save-connectivities": save_connectivities,
        "--layout": given(layout, LayoutName.palette),
        "--score-format": given(score_format, ScoreFormatName.png),
        "--list": list_file,
        "--naming": given(naming, None),
        "--match": given(match, None),
        "--image-suffix": image_suffix,
        "--label-suffix": label_suffix,
        "--confidence-suffix": confidence_suffix,
        "--list-root": list_root,
        "--min-labelled": given(min_labelled, 0.0),
    }
    with refused():
        if single:
            check_used(of_folders, "folders")
        elif save_scores is None:
            check_used({"--score-format": of_folders["--score-format"]}, "--save-scores")
        space = find_label_space(label_space)
        output = OutputFormat(layout.value, save_scores, score_format.value, save_connectivities)
        if single:
            inputs = single_input(image, label, confidence=confidence)
            check_apart([image, label, confidence, corrector], [out, save_scores])
            _check_files(out, save_scores, overwrite)
        else:
            inputs = folder_inputs(
                image, label, apart=[out, save_scores, save_connectivities],
                beside=[regions, corrector], confidence=confidence, list_file=list_file,
                naming=naming, match=match, image_suffix=image_suffix, label_suffix=label_suffix,
                confidence_suffix=confidence_suffix,
            )  # fmt: skip
            check_lists(inputs, out, output, root=list_root, least_share=min_labelled)
        check_selection(inputs, confidence, keep_fraction, confidence_threshold)
        if corrector is None:
            check_used({"--encoder": encoder}, "--corrector")
        fitted = None if corrector is None else name_of_fitted(corrector, encoder)
        refiner = refiner_of(
            SamChoice(sam, checkpoint, precision, accelerate, compile),
            device=device, label_space=space,
            encoder=fitted,
            keep_fraction=keep_fraction, confidence_threshold=confidence_threshold,
            outside=outside, paper=paper, assignments=assignments, method=method,
            regions=regions, corrector=corrector,
        )  # fmt: skip
        if is_default(context, "sam"):
            check_prompting(refiner)
        features = fitted is not None and sam_layers(fitted) is not None
    if single:
        warn_of_tiny(sam, first=True, features=features)
        try:
            with plain_warnings():
                refine_file(inputs, out, save_scores, refiner)
        except Exception as error:
            if not is_about_file(error):
                raise
            typer.echo(f"failed: {image}: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(f"Wrote {out}")
        return
    with job(overwrite=overwrite, phase=Phase("Refining labels", resumes=True)) as options:
        warn_of_tiny(sam, first=options.processes.first, features=features)
        summary = refine_folder(inputs, out, refiner, output=output, options=options)
        save_lists(
            inputs, out, output, summary.facts(),
            root=list_root, least_share=min_labelled, options=options,
        )  # fmt: skip
    conclude(summary, "refined", out, options)


def _check_files(out: Path, scores: Path | None, overwrite: bool) -> None:
    for path, formats in ((out, (".png",)), (scores, (".png", ".npy"))):
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path}: expected a file, as the image is one, got a folder")
        if path.suffix.lower() not in formats:
            raise ValueError(f"{path}: expected a file name ending in {' or '.join(formats)}")
        if path.exists() and not overwrite:
            raise ValueError(f"{path}: exists already; --overwrite replaces it")
