"""``seco refine``: refine pseudo-labels in files and folders."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from seco.cli.app import stop
from seco.cli.options import (
    Assignments,
    Checkpoint,
    Confidence,
    ConfidenceSuffix,
    ConfidenceThreshold,
    Device,
    ImagePath,
    ImageSuffix,
    KeepFraction,
    LabelPath,
    LabelSpaceName,
    LabelSuffix,
    MatchRule,
    Outside,
    OutsideRule,
    Paper,
    PSAMethod,
    Sam,
    SamName,
    SettingsListed,
)


def refine(
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
    sam: Sam = SamName.tiny,
    checkpoint: Checkpoint = None,
    device: Device = None,
    confidence: Confidence = None,
    keep_fraction: KeepFraction = None,
    confidence_threshold: ConfidenceThreshold = None,
    outside: OutsideRule = Outside.ignore,
    method: PSAMethod = None,
    paper: Paper = False,
    assignments: Assignments = None,
    settings_listed: SettingsListed = False,
    save_scores: Annotated[
        Path | None,
        typer.Option(
            help="PNG, or a folder of them, for a loss weight per pixel: 8-bit grey, white is 1."
        ),
    ] = None,
    match: MatchRule = None,
    image_suffix: ImageSuffix = None,
    label_suffix: LabelSuffix = None,
    confidence_suffix: ConfidenceSuffix = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace outputs that exist. Without it they are skipped, whatever they were "
            "made with.",
        ),
    ] = False,
) -> None:
    """Turn speckled, noisy pseudo-labels into clean regions.

    In folders, a file that has no partner or cannot be used is reported and the rest goes on; the
    exit code is then 1. Every output is written whole or not at all.
    """
    import torch
    from tqdm import tqdm

    from seco import PAPER, PSASettings, find_label_space, load_sam, refine_with_details
    from seco.common.checks import check_number
    from seco.folder import match_files, refine_files
    from seco.sam.proposal_settings import proposal_settings_of
    from seco.settings_text import change_settings

    if confidence is None and (keep_fraction is not None or confidence_threshold is not None):
        stop("--keep-fraction and --confidence-threshold need --confidence")
    if keep_fraction is not None and confidence_threshold is not None:
        stop("--keep-fraction and --confidence-threshold exclude each other")
    of_folders = {
        "--match": match and match.value,
        "--image-suffix": image_suffix,
        "--label-suffix": label_suffix,
        "--confidence-suffix": confidence_suffix,
    }
    for option, value in of_folders.items():
        if image.is_file() and value is not None:
            stop(f"{option}: expected only with folders, got {value} with the file {image}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if keep_fraction is not None:
            check_number("--keep-fraction", keep_fraction, low=0, high=1, low_open=True)
        if confidence_threshold is not None:
            check_number("--confidence-threshold", confidence_threshold, low=0, high=1)
        space = find_label_space(label_space)
        settings = PAPER if paper else PSASettings()
        if method is not None:
            settings = replace(settings, method=method.value)
        tasks, unpaired = match_files(
            image, label, out, confidence=confidence, scores=save_scores,
            match="path" if match is None else match.value, image_suffix=image_suffix or "",
            label_suffix=label_suffix or "", confidence_suffix=confidence_suffix or "",
        )  # fmt: skip
        model = load_sam(sam.value, checkpoint=checkpoint, device=device)
        settings = replace(settings, proposals=proposal_settings_of(model))
        settings = change_settings(settings, assignments or [])
        if method is not None and settings.method != method.value:
            stop(
                f"--method {method.value} and --set method={settings.method} contradict each other"
            )
    except (OSError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        stop(str(error))  # the last two are torch's about a device that is not there
    if sam is SamName.tiny:
        typer.echo(
            "The bundled tiny SAM is for demos and tests; for work use --sam vit_h.", err=True
        )
    call = partial(
        refine_with_details,
        sam=model,
        label_space=space,
        keep_fraction=0.5 if keep_fraction is None else keep_fraction,
        confidence_threshold=confidence_threshold,
        outside=outside.value,
        settings=settings,
    )
    results = refine_files(tasks, call, space, overwrite=overwrite)
    statuses: Counter[str] = Counter()
    for outcome in chain(unpaired, tqdm(results, total=len(tasks), unit="image", disable=None)):
        statuses[outcome.status] += 1
        if outcome.status == "failed":
            tqdm.write(f"failed: {outcome.name}: {outcome.reason}", file=sys.stderr)
    kept = " because their outputs exist (--overwrite replaces them)" if statuses["skipped"] else ""
    typer.echo(
        f"{statuses['written']} refined, {statuses['skipped']} skipped{kept}, "
        f"{statuses['failed']} failed; results in {out}"
    )
    if statuses["failed"]:
        raise typer.Exit(1)
