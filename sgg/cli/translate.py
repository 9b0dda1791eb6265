"""``sgg translate``: translate a labelled data set to the target domain."""

from __future__ import annotations

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
    Overwrite,
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import conclude, device_named, job, refused, stop
from seco.common.cli.unused import check_used, given
from sgg.cli.options import NormalizationName, OptionalSegmenter, SegmenterNormalization
from sgg.cli.translation import (
    DEFAULT,
    GUIDANCE,
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


def translate(
    images: ImageFolder,
    labels: LabelFolder,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder for the translated set: images/ and labels/, or RGB/ and GT/LABELS/ where "
            "the source has these, and the files for rare class sampling, if it has them.",
        ),
    ],
    diffusion: DiffusionSpec,
    segmenter: OptionalSegmenter = None,
    seg_normalization: SegmenterNormalization = NormalizationName.own,
    label_space: LabelSpaceName = "cityscapes",
    strength: Annotated[
        float | None,
        typer.Option(
            help=f"How far images may move, over 0 and at most 1 (default {DEFAULT.strength})."
        ),
    ] = None,
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
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    device: Device = None,
    images_per_batch: ImagesPerBatch = 1,
    labels_by: LabelsChoice = LabelsBy.link,
    class_files: ClassFilesFolder = None,
    min_pixels: MinPixels = MIN_PIXELS,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    overwrite: Overwrite = False,
) -> None:
    """Translate a labelled data set, true to its labels, into one that trainers load as it is.

    An image that cannot be used is reported and the rest goes on; the exit code is then 1. A run
    that was stopped is gone on with by the same command, also under torchrun. The same seed gives
    the same images, whatever the number of processes.
    """
    from seco.common.cli.inputs import folder_inputs
    from seco.common.label_spaces import find_label_space
    from sgg.folder import SetLayout, load_diffusion, load_segmenter, translate_folder

    with refused():
        translation = translation_options(
            strength=strength, steps=steps, sampler=sampler, eta=eta, guidance=guidance,
            guidance_scale=guidance_scale, guidance_input=guidance_input,
            assignments=assignments, paper=paper, tile_size=tile_size,
            tile_overlap=tile_overlap, tiles_per_batch=tiles_per_batch, precision=precision,
            channels_last=channels_last, compile=compile,
        )  # fmt: skip
        if not translation.guided:
            normalization = given(seg_normalization, NormalizationName.own)
            check_used({"--segmenter": segmenter, "--seg-normalization": normalization}, GUIDANCE)
        elif segmenter is None:
            stop("--segmenter: expected a model that guides, or --guidance none, got neither")
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[out], beside=[class_files],
            list_file=list_file, naming=naming, match=match, image_suffix=image_suffix,
            label_suffix=label_suffix,
        )  # fmt: skip
        note = note_on_class_files(images, class_files, min_pixels)
        layout = SetLayout(images, labels, out, labels_by.value)
        used = device_named(device)
        model = load_diffusion(diffusion, device=used)
        guide = None
        if translation.guided and segmenter is not None:
            guide = load_segmenter(
                segmenter, normalization=seg_normalization.statistics, device=used
            )
    with job(overwrite=overwrite, phase=Phase("Translating", resumes=True)) as options:
        if note is not None and options.processes.first:
            typer.echo(note, err=True)
        made = translate_folder(
            inputs, layout, model, guide, label_space=space, translation=translation, seed=seed,
            class_files=class_files, min_pixels=min_pixels, images_per_batch=images_per_batch,
            options=options,
        )  # fmt: skip
    if options.processes.first:
        say_left_out(made.left_out, space)
    conclude(made.summary, "translated", out, options)
