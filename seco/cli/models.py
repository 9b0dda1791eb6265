"""From the options of a command to the SAM it works with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import typer

from seco.cli.options import PrecisionName, SamChoice, SamModel, SamName
from seco.cli.unused import check_used, given, sam_options
from seco.common.cli.running import device_named
from seco.sam.protocol import PromptableSegmenter


def sam_named(chosen: SamChoice, device: str) -> PromptableSegmenter:
    """Load the model of ``--sam``; of one that is not for work tells :func:`warn_of_tiny`.

    In ``bfloat16`` runs its image encoder, most of the time; the mask decoder stays exact.

    Raises:
        OSError, ValueError, RuntimeError, AssertionError: as :func:`seco.load_sam`.
        ValueError: ``--compile`` without ``--accelerate``.
        TypeError: an encoder that cannot be accelerated.
    """
    from seco import accelerate_sam, load_sam

    if not chosen.accelerate:
        check_used({"--compile": given(chosen.compile, False)}, "--accelerate")
    loaded: Any = load_sam(chosen.sam.value, checkpoint=chosen.checkpoint, device=device)
    dtype = torch.float32
    if chosen.precision is PrecisionName.bfloat16:
        dtype = torch.bfloat16
        loaded.model.image_encoder.to(dtype)  # accelerated or not, the same weights in manifests
    segmenter: PromptableSegmenter = loaded
    if not chosen.accelerate:
        return segmenter
    try:
        return accelerate_sam(segmenter, dtype=dtype, compile=chosen.compile)
    except TypeError as error:
        raise TypeError(f"--accelerate: {error}") from error


def fitted_with_sam(corrector: Path) -> bool:
    """Whether ``--sam`` must be the corrector's encoder; it has its own otherwise.

    Raises:
        OSError, ValueError: no corrector, or one with an encoder that no option names.
    """
    from seco.correction.storage import read_header

    kind: object = read_header(corrector)["encoder"].get("kind")
    if kind not in ("segmenter", "small"):
        raise ValueError(
            f"{corrector}: was fitted with an encoder of your own; use it from Python: "
            "seco.ConnectivityCorrector.load(..., encoder=...)"
        )
    return kind == "segmenter"


def encoder_of(
    corrector: Path, chosen: SamChoice, device: str | None
) -> tuple[PromptableSegmenter | None, str | None]:
    """A corrector's encoder, if it has none of its own, and the device of its own one, if it has.

    Raises:
        OSError, ValueError, RuntimeError, AssertionError: as :func:`sam_named` and
            :func:`fitted_with_sam`; a SAM is named and the corrector has its own encoder.
    """
    used = device_named(device)
    if fitted_with_sam(corrector):
        return sam_named(chosen, used), None
    check_used(sam_options(chosen), "a corrector that was fitted with a SAM")
    return None, used


def warn_of_tiny(sam: SamName | SamModel, *, first: bool, features: bool = False) -> None:
    """Say that the tiny SAM is not one for work.

    Args:
        sam: that is used.
        first: whether this process speaks for all.
        features: whether a corrector sees the images with it.
    """
    if sam.value != "tiny" or not first:
        return
    why = ", and its features were not made for photographs" if features else ""
    typer.echo(
        f"The bundled tiny SAM is for demos and tests{why}; for work use --sam vit_h.", err=True
    )
