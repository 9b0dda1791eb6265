"""An image and the regions of its label: checked, and found where they are not given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_labels, describe
from seco.common.images import (
    check_pair,
    confidence_to_batch,
    labels_to_batch,
    to_batch,
)
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.components import connected_components
from seco.connectivities import Connectivities, check_connectivities
from seco.correction.settings import SCCSettings

Sample = (
    tuple[Array | Tensor, Array | Tensor | Connectivities]
    | tuple[Array | Tensor, Array | Tensor | Connectivities, Array | Tensor]
)
"""An image with its label or connectivities and, possibly, how sure they are."""

_STEPS = 1 << 16  # of a confidence: sums of integers are the same in any order


@dataclass(frozen=True)
class Scene:
    """One image and what is to be learnt from it or judged in it.

    Args:
        image: (3, H, W), uint8 or float32 in 0-255.
        connectivities: with ids of size (H, W).
        areas: (N,) int64, pixels.
        confidences: (N,) float32 in [0, 1], how sure the labels are; ``None``: nobody said.
        given: whether the connectivities are the caller's, or the components of a label.
    """

    image: Tensor
    connectivities: Connectivities
    areas: Tensor
    confidences: Tensor | None = None
    given: bool = False

    @classmethod
    def of(
        cls,
        image: Tensor,
        connectivities: Connectivities,
        confidence: Tensor | None = None,
        *,
        given: bool = False,
    ) -> Scene:
        """Measure areas and, of a map (H, W) of them, confidences."""
        areas = torch.bincount(connectivities.ids.flatten(), minlength=len(connectivities) + 1)
        sure = None
        if confidence is not None:
            sure = mean_confidences(connectivities, confidence)
        return cls(image, connectivities, areas[1:], sure, given)

    def flipped(self) -> Scene:
        """The mirror image, left and right exchanged."""
        mirrored = replace(self.connectivities, ids=self.connectivities.ids.flip(1))
        return replace(self, image=self.image.flip(2), connectivities=mirrored)


def mean_confidences(connectivities: Connectivities, confidence: Tensor) -> Tensor:
    """How sure the pixels of each connectivity are on average.

    Args:
        connectivities: N of an image.
        confidence: (H, W) float in [0, 1], on their device.

    Returns:
        (N,) float32 in [0, 1]; 1 of one without a pixel.

    Example:
        >>> ids = torch.tensor([[1, 1, 2, 0]])
        >>> two = Connectivities(ids, torch.tensor([0, 1]), torch.ones(2))
        >>> mean_confidences(two, torch.tensor([[0.25, 0.75, 1.0, 0.0]]))
        tensor([0.5000, 1.0000])
    """
    ids = connectivities.ids.flatten().long()
    steps = (confidence.flatten() * _STEPS).round().long()
    sums = steps.new_zeros(len(connectivities) + 1).index_add_(0, ids, steps)
    areas = torch.bincount(ids, minlength=len(sums))
    means = sums.double() / (areas * _STEPS).clamp(min=1)
    return torch.where(areas > 0, means, 1.0)[1:].float()


def read_scene(
    img: Array | Tensor,
    label: Array | Tensor | Connectivities,
    space: LabelSpace,
    settings: SCCSettings,
    *,
    confidence: Array | Tensor | None = None,
    normalization: Normalization | None = None,
) -> Scene:
    """Check one image with its label and find the connectivities.

    Raises:
        TypeError, ValueError: as :func:`seco.refine_pseudo_labels`.
    """
    images = to_batch(img, normalization=normalization)
    if len(images) != 1:
        raise ValueError(f"img: expected one image, got {len(images)}")
    given = isinstance(label, Connectivities)
    if isinstance(label, Connectivities):
        check_connectivities(label, (images.shape[2], images.shape[3]), space)
        found = label
    elif isinstance(label, list):
        raise TypeError(
            "label: expected a label map, or the seco.Connectivities of one image "
            f"(details.connectivities[0]), got {describe(label)}"
        )
    else:
        check_labels("label", label, space)
        check_pair(img, label)
        found = find_connectivities(labels_to_batch(label)[0], space.ignore_index, settings)
    sure = None
    if confidence is not None:
        sure = confidence_to_batch("confidence", confidence, found.ids[None])[0]
    return Scene.of(images[0], found, sure, given=given)


def find_connectivities(
    label: Tensor,
    ignore_index: int,
    settings: SCCSettings,
    *,
    known: Connectivities | None = None,
) -> Connectivities:
    """The regions of one class each that a label consists of.

    Args:
        label: (H, W) int64.
        ignore_index: of unlabelled pixels.
        settings: for ``connectivity``.
        known: connectivities of an aggregation; what of the label lies outside them is added as
            connected components. ``None``: all of it is.

    Returns:
        Tensors on the device of ``label``; a component has score 1.
    """
    rest = label if known is None else torch.where(known.ids == 0, label, ignore_index)
    if known is not None and bool((rest == ignore_index).all()):
        return known
    found = connected_components(
        rest.cpu().numpy(), ignore_index=ignore_index, connectivity=settings.connectivity
    )
    ids = torch.from_numpy(found.ids).to(label.device)
    classes = torch.from_numpy(found.classes).to(label.device)
    added = Connectivities(ids, classes, torch.ones_like(classes, dtype=torch.float32))
    if known is None:
        return added
    return Connectivities(
        ids=torch.where(ids > 0, ids + len(known), known.ids).to(torch.int32),
        classes=torch.cat([known.classes, added.classes]),
        scores=torch.cat([known.scores, added.scores]),
    )
