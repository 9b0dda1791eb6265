"""``sgg translate``: translate a labelled data set to the target domain."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

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
from seco.common.cli.progress import Stage
from seco.common.cli.running import conclude, device_named, job, refused, stop
from sgg.cli.options import Guide, NormalizationName, SegmenterNormalization
from sgg.folder import TranslationOptions
from sgg.folder.class_files import MIN_PIXELS
from sgg.settings import PAPER, GuidanceSettings
from sgg.tiling import TileSize

_DEFAULT = TranslationOptions()


class Guidance(str, Enum):
    """What ``--guidance`` takes."""

    sgg = "sgg"
    local = "local"
    global_ = "global"
    none = "none"


class Sampler(str, Enum):
    """What ``--sampler`` takes."""

    ddim = "ddim"
    ddpm = "ddpm"


class GuidanceInput(str, Enum):
    """What ``--guidance-input`` takes."""

    x_t = "x_t"
    pred_x0 = "pred_x0"


class Precision(str, Enum):
    """What ``--precision`` takes."""

    own = "own"
    bfloat16 = "bfloat16"
    float16 = "float16"


class LabelsBy(str, Enum):
    """What ``--labels`` takes."""

    link = "link"
    copy = "copy"


def _show_settings(wanted: bool) -> None:
    if wanted:
        from seco.common.settings_text import list_settings

        paper: GuidanceSettings = PAPER["settings"]
        typer.echo(list_settings(_DEFAULT.settings, paper))
        raise typer.Exit


def _tile_size(text: str) -> TileSize:
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(f"--tile-size: expected auto, none, SIDE or HEIGHTxWIDTH, got {text}")
    height, width = int(sides[0]), int(sides[-1])
    return height, width


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
    diffusion: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="The diffusion model of target images: a diffusers folder with unet and "
            "scheduler (and vae), package.module:function that returns one (see the documentation "
            "of sgg.as_diffusion), or demo, the bundled one for generated scenes.",
        ),
    ],
    segmenter: Guide = None,
    seg_normalization: SegmenterNormalization = NormalizationName.imagenet,
    label_space: LabelSpaceName = "cityscapes",
    strength: Annotated[
        float | None,
        typer.Option(
            help=f"How far images may move, over 0 and at most 1 (default {_DEFAULT.strength})."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Calls of the denoiser (default 50 with ddim, all there are with ddpm)."
        ),
    ] = None,
    sampler: Annotated[
        Sampler | None, typer.Option(help=f"Default {_DEFAULT.sampler}; ddpm is ancestral.")
    ] = None,
    eta: Annotated[float | None, typer.Option(help="Randomness of ddim's steps, 0-1.")] = None,
    guidance: Annotated[
        Guidance | None,
        typer.Option(
            help="By the labels: of every class in its region (local), of the whole scene "
            "(global), both in turn (sgg), or none, which needs no segmenter "
            f"(default {_DEFAULT.guidance})."
        ),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(help=f"How strongly labels guide (default {_DEFAULT.guidance_scale})."),
    ] = None,
    guidance_input: Annotated[
        GuidanceInput | None,
        typer.Option(
            help="What the segmenter sees: the noisy x_t, or the denoiser's pred_x0 "
            f"(default {_DEFAULT.guidance_input})."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change one finer choice of the guidance, such as --set clip=0.1; repeatable.",
        ),
    ] = None,
    settings_listed: Annotated[
        bool,
        typer.Option(
            "--list-settings",
            callback=_show_settings,
            is_eager=True,
            help="Show every NAME for --set with default and meaning; exit.",
        ),
    ] = False,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="Start from the SGG paper's options, as far as known, not from ours."
        ),
    ] = False,
    tile_size: Annotated[
        str,
        typer.Option(
            metavar="auto|none|SIDE|HEIGHTxWIDTH",
            help="Pixels of the tiles in which the denoiser sees larger images; auto is the size "
            "that it was trained on if it has attention, none is whole images.",
        ),
    ] = "auto",
    tile_overlap: Annotated[
        int | None, typer.Option(help="Pixels; by default a quarter of the tiles' shorter side.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of the models: their own, or autocast to another.")
    ] = Precision.own,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    device: Device = None,
    labels_by: Annotated[
        LabelsBy,
        typer.Option(
            "--labels", help="Link to the source's labels, or copy those of translated images."
        ),
    ] = LabelsBy.link,
    class_files: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the source's sample_class_stats.json and samples_with_class.json; by "
            "default the one that IMAGES lies in, if they are there."
        ),
    ] = None,
    min_pixels: Annotated[
        int,
        typer.Option(
            min=0,
            help="Rare class sampling asks for images with more pixels of a class than that; "
            "classes without any are no longer listed, and reported.",
        ),
    ] = MIN_PIXELS,
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
    from seco.common.settings_text import change_settings
    from sgg.folder import SetLayout, load_diffusion, load_segmenter, translate_folder

    with refused():
        given: dict[str, Any] = {
            "strength": strength,
            "num_inference_steps": steps,
            "sampler": sampler and sampler.value,
            "eta": eta,
            "guidance": guidance and guidance.value,
            "guidance_scale": guidance_scale,
            "guidance_input": guidance_input and guidance_input.value,
            "tile_overlap": tile_overlap,
            "dtype": None if precision is Precision.own else precision.value,
        }
        base = TranslationOptions(**PAPER) if paper else _DEFAULT
        settings = change_settings(base.settings, assignments or [])
        changed = {name: value for name, value in given.items() if value is not None}
        translation = replace(base, settings=settings, tile_size=_tile_size(tile_size), **changed)
        if translation.guided and segmenter is None:
            stop("--segmenter: expected a model that guides, or --guidance none, got neither")
        space = find_label_space(label_space)
        inputs = folder_inputs(
            images, labels, apart=[out], beside=[class_files],
            list_file=list_file, naming=naming, match=match, image_suffix=image_suffix,
            label_suffix=label_suffix,
        )  # fmt: skip
        layout = SetLayout(images, labels, out, labels_by.value)
        used = device_named(device)
        model = load_diffusion(diffusion, device=used)
        guide = None
        if translation.guided and segmenter is not None:
            guide = load_segmenter(
                segmenter, normalization=seg_normalization.statistics, device=used
            )
    with job(overwrite=overwrite, stage=Stage("Translating", resumes=True)) as options:
        made = translate_folder(
            inputs, layout, model, guide, label_space=space, translation=translation, seed=seed,
            class_files=class_files, min_pixels=min_pixels, options=options,
        )  # fmt: skip
    if options.processes.first:
        for number, reason in made.left_out.items():
            name = space.names[int(number)] if int(number) < space.num_classes else "unknown"
            typer.echo(f"not listed for rare class sampling: {number} ({name}): {reason}", err=True)
    conclude(made.summary, "translated", out, options)
