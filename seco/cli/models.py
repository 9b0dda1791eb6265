"""From the options of a command to the SAM it works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer

from seco.cli.options import PrecisionName, SamChoice, SamModel, SamName
from seco.cli.unused import sam_options
from seco.common.cli.running import device_named
from seco.common.cli.unused import check_used, given
from seco.common.functions import call_function, names_function
from seco.correction.encoder_names import encoder_name, sam_layers
from seco.correction.extractors import as_extractor
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.torchvision_encoder import torchvision_encoder
from seco.sam.loading import as_segmenter
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


def name_of_fitted(corrector: Path, encoder: str | None) -> str:
    """What ``--encoder`` was when a corrector was fitted.

    Args:
        corrector: its folder.
        encoder: the function that is named now, if one is.

    Raises:
        OSError, ValueError: no corrector, or one is named for a corrector that takes none, or none
            for one that does.
    """
    from seco.correction.storage import read_header

    name = encoder_name(read_header(corrector)["encoder"])
    if name is not None:
        check_used({"--encoder": encoder}, "a corrector that was fitted with one of your own")
        return name
    if encoder is None:
        raise ValueError(
            f"{corrector}: was fitted with an encoder of your own: expected the same --encoder "
            "(torchvision:NETWORK or MODULE:FUNCTION), got none"
        )
    return encoder


def own_encoder(name: str, device: str) -> object:
    """The network that ``--encoder`` names, on the device if it can be moved.

    Raises:
        ValueError: not one of the encoders, or no such network or function.
        OSError: a network's weights cannot be downloaded.
        TypeError: the function returned nothing that can be an encoder.
    """
    library, _, network = name.partition(":")
    if library == "torchvision":
        try:
            return torchvision_encoder(network, device=device)
        except ValueError as error:
            raise ValueError(f"--encoder {name}: {error}") from error
    if not names_function(name):
        raise ValueError(
            "--encoder: expected sam, sam-crops, small, torchvision:NETWORK or MODULE:FUNCTION, "
            f"got {name}"
        )
    made: Any = call_function(name)
    try:
        extractor: Any = as_extractor(made)  # else wrong kinds are told image by image
        if made is None:
            raise TypeError("expected a network, got None")
    except TypeError as error:
        raise TypeError(f"--encoder {name}: {error}") from error
    return extractor.to(device) if callable(getattr(extractor, "to", None)) else extractor


def encoder_of(name: str, sam: Callable[[], object], device: str) -> tuple[object, str | None]:
    """What ``--encoder`` names, and the device of the corrector's own network, if that is it.

    Args:
        name: see :func:`name_of_fitted`.
        sam: gives the SAM that ``sam`` and ``sam-crops`` mean.
        device: where a network is to be.

    Raises:
        OSError, ValueError, RuntimeError, AssertionError, TypeError: as ``sam`` and
            :func:`own_encoder`.
    """
    layers = sam_layers(name)
    if layers is not None:
        return SegmenterExtractor(as_segmenter(sam()), crop_n_layers=layers), None
    return (None, device) if name == "small" else (own_encoder(name, device), None)


def fitted_encoder(
    corrector: Path, encoder: str | None, chosen: SamChoice, device: str | None
) -> tuple[object, str | None]:
    """As :func:`encoder_of`, of a saved corrector.

    Raises:
        OSError, ValueError, RuntimeError, AssertionError, TypeError: as :func:`encoder_of` and
            :func:`name_of_fitted`; or a SAM is named that the corrector is not in need of.
    """
    name, used = name_of_fitted(corrector, encoder), device_named(device)
    if sam_layers(name) is None:
        check_used(sam_options(chosen), "a corrector that was fitted with a SAM")
    return encoder_of(name, lambda: sam_named(chosen, used), used)


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
