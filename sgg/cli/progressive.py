"""``sgg progressive``: translate stage by stage, with a segmenter that learns on the way."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

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
    TakeOver,
    lister,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import device_named, job, refused
from seco.common.cli.unused import check_used, given
from sgg.cli.options import NormalizationName, SegmenterNormalization, SegmenterSpec
from sgg.cli.translation import (
    Assignments,
    ChannelsLast,
    ClassFilesFolder,
    Compile,
    DiffusionSpec,
    Eta,
    GuidanceInputName,
    GuidanceName,
    GuidanceScale,
    ImagesPerBatch,
    LabelsBy,
    LabelsChoice,
    ListSettings,
    MinPixels,
    Paper,
    Precision,
    PrecisionName,
    SamplerName,
    Steps,
    TileOverlap,
    TileSizeText,
    TilesPerBatch,
    note_on_class_files,
    say_left_out,
    translation_options,
)
from sgg.folder.class_files import MIN_PIXELS
from sgg.progressive import STRENGTHS, FinetuneSettings, FinetuningDiverged, Progression
from sgg.progressive.report import SHOWN

_DOING = {"translate": "translating", "measure": "measuring", "fine-tune": "fine-tuning"}
_STRENGTHS = ",".join(f"{strength:g}" for strength in STRENGTHS)


def progressive(
    images: ImageFolder,
    labels: LabelFolder,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder for everything: stage-1/, stage-2/, ... as sgg translate writes them, "
            "with segmenter/segmenter.safetensors in each; progressive.json and report.html.",
        ),
    ],
    diffusion: DiffusionSpec,
    segmenter: SegmenterSpec,
    seg_normalization: SegmenterNormalization = NormalizationName.own,
    label_space: LabelSpaceName = "cityscapes",
    strengths: Annotated[
        str,
        typer.Option(
            metavar="N,N,...",
            help="How far the images of each stage may move, growing, over 0 and at most 1.",
        ),
    ] = _STRENGTHS,
    min_consistency: Annotated[
        float | None,
        typer.Option(
            help="Stop before the first stage whose translations the segmenter that guided them "
            "finds less consistent with their labels: mean IoU in 0-1."
        ),
    ] = None,
    collapse: Annotated[
        float,
        typer.Option(
            help="Fine-tuning has failed if consistency is then below that share of what it was."
        ),
    ] = 0.5,
    finetune: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="package.module:function, a trainer of your own (see the documentation of "
            "sgg.progressive.Finetune).",
        ),
    ] = None,
    finetune_assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set-finetune",
            metavar="NAME=VALUE",
            help="Change one setting of fine-tuning, such as --set-finetune steps=4000; "
            "repeatable.",
        ),
    ] = None,
    finetune_listed: Annotated[
        bool,
        typer.Option(
            "--list-finetune-settings",
            callback=lister(lambda: (FinetuneSettings(),)),
            is_eager=True,
            help="Show every NAME for --set-finetune with default and meaning; exit.",
        ),
    ] = False,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Steps of fine-tuning between two savings of its state.")
    ] = 200,
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES", help="Folder of target images, to tell every stage's distance."
        ),
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="A segmenter trained with target labels, as --segmenter; it measures, and "
            "decides nothing.",
        ),
    ] = None,
    oracle_normalization: Annotated[
        NormalizationName,
        typer.Option(help="What the oracle takes, as --seg-normalization."),
    ] = NormalizationName.own,
    steps: Steps = None,
    sampler: SamplerName = None,
    eta: Eta = None,
    guidance: GuidanceName = None,
    guidance_scale: GuidanceScale = None,
    guidance_input: GuidanceInputName = None,
    assignments: Assignments = None,
    settings_listed: ListSettings = False,
    paper: Paper = False,
    tile_size: TileSizeText = "auto",
    tile_overlap: TileOverlap = None,
    tiles_per_batch: TilesPerBatch = 1,
    precision: PrecisionName = Precision.own,
    channels_last: ChannelsLast = False,
    compile: Compile = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise and of fine-tuning.")] = 0,
    device: Device = None,
    images_per_batch: ImagesPerBatch = 1,
    labels_by: LabelsChoice = LabelsBy.link,
    class_files: ClassFilesFolder = None,
    min_pixels: MinPixels = MIN_PIXELS,
    shown: Annotated[int, typer.Option(min=0, help="Images in the report.")] = SHOWN,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    overwrite: TakeOver = False,
) -> None:
    """Translate a labelled data set ever farther, with a segmenter that learns from every stage.

    Every stage translates the source images, guided by the segmenter of the stage before, and
    fine-tunes that segmenter on the translations (Progressive Translation Learning). A run that
    was stopped is gone on with by the same command, also under torchrun; more --strengths go on
    from the stages that are there. --overwrite makes anew only what was made otherwise.
    """
    from seco.common.cli.inputs import folder_inputs
    from seco.common.functions import load_function
    from seco.common.label_spaces import find_label_space
    from seco.common.settings_text import change_settings
    from sgg.folder import load_diffusion, load_segmenter
    from sgg.progressive import SourceSet, finetune_segmenter, progressive_translation, write_report

    with refused():
        planned = _numbers(strengths)
        translation = translation_options(
            strength=None, steps=steps, sampler=sampler, eta=eta, guidance=guidance,
            guidance_scale=guidance_scale, guidance_input=guidance_input,
            assignments=assignments, paper=paper, tile_size=tile_size,
            tile_overlap=tile_overlap, tiles_per_batch=tiles_per_batch, precision=precision,
            channels_last=channels_last, compile=compile,
        )  # fmt: skip
        if finetune is not None and finetune_assignments:
            raise ValueError("--set-finetune is of the built-in trainer: expected no --finetune")
        settings = change_settings(FinetuneSettings(), finetune_assignments or [])
        trainer = partial(finetune_segmenter, settings=settings)
        own = trainer if finetune is None else load_function(finetune)
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[out], beside=[class_files, target],
            list_file=list_file, naming=naming, match=match, image_suffix=image_suffix,
            label_suffix=label_suffix,
        )  # fmt: skip
        note = note_on_class_files(images, class_files, min_pixels)
        used = device_named(device)
        model = load_diffusion(diffusion, device=used)
        guide = load_segmenter(segmenter, normalization=seg_normalization.statistics, device=used)
        eye = None
        if oracle is None:
            unused = given(oracle_normalization, NormalizationName.own)
            check_used({"--oracle-normalization": unused}, "--oracle")
        else:
            eye = load_segmenter(oracle, normalization=oracle_normalization.statistics, device=used)
    phase = Phase()
    with job(overwrite=overwrite, phase=phase) as options:
        first = options.processes.first
        if note is not None and first:
            typer.echo(note, err=True)

        def announce(number: int, step: str) -> None:
            name = f"Stage {number}" if number else "Source"
            phase.name, phase.resumes = f"{name}: {_DOING[step]}", step == "translate"
            if first:
                typer.echo(phase.name, err=True)

        try:
            made = progressive_translation(
                SourceSet(images, labels, inputs), model, guide, out=out, strengths=planned,
                finetune=own, min_consistency=min_consistency, collapse=collapse,
                label_space=space, translation=translation, seed=seed, oracle=eye, target=target,
                labels_by=labels_by.value, class_files=class_files, min_pixels=min_pixels,
                images_per_batch=images_per_batch,
                checkpoint_every=checkpoint_every, progress=sys.stderr.isatty(),
                announce=announce, options=options,
            )  # fmt: skip
        except FinetuningDiverged as error:
            if first:
                page = write_report(error.progression, space, shown=shown)
                typer.echo(f"Report: {page}", err=True)
            options.processes.gather(None)  # torchrun ends all once one has failed
            raise
        if first:
            page = write_report(made, space, shown=shown)
            if made.good:
                say_left_out(made.good[-1].left_out, space)
    _conclude(made, page if first else None)


def _conclude(made: Progression, page: Path | None) -> None:
    """Say what came out; the exit code is 3 if no stage was kept, 1 if images failed."""
    if page is not None:
        if made.stopped:
            typer.echo(f"Stopped: {made.stopped}", err=True)
        if made.good:
            last = made.good[-1]
            typer.echo(
                f"{len(made.good)} stages, {len(last.translated.files)} images translated, "
                f"{len(made.failures)} failed"
            )
            typer.echo(f"Data set: {last.layout.out}\nSegmenter: {made.weights}")
        typer.echo(f"Report: {page}")
    if not made.good:
        raise typer.Exit(3)
    if made.failures:
        raise typer.Exit(1)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--strengths: expected numbers with commas between them, got {text}"
        ) from None
