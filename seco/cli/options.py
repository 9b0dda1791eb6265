"""Options that several commands take: each one's values and help are said here, once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from seco.common.cli.options import lister
from seco.correction.lessons import FEATURE_MEMORY

FEATURE_GIB = FEATURE_MEMORY / 2**30
WITHOUT_EFFECT = ("images_per_batch",)
"""Settings of the aggregation that mean nothing in commands, which take images one by one."""


class SamName(str, Enum):
    """What ``--sam`` takes."""

    tiny = "tiny"
    vit_b = "vit_b"
    vit_l = "vit_l"
    vit_h = "vit_h"
    none = "none"


class SamModel(str, Enum):
    """What ``--sam`` takes where there is no work without a model."""

    tiny = "tiny"
    vit_b = "vit_b"
    vit_l = "vit_l"
    vit_h = "vit_h"


class PrecisionName(str, Enum):
    """What ``--precision`` takes."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(frozen=True)
class SamChoice:
    """The options that name a SAM and say how its encoder computes, as they were given."""

    sam: SamName | SamModel
    checkpoint: str | None = None
    precision: PrecisionName = PrecisionName.float32
    accelerate: bool = False
    compile: bool = False


class Method(str, Enum):
    """What ``--method`` takes."""

    psa = "psa"
    alignment = "alignment"
    prompts = "prompts"


class Outside(str, Enum):
    """What ``--outside`` takes."""

    ignore = "ignore"
    keep = "keep"


class LayoutName(str, Enum):
    """What ``--layout`` takes."""

    palette = "palette"
    proda = "proda"


class ScoreFormatName(str, Enum):
    """What ``--score-format`` takes."""

    png = "png"
    npy = "npy"


def _psa_settings() -> tuple[Any, ...]:
    from seco import PAPER, PSASettings

    return PSASettings(), PAPER, WITHOUT_EFFECT


def _scc_settings() -> tuple[Any, ...]:
    from seco import SCC_PAPER, SCCSettings

    return SCCSettings(), SCC_PAPER


def _proposal_settings() -> tuple[Any, ...]:
    from seco import ProposalSettings

    return (ProposalSettings(),)


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
SamOrNone = Annotated[
    SamName,
    typer.Option(
        "--sam",
        help="The model. The tiny one is bundled, for demos and tests only; none needs --regions.",
    ),
]
Sam = Annotated[
    SamModel,
    typer.Option("--sam", help="The model. The tiny one is bundled, for demos and tests only."),
]
EncoderSam = Annotated[
    SamModel,
    typer.Option(
        "--sam",
        help="The model whose features --encoder sam or sam-crops takes. The tiny one is "
        "bundled, for demos and tests only: its features were not made for photographs.",
    ),
]
FittedSam = Annotated[
    SamModel,
    typer.Option(
        "--sam",
        help="The model that the corrector was fitted with, if it was with --encoder sam or "
        "sam-crops.",
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        help="Weights of --sam vit_*; Meta's own are downloaded once if not given.",
    ),
]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        "--precision",
        help="What the image encoder of --sam computes in. bfloat16 is several times faster on a "
        "GPU; masks differ a little, and what was made with it is not mixed with the other.",
    ),
]
Accelerate = Annotated[
    bool,
    typer.Option(
        "--accelerate",
        help="Compute what the image encoder of --sam does with less work (seco.accelerate_sam). "
        "In float32 labels stay the same; in bfloat16 what was made with it is not mixed with what "
        "was made without.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="With --accelerate: by torch.compile, which takes a minute or more at the start.",
    ),
]
Encoder = Annotated[
    str,
    typer.Option(
        metavar="sam|sam-crops|small|torchvision:NETWORK|MODULE:FUNCTION",
        help="Where the corrector's features come from: sam is --sam's embedding; sam-crops "
        "that of four windows of the image besides, for small regions, in five passes of its "
        "encoder instead of one (sam-crops:2: of sixteen smaller ones, too); small is a network "
        "trained from scratch, which wants thousands of images; torchvision:resnet50 and its like "
        "are downloaded once: on photographs take one that was trained on photographs; a function "
        "of your own, called without arguments, returns a network (a torch.nn.Module, frozen, or "
        "seco.ModuleExtractor).",
    ),
]
FittedEncoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="torchvision:NETWORK|MODULE:FUNCTION",
        help="The network, or the function of your own, that the corrector was fitted with, if it "
        "was with one.",
    ),
]
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
        callback=lister(_psa_settings),
        is_eager=True,
        help="Show every NAME for --set with default, the paper's value and meaning; exit.",
    ),
]
SCCSettingsListed = Annotated[
    bool,
    typer.Option(
        "--list-settings",
        callback=lister(_scc_settings),
        is_eager=True,
        help="Show every NAME for --set with default and meaning; exit.",
    ),
]
ProposalSettingsListed = Annotated[
    bool,
    typer.Option(
        "--list-settings",
        callback=lister(_proposal_settings),
        is_eager=True,
        help="Show every NAME for --set with default and meaning; exit.",
    ),
]
ProposalAssignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one setting of finding regions, such as --set points_per_side=64; repeatable.",
    ),
]
SCCAssignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one setting of fitting and correcting, such as --set iterations=2000; "
        "repeatable.",
    ),
]
ConfidenceSuffix = Annotated[str | None, typer.Option(help="The same of the confidences.")]
CorrectorFolder = Annotated[
    Path | None,
    typer.Option("--corrector", help="Correct what was refined, with what seco fit made."),
]
LayoutRule = Annotated[
    LayoutName,
    typer.Option(
        "--layout",
        help="palette: PNGs with ids inside, colours when looked at; proda: the same with 250 "
        "for ignore, and the scores as name_conf.npy beside them.",
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        "--save-scores",
        help="PNG, or a folder of them, for a loss weight per pixel: 8-bit grey, white is 1.",
    ),
]
ScoreFormatRule = Annotated[
    ScoreFormatName, typer.Option("--score-format", help="Of --save-scores in folders.")
]
SaveConnectivities = Annotated[
    Path | None,
    typer.Option(
        "--save-connectivities",
        help="Folder for the regions that the refined labels consist of, for seco fit and correct "
        "--connectivities: in a label alone, objects of one class that touch are one.",
    ),
]
ConnectivitiesFolder = Annotated[
    Path | None,
    typer.Option(
        "--connectivities",
        help="Folder that seco refine --save-connectivities wrote with these labels: its regions "
        "are judged, and not the labels' connected components. Fit and correct with the same.",
    ),
]
FittedConfidence = Annotated[
    Path | None,
    typer.Option(
        "--confidence",
        help="Folder of how sure the labels are, such as seco refine --save-scores wrote: it tells "
        "noise together with the classifier. Fit, correct and evaluate with the same, or all "
        "without.",
    ),
]
FeatureMemory = Annotated[
    float,
    typer.Option(
        "--feature-memory",
        min=0,
        help="GiB, per process, to keep features of a frozen --encoder in while fitting; images "
        "whose features do not fit are encoded at every visit, which is slow.",
    ),
]
ListRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="ROOT",
        help="Write labeled.txt and unlabeled.txt, as UniMatch reads them, beside the labels, with "
        "paths within ROOT.",
    ),
]
LeastShare = Annotated[
    float,
    typer.Option(
        help="With --list-root: an image is labelled if that share of its pixels has a class, and "
        "any at all."
    ),
]
