"""From the options of a command to the SAM it works with, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from seco.cli.app import stop
from seco.cli.options import SamName
from seco.sam.protocol import PromptableSegmenter


@contextmanager
def refused() -> Iterator[None]:
    """End the command with exit code 2 and the reason where its options cannot work."""
    try:
        yield
    except (OSError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        if isinstance(error, typer.Exit):
            raise
        stop(str(error))  # the last two are torch's about a device that is not there


def device_named(device: str | None) -> str:
    """The device of ``--device``: ``cuda`` if there is one, and under ``torchrun`` one's own."""
    import torch

    from seco.common.processes import local_device

    return local_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def sam_named(sam: SamName, checkpoint: str | None, device: str) -> PromptableSegmenter:
    """Load the model of ``--sam``, and say so if it is not one for work.

    Raises:
        OSError, ValueError, RuntimeError, AssertionError: as :func:`seco.load_sam`.
    """
    from seco import load_sam

    return load_sam(sam.value, checkpoint=checkpoint, device=device)


def warn_of_tiny(sam: SamName, *, first: bool = True) -> None:
    """Say that the tiny SAM is not one for work."""
    if sam is SamName.tiny and first:
        typer.echo(
            "The bundled tiny SAM is for demos and tests; for work use --sam vit_h.", err=True
        )
