"""Options that several commands take: each one's values and help are said here, once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


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


def _show_settings(wanted: bool) -> None:
    if wanted:
        from seco.settings_text import list_settings

        typer.echo(list_settings())
        raise typer.Exit


ImagePath = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="RGB image, or a folder of images.")
]
LabelPath = Annotated[
    Path,
    typer.Argument(
        metavar="LABEL",
        help="Its pseudo-label: one class id per pixel, 8- or 16-bit grey or palette image; "
        "or a folder of labels, subfolders included, named as the images (see --match).",
    ),
]
LabelSpaceName = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.json",
        help="The classes: cityscapes, synthia, camvid, ade20k, medical, potsdam, or a JSON "
        'file such as {"names": ["road", "car"], "things": ["car"]}, optionally with '
        '"palette" and "ignore_index".',
    ),
]
Sam = Annotated[
    SamName,
    typer.Option(help="The model. The tiny one is bundled, for demos and tests only."),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        help="Weights of --sam vit_*; Meta's own are downloaded once if not given.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; cuda if there is one.")]
Confidence = Annotated[
    Path | None,
    typer.Option(
        help="The labelling model's top softmax: grey image (white is 1) or .npy in 0-1, or a "
        "folder of them. Only the most confident pixels of each class then vote and prompt."
    ),
]
KeepFraction = Annotated[
    float | None,
    typer.Option(help="With --confidence: that share of each class's pixels (default 0.5)."),
]
ConfidenceThreshold = Annotated[
    float | None,
    typer.Option(help="With --confidence: the pixels at least that confident instead."),
]
OutsideRule = Annotated[
    Outside, typer.Option("--outside", help="What pixels outside every region become.")
]
PSAMethod = Annotated[
    Method | None,
    typer.Option(
        "--method", help="psa (default): align stuff, prompt things; or one of the two alone."
    ),
]
Paper = Annotated[
    bool, typer.Option("--paper", help="Start from the SeCo paper's settings, not from ours.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one setting of the method, such as --set stuff_share=0.1; repeatable.",
    ),
]
SettingsListed = Annotated[
    bool,
    typer.Option(
        "--list-settings",
        callback=_show_settings,
        is_eager=True,
        help="Show every NAME for --set with default, the paper's value and meaning; exit.",
    ),
]
MatchRule = Annotated[
    Match | None,
    typer.Option(
        "--match",
        help="In folders, files belong together whose path within the folder (default), or "
        "whose name alone, is the same but for the format.",
    ),
]
ImageSuffix = Annotated[
    str | None,
    typer.Option(
        help="In folders, the end of the image names that is not part of it, such as _leftImg8bit."
    ),
]
LabelSuffix = Annotated[str | None, typer.Option(help="The same of the labels.")]
ConfidenceSuffix = Annotated[str | None, typer.Option(help="The same of the confidences.")]
