"""``seco run``: the whole chain over a data set, with a report at its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from seco.cli.models import warn_of_tiny
from seco.cli.options import (
    FEATURE_GIB,
    Accelerate,
    Assignments,
    Checkpoint,
    Compile,
    Confidence,
    ConfidenceSuffix,
    ConfidenceThreshold,
    Encoder,
    FeatureMemory,
    KeepFraction,
    LeastShare,
    ListRoot,
    Outside,
    OutsideRule,
    Paper,
    Precision,
    PrecisionName,
    Sam,
    SamChoice,
    SamModel,
    SettingsListed,
)
from seco.cli.selection import check_selection
from seco.common.cli.options import (
    Device,
    ImageFolder,
    ImageSuffix,
    LabelFolder,
    LabelSpaceName,
    LabelSuffix,
    ListFile,
    MatchRule,
    NamingName,
    NamingRule,
    TakeOver,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import job, refused
from seco.common.cli.unused import check_used, given
from seco.correction.encoder_names import sam_layers

_STAGES = {
    "regions": "1/5 Finding regions",
    "given regions": "1/5 Looking up regions",
    "refine": "2/5 Refining labels",
    "fit": "3/5 Fitting the corrector",
    "correct": "4/5 Correcting labels",
    "report": "5/5 Writing the report",
}


def run(
    images: ImageFolder,
    labels: LabelFolder,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder for all that comes out: labels and scores, what they were made by "
            "(regions, psa, corrector), and report.html.",
        ),
    ],
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Folder of true labels of some or all images, to measure every step with; nothing "
            "else reads them. With --list too their names tell which images they belong to, and "
            "--match is for them alone."
        ),
    ] = None,
    truth_naming: Annotated[
        NamingName | None, typer.Option(help="How images and truth are named, as --naming.")
    ] = None,
    label_space: LabelSpaceName = "cityscapes",
    sam: Sam = SamModel.tiny,
    checkpoint: Checkpoint = None,
    precision: Precision = PrecisionName.float32,
    accelerate: Accelerate = False,
    compile: Compile = False,
    device: Device = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of seco regions, made of these images with the same --sam and settings: "
            "then none are found anew. An image whose regions are not there is left out."
        ),
    ] = None,
    confidence: Confidence = None,
    keep_fraction: KeepFraction = None,
    confidence_threshold: ConfidenceThreshold = None,
    outside: OutsideRule = Outside.ignore,
    paper: Paper = False,
    assignments: Assignments = None,
    settings_listed: SettingsListed = False,
    encoder: Encoder = "sam",
    scc_assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set-scc",
            metavar="NAME=VALUE",
            help="Change one setting of fitting and correcting, such as --set-scc iterations=2000 "
            "(see seco fit --list-settings); repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random in fitting.")] = 0,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Training steps between two savings of the training.")
    ] = 500,
    feature_memory: FeatureMemory = FEATURE_GIB,
    boundary_ratio: Annotated[
        float, typer.Option(help="Of boundary IoU, see seco evaluate.")
    ] = 0.02,
    shown: Annotated[
        int, typer.Option(min=0, help="How many images the report's gallery shows.")
    ] = 8,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    confidence_suffix: ConfidenceSuffix = None,
    list_root: ListRoot = None,
    min_labelled: LeastShare = 0.0,
    overwrite: TakeOver = False,
) -> None:
    """Refine a data set's pseudo-labels, correct them, and report what changed.

    Every stage is as the command of its name (regions, refine, fit, correct). An image that cannot
    be used is reported and left out; the exit code is then 1. A run that was stopped is gone on
    with by the same command, also under torchrun.
    """
    from seco import SCC_PAPER, SCCSettings, find_label_space
    from seco.cli.lists import check_lists, save_lists
    from seco.cli.refiner import refiner_of
    from seco.common.checks import check_number
    from seco.common.cli.inputs import folder_inputs
    from seco.common.settings_text import change_settings
    from seco.folder import OutputFormat, find_inputs
    from seco.folder.chain import Places, run_chain
    from seco.folder.first_look import check_some_truths
    from seco.report.chain import ChainReader, write_chain_report

    # A list says which labels belong to the images, but not which truth does.
    match_of_labels = None if list_file is not None and truth is not None else match
    with refused():
        check_number("--boundary-ratio", boundary_ratio, low=0, high=1, low_open=True)
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[out], beside=[truth, regions], confidence=confidence,
            list_file=list_file, naming=naming, match=match_of_labels, image_suffix=image_suffix,
            label_suffix=label_suffix, confidence_suffix=confidence_suffix,
        )  # fmt: skip
        check_lists(
            inputs, Places(out).labels, OutputFormat(), root=list_root, least_share=min_labelled
        )
        check_selection(inputs, confidence, keep_fraction, confidence_threshold)
        if encoder == "small":
            memory = {"--feature-memory": given(feature_memory, FEATURE_GIB)}
            check_used(memory, "another --encoder than small")
        truths = {}
        if truth is None:
            check_used({"--truth-naming": given(truth_naming, None)}, "--truth")
        else:
            found = find_inputs(
                images,
                truth,
                naming="auto" if truth_naming is None else truth_naming.value,
                match="path" if match is None else match.value,
                among=[files.image for files in inputs.files],
            )
            truths = {files.image: files.label for files in found.files if files.label is not None}
            check_some_truths(list(truths.values()), space)
        refiner = refiner_of(
            SamChoice(sam, checkpoint, precision, accelerate, compile),
            device=device, label_space=space,
            encoder=encoder,
            keep_fraction=keep_fraction, confidence_threshold=confidence_threshold,
            outside=outside, paper=paper, assignments=assignments,
        )  # fmt: skip
        scc = change_settings(SCC_PAPER if paper else SCCSettings(), scc_assignments or [])
    phase = Phase(resumes=True)
    with job(overwrite=overwrite, phase=phase) as options:
        first = options.processes.first
        warn_of_tiny(sam, first=first, features=sam_layers(encoder) is not None)

        def announce(name: str) -> None:
            phase.name = _STAGES[name]
            if first:
                typer.echo(phase.name, err=True)

        chained = run_chain(
            inputs, out, refiner, regions=regions, settings=scc, seed=seed,
            checkpoint_every=checkpoint_every, feature_memory=int(feature_memory * 2**30),
            progress=sys.stderr.isatty(), announce=announce, options=options,
        )  # fmt: skip
        save_lists(
            chained.finished, Places(out).labels, OutputFormat(), chained.facts,
            root=list_root, least_share=min_labelled, options=options,
        )  # fmt: skip
        announce("report")
        reader = ChainReader(chained, Places(out), refiner, truths)
        report = write_chain_report(
            reader, seed=seed, shown=shown, dilation_ratio=boundary_ratio, options=options
        )
    if first:
        done = report.summary.images
        # Of a finished image only the truth may be bad: it is done all the same.
        failed = len(chained.failures) + len(chained.finished.files) - done
        untrue = len(report.failures) - failed
        without = f" ({untrue} of them not measured: bad truth)" if untrue else ""
        typer.echo(f"{done} images done{without}, {failed} failed")
        typer.echo(f"Labels: {Places(out).labels}\nReport: {Places(out).report}")
    if report.failures:
        raise typer.Exit(1)
