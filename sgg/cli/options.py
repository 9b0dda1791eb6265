"""Options that several commands take: each one's values and help are said here, once."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import typer

from seco.common.normalization import Normalization
from sgg.segmenter import IMAGENET


class NormalizationName(str, Enum):
    """What ``--seg-normalization`` takes."""

    own = "own"
    imagenet = "imagenet"
    none = "none"

    @property
    def statistics(self) -> Normalization | Literal["own"] | None:
        """The mean and std of that name, as ``load_segmenter`` takes them."""
        if self is NormalizationName.own:
            return "own"
        return IMAGENET if self is NormalizationName.imagenet else None


_SEGMENTER = typer.Option(
    "--segmenter",
    metavar="SPEC",
    help="A transformers folder of a model for semantic segmentation, a TorchScript file, or "
    "package.module:function that returns a model (see the documentation of sgg.Segmenter); demo "
    "(guides) and demo-oracle (measures) are bundled ones for generated scenes, whose classes are "
    "--label-space streets. "
    "SPEC@FILE.safetensors: with these weights, such as those of a stage of sgg progressive.",
)
OptionalSegmenter = Annotated[str | None, _SEGMENTER]
SegmenterSpec = Annotated[str, _SEGMENTER]
SegmenterNormalization = Annotated[
    NormalizationName,
    typer.Option(
        "--seg-normalization",
        help="What the segmenter takes: RGB in 0-1, normalised as ImageNet or as it is; own: what "
        "it says itself (a transformers folder, a bundled model, an sgg.Segmenter), else ImageNet.",
    ),
]
