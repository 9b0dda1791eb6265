"""Judge the connectivities of images and paint the new labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.common.checks import describe
from seco.common.labels import LabelSpace
from seco.connectivities import Connectivities, check_connectivities
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.fitting import FitRecord
from seco.correction.judging import Judgement, judge
from seco.correction.samples import find_connectivities
from seco.correction.settings import SCCSettings
from seco.sam.protocol import Embedding


@dataclass(frozen=True)
class Correction:
    """The corrected labels of B images.

    Args:
        labels: (B, H, W) int64.
        scores: (B, H, W) float32 in [0, 1], how sure each pixel is: a loss weight; 0 where the
            label is ignore, 1 where ``valid`` is false.
        judgements: one per image.
    """

    labels: Tensor
    scores: Tensor
    judgements: list[Judgement]


def correct_images(
    images: Tensor,
    labels: Tensor,
    classifier: ConnectivityClassifier,
    record: FitRecord,
    settings: SCCSettings,
    space: LabelSpace,
    *,
    connectivities: Sequence[Connectivities] | None = None,
    scores: Tensor | None = None,
    valid: Tensor | None = None,
    embeddings: Sequence[Embedding | None] | None = None,
) -> Correction:
    """Correct a batch; see :meth:`seco.ConnectivityCorrector.correct_batch`."""
    ignore = space.ignore_index
    if record.confident and scores is None:
        raise ValueError(
            "confidence: expected one, since the corrector was fitted to samples with confidences, "
            "got None"
        )
    if scores is None:
        scores = (labels != ignore).float()
        if valid is not None:
            scores = torch.where(valid, scores, 1.0)
    known: Sequence[Connectivities | None] = [None] * len(labels)
    if connectivities is not None:
        known = _checked(connectivities, labels, space)
    painted, judgements = [], []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        item, asked = known[index], label
        if valid is not None:
            asked = torch.where(valid[index], label, ignore)
            if item is not None:
                ids = torch.where(valid[index], item.ids, 0)
                item = Connectivities(ids, item.classes, item.scores)
        found = find_connectivities(asked, ignore, settings, known=item)
        embedding = None if embeddings is None else embeddings[index]
        judgement = judge(
            image,
            found,
            classifier,
            record.noise_model,
            record.bank,
            settings,
            confidence=scores[index] if record.confident else None,
            embedding=embedding,
        )
        painted.append(judgement.paint(label, scores[index], ignore))
        judgements.append(judgement)
    return Correction(
        labels=torch.stack([label for label, _ in painted]),
        scores=torch.stack([score for _, score in painted]),
        judgements=judgements,
    )


def _checked(
    connectivities: Sequence[Connectivities], labels: Tensor, space: LabelSpace
) -> list[Connectivities]:
    if not isinstance(connectivities, Iterable):
        raise TypeError(
            f"connectivities: expected seco.Connectivities, got {describe(connectivities)}"
        )
    listed = list(connectivities)
    if len(listed) != len(labels):
        raise ValueError(
            f"connectivities: expected one per image, {len(labels)}, got {len(listed)}"
        )
    for item in listed:
        if not isinstance(item, Connectivities):
            raise TypeError(f"connectivities: expected seco.Connectivities, got {describe(item)}")
        check_connectivities(item, (labels.shape[1], labels.shape[2]), space)
    device = labels.device
    return [
        Connectivities(item.ids.to(device), item.classes.to(device), item.scores.to(device))
        for item in listed
    ]
