"""What a fitted corrector is asked about: checked, and as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_labels
from seco.common.images import (
    check_pair,
    confidence_to_batch,
    labels_to_batch,
    mask_to_batch,
    to_batch,
)
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.connectivities import Connectivities


@dataclass(frozen=True)
class Question:
    """B images with their labels; see :meth:`seco.ConnectivityCorrector.correct_batch`."""

    images: Tensor
    labels: Tensor
    connectivities: Sequence[Connectivities] | None
    scores: Tensor | None
    valid: Tensor | None


def read_question(
    img: Array | Tensor,
    pl: Array | Tensor,
    space: LabelSpace,
    *,
    connectivities: Connectivities | Sequence[Connectivities] | None = None,
    confidence: Array | Tensor | None = None,
    valid: Array | Tensor | None = None,
    normalization: Normalization | None = None,
) -> Question:
    """Check what :meth:`seco.ConnectivityCorrector.correct` was given.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.
    """
    images = to_batch(img, normalization=normalization)
    check_labels("pl", pl, space)
    check_pair(img, pl)
    labels = labels_to_batch(pl)
    if isinstance(connectivities, Connectivities):
        connectivities = [connectivities]
    scores = None if confidence is None else confidence_to_batch("confidence", confidence, labels)
    inside = None if valid is None else mask_to_batch("valid", valid, labels)
    return Question(images, labels, connectivities, scores, inside)
