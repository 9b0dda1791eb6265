"""What the manifests and journals of several stages say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seco.common.inputs import Inputs
from seco.common.labels import LabelSpace
from seco.correction.decision import CORRECT, DROP
from seco.correction.judging import Judgement


def count_decisions(judgement: Judgement) -> dict[str, int]:
    """How many regions were kept, corrected and dropped."""
    actions = judgement.decisions.actions
    corrected, dropped = int((actions == CORRECT).sum()), int((actions == DROP).sum())
    kept = len(actions) - corrected - dropped
    return {"kept": kept, "corrected": corrected, "dropped": dropped}


def check_confidences(inputs: Inputs, why: str) -> None:
    """Raise ``ValueError`` unless every image has a confidence; ``why`` it needs one."""
    bare = [files.name for files in inputs.files if files.confidence is None]
    if bare:
        raise ValueError(
            f"confidence: expected one of every image, {why}, got none of {len(bare)}, {bare[0]} "
            "for one"
        )


def input_settings(inputs: Inputs, space: LabelSpace) -> Mapping[str, Any]:
    """What of the inputs' reading changes the outputs, for a manifest."""
    colours = [bytes(colour).hex() for colour in space.colours]
    return {
        "classes": ", ".join(space.names),
        "things": ", ".join(space.things),
        "palette": " ".join(colours),
        "ignore_index": space.ignore_index,
        "stored_ignore_index": inputs.ignore_index,
        "confidence": any(files.confidence is not None for files in inputs.files),
    }
