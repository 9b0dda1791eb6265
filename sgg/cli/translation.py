"""Options of the commands that translate: how it is done, by which models, and the set's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seco.common.cli.options import lister
from seco.common.cli.unused import check_used, given
from seco.common.labels import LabelSpace
from sgg.diffusion.tiling import TileSize
from sgg.folder import TranslationOptions
from sgg.folder.class_files import MIN_PIXELS, SAMPLES, STATS, find_class_files
from sgg.settings import PAPER

DEFAULT = TranslationOptions()
# What the options of guidance need to do anything.
GUIDANCE = "another --guidance than none and a --guidance-scale over 0"


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


DiffusionSpec = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="The diffusion model of target images: a diffusers folder with unet and "
        "scheduler (and vae), package.module:function that returns one (see the documentation "
        "of sgg.as_diffusion), or demo, the bundled one for generated scenes.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1, help="Calls of the denoiser (default 50 with ddim, all there are with ddpm)."
    ),
]
SamplerName = Annotated[
    Sampler | None, typer.Option(help=f"Default {DEFAULT.sampler}; ddpm is ancestral.")
]
Eta = Annotated[float | None, typer.Option(help="Randomness of ddim's steps, 0-1.")]
GuidanceName = Annotated[
    Guidance | None,
    typer.Option(
        help="By the labels: of every class in its region (local), of the whole scene "
        "(global), both in turn (sgg), or none, which needs no segmenter "
        f"(default {DEFAULT.guidance})."
    ),
]
GuidanceScale = Annotated[
    float | None,
    typer.Option(help=f"How strongly labels guide (default {DEFAULT.guidance_scale})."),
]
GuidanceInputName = Annotated[
    GuidanceInput | None,
    typer.Option(
        help="What the segmenter sees: the noisy x_t, or the denoiser's pred_x0 "
        f"(default {DEFAULT.guidance_input})."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one finer choice of the guidance, such as --set clip=0.1; repeatable.",
    ),
]
ListSettings = Annotated[
    bool,
    typer.Option(
        "--list-settings",
        callback=lister(lambda: (DEFAULT.settings, PAPER["settings"])),
        is_eager=True,
        help="Show every NAME for --set with default and meaning; exit.",
    ),
]
Paper = Annotated[
    bool,
    typer.Option(
        "--paper", help="Start from the SGG paper's options, as far as known, not from ours."
    ),
]
TileSizeText = Annotated[
    str,
    typer.Option(
        metavar="auto|none|SIDE|HEIGHTxWIDTH",
        help="Pixels of the tiles in which the denoiser sees larger images; auto is the size "
        "that it was trained on if it has attention, none is whole images.",
    ),
]
TileOverlap = Annotated[
    int | None, typer.Option(help="Pixels; by default a quarter of the tiles' shorter side.")
]
TilesPerBatch = Annotated[
    int,
    typer.Option(
        min=1, help="Tiles that the denoiser is asked about at once: fills a GPU, takes memory."
    ),
]
PrecisionName = Annotated[
    Precision,
    typer.Option(
        help="Of the models: own is what the diffusion model's folder stores, float32 on the CPU "
        "and for the segmenter; the others run in autocast."
    ),
]
ChannelsLast = Annotated[
    bool,
    typer.Option(
        "--channels-last",
        help="Lay out convolutions' weights and activations so, which may suit a GPU in half "
        "precision.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Denoiser and segmenter by torch.compile: a minute or more for every size of images.",
    ),
]
ImagesPerBatch = Annotated[
    int,
    typer.Option(min=1, help="Images of one size translated together: fills a GPU, takes memory."),
]
LabelsChoice = Annotated[
    LabelsBy,
    typer.Option(
        "--labels", help="Link to the source's labels, or copy those of translated images."
    ),
]
ClassFilesFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the source's sample_class_stats.json and samples_with_class.json; by "
        "default the one that IMAGES lies in, if they are there."
    ),
]
MinPixels = Annotated[
    int,
    typer.Option(
        min=0,
        help="Rare class sampling asks for images with more pixels of a class than that; "
        "classes without any are no longer listed, and reported.",
    ),
]


def translation_options(
    *,
    strength: float | None,
    steps: int | None,
    sampler: Sampler | None,
    eta: float | None,
    guidance: Guidance | None,
    guidance_scale: float | None,
    guidance_input: GuidanceInput | None,
    assignments: list[str] | None,
    paper: bool,
    tile_size: str,
    tile_overlap: int | None,
    tiles_per_batch: int,
    precision: Precision,
    channels_last: bool,
    compile: bool,
) -> TranslationOptions:
    """From a command's options to those of :func:`sgg.translate`.

    Raises:
        TypeError, ValueError: a value out of its range, an unknown name, or an option of guidance
            without it.
    """
    from seco.common.settings_text import change_settings

    named: dict[str, Any] = {
        "strength": strength,
        "num_inference_steps": steps,
        "sampler": sampler and sampler.value,
        "eta": eta,
        "guidance": guidance and guidance.value,
        "guidance_scale": guidance_scale,
        "guidance_input": guidance_input and guidance_input.value,
        "tile_overlap": tile_overlap,
        "tiles_per_batch": tiles_per_batch,
        "dtype": None if precision is Precision.own else precision.value,
        "channels_last": channels_last,
        "compile": compile,
    }
    base = TranslationOptions(**PAPER) if paper else DEFAULT
    settings = change_settings(base.settings, assignments or [])
    changed = {name: value for name, value in named.items() if value is not None}
    options = replace(base, settings=settings, tile_size=tile_size_of(tile_size), **changed)
    if not options.guided:
        of_guidance = {
            "--guidance-scale": given(guidance_scale, 0),  # which turns guidance off
            "--guidance-input": given(guidance_input, None),
            "--set": ", ".join(assignments or []) or None,
        }
        check_used(of_guidance, GUIDANCE)
    return options


def note_on_class_files(images: Path, named: Path | None, min_pixels: int) -> str | None:
    """What to say, before the work, of a set that gets no files for rare class sampling.

    Args:
        images: folder of the source's images.
        named: ``--class-files``.
        min_pixels: ``--min-pixels``, which is of these files.

    Raises:
        ValueError: neither file is in the folder that was named, or ``min_pixels`` is given and
            there are none.
    """
    if find_class_files(images, named) is not None:
        return None
    check_used(
        {"--min-pixels": given(min_pixels, MIN_PIXELS)}, f"{STATS} or {SAMPLES} (--class-files)"
    )
    return (
        f"no {STATS} or {SAMPLES} in {images.parent}: the set gets none, and rare class sampling "
        "(DAFormer, HRDA, MIC) stops without; --class-files DIR if they are elsewhere"
    )


def say_left_out(left_out: Mapping[str, str], space: LabelSpace) -> None:
    """Say which classes rare class sampling no longer knows: class id -> reason."""
    for number, reason in left_out.items():
        name = space.names[int(number)] if int(number) < space.num_classes else "unknown"
        typer.echo(f"not listed for rare class sampling: {number} ({name}): {reason}", err=True)


def tile_size_of(text: str) -> TileSize:
    """What ``--tile-size`` says.

    Raises:
        ValueError: something else.

    Example:
        >>> tile_size_of("auto"), tile_size_of("512"), tile_size_of("256x512")
        ('auto', (512, 512), (256, 512))
    """
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(f"--tile-size: expected auto, none, SIDE or HEIGHTxWIDTH, got {text}")
    height, width = int(sides[0]), int(sides[-1])
    return height, width
