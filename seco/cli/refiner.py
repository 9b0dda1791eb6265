"""From the options that seco refine and seco run share to what refines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch

from seco.aggregation.aggregating import needs_embedding
from seco.cli.models import encoder_of, sam_named
from seco.cli.options import WITHOUT_EFFECT, Method, Outside, SamChoice, SamName
from seco.cli.unused import sam_options
from seco.common.cli.running import device_named
from seco.common.cli.unused import check_used
from seco.common.labels import LabelSpace
from seco.common.settings_text import change_settings
from seco.correction.encoder_names import sam_layers
from seco.folder import Refiner
from seco.folder.regions import found_by_another
from seco.sam.proposal_settings import ProposalSettings, proposal_settings_of
from seco.settings import PAPER, PSASettings


def refiner_of(
    chosen: SamChoice,
    *,
    device: str | None,
    label_space: LabelSpace,
    encoder: str | None,
    keep_fraction: float | None,
    confidence_threshold: float | None,
    outside: Outside,
    paper: bool,
    assignments: Sequence[str] | None,
    method: Method | None = None,
    regions: Path | None = None,
    corrector: Path | None = None,
) -> Refiner:
    """Load the model and put the settings together.

    Args:
        chosen: the SAM.
        device: an option of the commands, as those that are not explained here.
        label_space: the classes.
        encoder: what the encoder of a corrector is, see :func:`seco.cli.models.name_of_fitted`;
            ``None`` without a corrector.
        keep_fraction: see ``device``; this and all that follow.
        confidence_threshold: see there.
        outside: see there.
        paper: see there.
        assignments: see there.
        method: see there.
        regions: see there.
        corrector: see there.

    Raises:
        ValueError: options that do not go together, or that would do nothing.
        OSError, RuntimeError, AssertionError: as :func:`seco.cli.models.sam_named`.
    """
    assigned = list(assignments or [])
    layers = None if encoder is None else sam_layers(encoder)
    if chosen.sam is SamName.none:
        check_used(sam_options(chosen), "another --sam than none")
        if layers is not None:
            raise ValueError("--corrector was fitted with a SAM: expected the same --sam, got none")
    if regions is not None:
        names = {field.name for field in fields(ProposalSettings)}
        finding = [text for text in assigned if text.partition("=")[0].strip() in names]
        if finding:
            raise ValueError(
                f"--set {finding[0]}: expected no setting of finding regions with --regions"
            )
    for text in assigned:
        if (name := text.partition("=")[0].strip()) in WITHOUT_EFFECT:
            raise ValueError(f"--set {name}: expected no such setting, images are taken one by one")
    start = PAPER if paper else PSASettings()
    if method is not None:
        start = replace(start, method=method.value)
    settings = change_settings(start, assigned)  # what is wrong is told before the model is loaded
    if method is not None and settings.method != method.value:
        raise ValueError(
            f"--method {method.value} and --set method={settings.method} contradict each other"
        )
    if regions is not None and settings.method == "prompts":
        raise ValueError(f"--regions: expected none with method prompts, got {regions}")
    used = device_named(device)
    model = None if chosen.sam is SamName.none else sam_named(chosen, used)
    if model is not None and regions is None:
        found = replace(start, proposals=proposal_settings_of(model))
        settings = change_settings(found, assigned)
    features: object = None
    own: str | None = used
    if encoder is not None:
        features, own = encoder_of(encoder, lambda: model, used)
    return Refiner(
        sam=model,
        label_space=label_space,
        regions=regions,
        corrector=corrector,
        encoder=features,
        device=own,
        keep_fraction=0.5 if keep_fraction is None else keep_fraction,
        confidence_threshold=confidence_threshold,
        outside=outside.value,
        settings=settings,
    )


def check_prompting(refiner: Refiner) -> None:
    """Refuse that the default model prompts beside regions that another one has found.

    Args:
        refiner: of a command whose ``--sam`` nobody has given.

    Raises:
        ValueError: that is so.
        OSError: the regions' manifest cannot be read.
    """
    if refiner.regions is None or not found_by_another(refiner.regions, refiner.sam):
        return
    space = refiner.label_space
    every = torch.arange(space.num_classes)
    if needs_embedding(every, space, refiner.settings, has_regions=True):
        raise ValueError(
            f"--regions {refiner.regions}: its regions were found by another model than tiny, "
            "which would prompt for the things; say the --sam of seco regions, as in --sam vit_h "
            "--checkpoint FILE, or --sam none to let the regions alone vote"
        )
