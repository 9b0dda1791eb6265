"""``sgg evaluate``: whether labels hold in translated images, and how near the target is."""

from __future__ import annotations

import json
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
)
from seco.common.cli.progress import Phase
from seco.common.cli.running import device_named, job, place_for_json, refused
from sgg.cli.options import NormalizationName, SegmenterNormalization, SegmenterSpec


def evaluate(
    images: ImageFolder,
    labels: LabelFolder,
    segmenter: SegmenterSpec,
    seg_normalization: SegmenterNormalization = NormalizationName.own,
    label_space: LabelSpaceName = "cityscapes",
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES", help="Folder of target images, to tell the distance to them as well."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers there.")
    ] = None,
    device: Device = None,
    list_file: ListFile = None,
    naming: NamingRule = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
) -> None:
    """Measure translated images: do their labels hold, and how far is the target domain?

    The segmenter is an oracle, trained with target labels, that has not guided the translation.
    The distance is Fréchet's, of colour and texture and of the segmenter's logits, in patches of
    8 x 8 pixels; measure the source images as well to know where the translation started. An
    image that cannot be used is reported and the rest goes on; the exit code is then 1.
    """
    from seco.common.cli.inputs import folder_inputs
    from seco.common.files import write_bytes
    from seco.common.label_spaces import find_label_space
    from sgg.evaluation import evaluate_folder
    from sgg.folder import load_segmenter

    with refused():
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[], list_file=list_file, naming=naming, match=match,
            image_suffix=image_suffix, label_suffix=label_suffix,
        )  # fmt: skip
        place_for_json(json_file)
        oracle = load_segmenter(
            segmenter, normalization=seg_normalization.statistics, device=device_named(device)
        )
    with job(overwrite=False, phase=Phase("Measuring")) as options:
        found = evaluate_folder(inputs, oracle, label_space=space, target=target, options=options)
        if json_file is not None and options.processes.first:
            text = json.dumps(found.numbers(), indent=1) + "\n"
            write_bytes(json_file, text.encode())
    if options.processes.first:
        typer.echo(found.table())
    if found.failures:
        raise typer.Exit(1)
