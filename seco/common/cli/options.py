"""Options of all commands that work on data sets: values and help are said here, once."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seco.common.cli.unused import is_default


class Match(str, Enum):
    """What ``--match`` takes."""

    path = "path"
    name = "name"


class NamingName(str, Enum):
    """What ``--naming`` takes."""

    auto = "auto"
    plain = "plain"
    cityscapes = "cityscapes"
    gta = "gta"
    synthia = "synthia"
    bdd = "bdd"
    proda = "proda"


def _tell_default(context: typer.Context, label_space: str) -> str:
    """Say what labels are read as where nobody has said it: ids of other classes fit as well."""
    # Options are read before the processes of torchrun meet.
    first = os.environ.get("RANK", "0") == "0"
    if first and is_default(context, "label_space"):
        from seco.common.label_spaces import find_label_space

        count = find_label_space(label_space).num_classes
        typer.echo(
            f"Labels are read as {label_space} ({count} classes), the default; --label-space says "
            "other classes.",
            err=True,
        )
    return label_space


LabelSpaceName = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE.json",
        callback=_tell_default,
        help="The classes: cityscapes, synthia (numbered 0 to 15; DAFormer, HRDA and MIC number "
        "SYNTHIA as cityscapes), camvid, ade20k, medical, potsdam, streets "
        "(the generated scenes of the demo models), or a JSON "
        'file such as {"names": ["road", "car"], "things": ["car"]}, optionally with '
        '"palette" and "ignore_index".',
    ),
]
ImageFolder = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of RGB images, subfolders included.")
]
LabelFolder = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="Folder of their labels: one class id per pixel, 8- or 16-bit grey or palette "
        "images, named as the images (see --naming and --match).",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; cuda if there is one.")]
ListFile = Annotated[
    Path | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help="Take the images that a list names, a line each: image, label and optionally "
        "confidence, paths within the given folders.",
    ),
]


def lister(settings: Callable[[], tuple[Any, ...]]) -> Callable[[bool], None]:
    """The callback of an option that shows every setting and exits.

    Args:
        settings: gives what :func:`seco.common.settings_text.list_settings` takes, once it is
            asked for: it may have to import what no other run of the command needs.
    """

    def show(wanted: bool) -> None:
        if wanted:
            from seco.common.settings_text import list_settings

            typer.echo(list_settings(*settings()))
            raise typer.Exit

    return show


NamingRule = Annotated[
    NamingName | None,
    typer.Option(
        "--naming",
        help="In folders, how names are built: cityscapes (_leftImg8bit, "
        "_gtFine_labelTrainIds), gta and synthia (_labelTrainIds), bdd (_train_id), proda "
        "(_conf.npy, 250 is ignore), plain (the same names). Found out if not said and "
        "unambiguous.",
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
        help="Instead of --naming: the end of the image names that is not part of it, such as "
        "_rgb_anon."
    ),
]
LabelSuffix = Annotated[str | None, typer.Option(help="The same of the labels.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Make all outputs anew, whatever was there before. Such a run does not go on after a "
        "stop: started again it makes all anew; without this option it goes on.",
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Make anew what other settings, models or versions of libraries made, all that "
        "follows from it, and the report; what would be the same now stays. Such a run goes on "
        "after a stop.",
    ),
]
