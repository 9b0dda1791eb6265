"""What the stages in a folder were made with, and whether others may be made beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seco.common.inputs import Inputs
from seco.common.jobs import Manifest, library_versions
from seco.common.labels import LabelSpace
from sgg.folder.models import describe_model
from sgg.folder.options import TranslationOptions
from sgg.progressive.places import Places
from sgg.segmenter import Segmenter


def check_stages(places: Places, strengths: Sequence[float], *, overwrite: bool) -> None:
    """Raise ``ValueError`` if stages are there that are not asked for, or of other strengths."""
    for number in places.stages():
        if number > len(strengths):
            raise ValueError(
                f"{places.out}: holds stage {number}, expected at most {len(strengths)}: give its "
                "strength too, choose another folder, or delete that stage's"
            )
        made = Manifest.read(places.data(number))
        if made is None or overwrite:
            continue
        before, now = made.settings.get("strength"), strengths[number - 1]
        if before != now:
            raise ValueError(
                f"{places.data(number)}: was made otherwise: its strength is {now}, was {before}; "
                "choose another folder, or --overwrite to make it and what follows anew"
            )


def manifest_of(
    inputs: Inputs,
    space: LabelSpace,
    translation: TranslationOptions,
    labels_by: str,
    seed: int,
    trainer: Mapping[str, Any],
    diffusion: object,
    segmenter: Segmenter,
) -> Manifest:
    """Of a whole progressive translation: what all its stages have in common.

    Args:
        inputs: the source.
        space: of its labels.
        translation: how images are translated; its strength is the stages' own.
        labels_by: see :class:`sgg.folder.SetLayout`.
        seed: of the noise and of fine-tuning.
        trainer: see :func:`sgg.progressive.handing_on.describe_finetune`.
        diffusion: the model.
        segmenter: the first one.
    """
    from sgg import __version__

    how = {name: value for name, value in translation.describe().items() if name != "strength"}
    settings = {
        "translation": how,
        "finetune": trainer,
        "labels_by": labels_by,
        "seed": seed,
        "classes": space.names,
        "ignore_index": space.ignore_index,
        "stored_ignore_index": inputs.ignore_index,
    }
    models = {
        "diffusion": describe_model(diffusion) or "",
        "segmenter": describe_model(segmenter) or "",
    }
    versions = {"sgg": __version__, **library_versions("torch", "numpy", "pillow")}
    return Manifest("sgg progressive", settings, models, versions)
