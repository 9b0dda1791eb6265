"""The ``seco`` command: refine pseudo-labels in files and folders, and see a demo."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from enum import Enum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    help="Refine pseudo-labels of target images with the Segment Anything Model (SeCo).",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class SamName(str, Enum):
    """What ``--sam`` takes."""

    tiny = "tiny"
    vit_b = "vit_b"
    vit_l = "vit_l"
    vit_h = "vit_h"


class Method(str, Enum):
    """What ``--method`` takes."""

    psa = "psa"
    alignment = "alignment"
    prompts = "prompts"


class Outside(str, Enum):
    """What ``--outside`` takes."""

    ignore = "ignore"
    keep = "keep"


class Match(str, Enum):
    """What ``--match`` takes."""

    path = "path"
    name = "name"


def main() -> None:
    """Run the command line; the entry point ``seco``."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        from seco import __version__

        typer.echo(f"seco {__version__}")
        raise typer.Exit


def _show_settings(wanted: bool) -> None:
    if wanted:
        from seco.settings_text import list_settings

        typer.echo(list_settings())
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def refine(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="RGB image, or a folder of images.")
    ],
    label: Annotated[
        Path,
        typer.Argument(
            metavar="LABEL",
            help="Its pseudo-label: one class id per pixel, 8- or 16-bit grey or palette image; "
            "or a folder of labels, subfolders included, named as the images (see --match).",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="PNG to write, or the folder for PNGs with the labels' file names: ids inside, "
            "colours when looked at.",
        ),
    ],
    label_space: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.json",
            help="The classes: cityscapes, synthia, camvid, ade20k, medical, potsdam, or a JSON "
            'file such as {"names": ["road", "car"], "things": ["car"]}, optionally with '
            '"palette" and "ignore_index".',
        ),
    ] = "cityscapes",
    sam: Annotated[
        SamName,
        typer.Option(help="The model. The tiny one is bundled, for demos and tests only."),
    ] = SamName.tiny,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Weights of --sam vit_*; Meta's own are downloaded once if not given.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; cuda if there is one.")
    ] = None,
    confidence: Annotated[
        Path | None,
        typer.Option(
            help="The labelling model's top softmax: grey image (white is 1) or .npy in 0-1, or a "
            "folder of them. Only the most confident pixels of each class then vote and prompt."
        ),
    ] = None,
    keep_fraction: Annotated[
        float | None,
        typer.Option(help="With --confidence: that share of each class's pixels (default 0.5)."),
    ] = None,
    confidence_threshold: Annotated[
        float | None,
        typer.Option(help="With --confidence: the pixels at least that confident instead."),
    ] = None,
    outside: Annotated[
        Outside, typer.Option(help="What pixels outside every region become.")
    ] = Outside.ignore,
    method: Annotated[
        Method | None,
        typer.Option(help="psa (default): align stuff, prompt things; or one of the two alone."),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Start from the SeCo paper's settings, not from ours.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change one setting of the method, such as --set stuff_share=0.1; repeatable.",
        ),
    ] = None,
    settings_listed: Annotated[
        bool,
        typer.Option(
            "--list-settings",
            callback=_show_settings,
            is_eager=True,
            help="Show every NAME for --set with default, the paper's value and meaning; exit.",
        ),
    ] = False,
    save_scores: Annotated[
        Path | None,
        typer.Option(
            help="PNG, or a folder of them, for a loss weight per pixel: 8-bit grey, white is 1."
        ),
    ] = None,
    match: Annotated[
        Match | None,
        typer.Option(
            help="In folders, files belong together whose path within the folder (default), or "
            "whose name alone, is the same but for the format."
        ),
    ] = None,
    image_suffix: Annotated[
        str | None,
        typer.Option(
            help="In folders, the end of the image names that is not part of it, such as "
            "_leftImg8bit."
        ),
    ] = None,
    label_suffix: Annotated[str | None, typer.Option(help="The same of the labels.")] = None,
    confidence_suffix: Annotated[
        str | None, typer.Option(help="The same of the confidences.")
    ] = None,
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
        _stop("--keep-fraction and --confidence-threshold need --confidence")
    if keep_fraction is not None and confidence_threshold is not None:
        _stop("--keep-fraction and --confidence-threshold exclude each other")
    of_folders = {
        "--match": match and match.value,
        "--image-suffix": image_suffix,
        "--label-suffix": label_suffix,
        "--confidence-suffix": confidence_suffix,
    }
    for option, value in of_folders.items():
        if image.is_file() and value is not None:
            _stop(f"{option}: expected only with folders, got {value} with the file {image}")
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
            _stop(
                f"--method {method.value} and --set method={settings.method} contradict each other"
            )
    except (OSError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        _stop(str(error))  # the last two are torch's about a device that is not there
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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("seco-demo"),
    images: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 8,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="The first scene. The bundled models were trained on 0-3999; 100000-100299 are "
            "kept for reports.",
        ),
    ] = 100_000,
) -> None:
    """See what it does, offline: generated street scenes, labelled, refined and measured.

    A bundled segmenter that knows only clean, game-like streets labels scenes with texture,
    weather and a lens; the bundled tiny SAM refines its labels. Writes a figure and tables.
    """
    from tqdm import tqdm

    from seco.demo.demo import run_demo, write_demo

    started = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _stop(str(error))
    progress = partial(tqdm, unit="scene", disable=None)
    result = run_demo(range(seed, seed + images), progress=progress)
    typer.echo(result.table())
    for path in write_demo(result, out):
        typer.echo(f"Wrote {path}")
    typer.echo(f"{result.summary()} ({time.perf_counter() - started:.0f} s)")


def _stop(message: str) -> NoReturn:
    """Say why nothing was done; exit code 2, as for a wrong option."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)
