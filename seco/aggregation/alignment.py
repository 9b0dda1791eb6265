"""Semantic alignment: every region takes the class that most of its labelled pixels carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seco.regions import Regions, weigh


@dataclass(frozen=True)
class NamedRegions:
    """The regions that took a class.

    Args:
        members: (R, A + 1) bool, as in :class:`seco.Regions`.
        classes: (R,) int64.
        shares: (R,) float64 in (0, 1]: how sure the name is, see :func:`name_regions`.
    """

    members: Tensor
    classes: Tensor
    shares: Tensor

    def __len__(self) -> int:
        return len(self.classes)


def count_votes(regions: Regions, label: Tensor, num_classes: int) -> Tensor:
    """Count the labelled pixels of every class in every region.

    Args:
        regions: of an image of (H, W).
        label: (H, W) int64; ids outside ``0..num_classes - 1`` do not vote.
        num_classes: K.

    Returns:
        (R, K) float64, exact counts.

    Example:
        >>> regions = Regions.from_label_map(torch.tensor([[1, 1, 2]]))
        >>> count_votes(regions, torch.tensor([[0, 1, 255]]), 2).tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    atom_count = regions.members.shape[1]
    votes = (label >= 0) & (label < num_classes)
    # One histogram over (atom, class); the extra class K takes the pixels that do not vote.
    cells = regions.atoms.long() * (num_classes + 1) + torch.where(votes, label, num_classes)
    counts = torch.bincount(cells.flatten(), minlength=atom_count * (num_classes + 1))
    per_atom = counts.reshape(atom_count, num_classes + 1)[:, :num_classes]
    return weigh(regions.members, per_atom.double())


def name_regions(
    regions: Regions,
    label: Tensor,
    num_classes: int,
    *,
    classes: Sequence[int],
    min_share: float,
    everyone: Tensor | None = None,
) -> NamedRegions:
    """Name each region by the class with the largest share of its labelled pixels.

    Where only confident pixels vote, an unsure class in a region that it shares with a sure one
    has no vote at all, and the region would be taken for pure. So the name is the voters', but how
    sure it is (``shares``) is the geometric mean of the class's share among the voters and among
    everyone.

    Pixels of classes that may not name a region still count in the denominator, so that a region
    full of cars is not named road for its few road pixels. A region with no labelled pixel, with
    a largest share of at most ``min_share``, or with two classes tied for it stays unnamed.

    Args:
        regions: of an image of (H, W).
        label: (H, W) int64 labels; other ids than ``0..num_classes - 1`` do not vote.
        num_classes: K.
        classes: ids that may name a region.
        min_share: what the share among the voters must exceed, 0-1.
        everyone: (H, W) int64, the labels of voters and of others; ``label`` if ``None``.

    Source: SeCo, section 3.2, semantic alignment; ``everyone`` is ours.
    """
    counts = count_votes(regions, label, num_classes)
    total = counts.sum(dim=1, keepdim=True).clamp(min=1)
    allowed = torch.zeros(num_classes, dtype=torch.bool, device=counts.device)
    allowed[list(classes)] = True
    shares = torch.where(allowed, counts / total, -1.0)
    best, winner = shares.max(dim=1)
    tied = (shares == best[:, None]).sum(dim=1) > 1
    named = ((best > min_share) & (best > 0) & ~tied).nonzero()[:, 0]
    sure, names = best[named], winner[named]
    if everyone is not None:
        all_counts = count_votes(regions, everyone, num_classes)[named]
        of_all = all_counts.gather(1, names[:, None])[:, 0] / all_counts.sum(dim=1)
        sure = (sure * of_all).sqrt()
    return NamedRegions(regions.members[named], names, sure)
