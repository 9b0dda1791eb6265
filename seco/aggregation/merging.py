"""The merge rule: what one pixel becomes, given everything that claims it.

The paper says that overlapping connectivities are filtered, not how. Here every pixel weighs the
evidence for each class c::

    E(c) = mean over the named regions over the pixel of [region named c] * its share
         + thing_weight * max over the prompted masks over it of [mask of c] * agreement
         + prior_weight * confidence * [the pixel's own label is c]

and takes the class with the most. Where no named region lies, the masks alone decide. Of regions
(or of masks) tied for the most, the pixel's own label wins if it is among their classes, else none
does; a mask tied with the regions and the own label wins. A mask that agrees with the labels thus
lies over the stuff around it, however small; with a ``thing_weight`` that nothing else reaches
every mask does. A component whose mask was not believed keeps the pixels that all this leaves
open, with their own confidence. The rule names no class by its id, so that renumbering the classes
renumbers the result and changes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seco.aggregation.alignment import NamedRegions
from seco.aggregation.claims import Claims, best_first
from seco.common.tables import take_rows
from seco.regions import weigh

NONE = -1
# Far below any difference that means something, far above float64 rounding.
TIE = 1e-9


@dataclass(frozen=True)
class Merged:
    """What every pixel became.

    Args:
        label: (P,) int64, the class; ``NONE`` where nothing but the pixel's own label speaks, or
            where a tie stays open.
        score: (P,) float32 in [0, 1]: the winner's evidence over the weight of all that spoke.
        source: (P,) int64: 0 none, 1 .. R the region, R + 1 .. R + N the prompted mask that the
            pixel belongs to.
    """

    label: Tensor
    score: Tensor
    source: Tensor


def merge(
    own: Tensor,
    confidence: Tensor | float,
    atoms: Tensor,
    regions: NamedRegions,
    claims: Claims,
    num_classes: int,
    *,
    thing_weight: float,
    prior_weight: float,
) -> Merged:
    """Decide every pixel by the rule above.

    Args:
        own: (P,) int64, each pixel's own label; outside ``0..num_classes - 1`` if it has none.
        confidence: (P,) float in [0, 1], of that label; or one number for all.
        atoms: (P,) integer, the atom of each pixel.
        regions: the named regions.
        claims: the prompted masks.
        num_classes: K.
        thing_weight: of a prompted mask.
        prior_weight: of the pixel's own label.
    """
    known = (own >= 0) & (own < num_classes)
    own = torch.where(known, own, num_classes)
    support, best_region = _support_by_atom(regions, num_classes)
    weights = prior_weight * torch.as_tensor(confidence, device=own.device).double()
    atoms = atoms.long()
    if weights.ndim:
        cases = _by_regions(atoms, own, weights, support, best_region, prior_weight)
        label, score, source = cases.label, cases.score(), cases.source
    else:  # pixels of one atom and one label are one case
        rows = torch.arange(len(support), device=own.device).repeat_interleave(num_classes + 1)
        columns = torch.arange(num_classes + 1, device=own.device).repeat(len(support))
        cases = _by_regions(rows, columns, weights, support, best_region, prior_weight)
        case = atoms * (num_classes + 1) + own
        label, score, source = (
            take_rows(part, case) for part in (cases.label, cases.score(), cases.source)
        )
    if len(claims.pixel):
        claimed = torch.zeros_like(known).index_fill_(0, claims.pixel, True).nonzero()[:, 0]
        place = torch.empty_like(own)
        place[claimed] = torch.arange(len(claimed), device=own.device)
        after = _by_claims(
            cases.at(claimed if weights.ndim else take_rows(case, claimed)),
            take_rows(place, claims.pixel),
            claims,
            take_rows(atoms, claimed),
            take_rows(own, claimed),
            take_rows(weights, claimed) if weights.ndim else weights,
            support,
            thing_weight=thing_weight,
            first_source=1 + len(regions),
        )
        decided = (label, after.label), (score, after.score()), (source, after.source)
        for before, now in decided:
            before.index_copy_(0, claimed, now)
    if len(claims.kept_pixel):
        still_open = (take_rows(label, claims.kept_pixel) == NONE).nonzero()[:, 0]
        pixel = take_rows(claims.kept_pixel, still_open)
        owner = take_rows(claims.kept_owner, still_open)
        certainty = torch.as_tensor(confidence, device=own.device).float()
        label[pixel] = take_rows(claims.classes, owner)
        score[pixel] = certainty[pixel] if certainty.ndim else certainty
        source[pixel] = 1 + len(regions) + owner
    return Merged(label, score, source)


@dataclass(frozen=True)
class _Decided:
    """What has been decided of P pixels, and on what evidence.

    Args:
        label: (P,) int64, as in :class:`Merged`.
        evidence: (P,) float64 for that label.
        spoken: (P,) float64, the weight of all that spoke.
        source: (P,) int64, as in :class:`Merged`.
    """

    label: Tensor
    evidence: Tensor
    spoken: Tensor
    source: Tensor

    def at(self, index: Tensor) -> _Decided:
        """Those at ``index``."""
        return _Decided(*(take_rows(part, index) for part in vars(self).values()))

    def score(self) -> Tensor:
        """(P,) float32, as in :class:`Merged`."""
        share = self.evidence / self.spoken.clamp(min=TIE)
        return torch.where(self.label == NONE, 0.0, share).clamp(max=1).float()


def _by_regions(
    atoms: Tensor,
    own: Tensor,
    weights: Tensor,
    support: Tensor,
    best_region: Tensor,
    prior_weight: float,
) -> _Decided:
    """Decide pixels by the regions and their own labels alone.

    Args:
        atoms: (P,) int64. own: (P,) int64 in 0..K, K for none.
        weights: (P,) or () float64, of the own labels.
        support: (A + 1, K). best_region: (A + 1, K); see :func:`_support_by_atom`.
        prior_weight: the most that an own label can weigh.
    """
    num_classes = support.shape[1]
    known = own < num_classes
    own = own.clamp(max=num_classes - 1)
    top, top_class = support.max(dim=1)
    open_tie = (support >= top[:, None] - TIE).sum(dim=1) > 1
    covered = top > 0
    cell = atoms * num_classes + own

    evidence = take_rows(top, atoms)
    label = take_rows(torch.where(covered & ~open_tie, top_class, NONE), atoms)
    own_evidence = take_rows(support.flatten(), cell) + weights
    over = take_rows(covered, atoms)
    own_wins = over & known & (own_evidence >= evidence - TIE)
    label = torch.where(own_wins, own, label)
    evidence = torch.where(own_wins, own_evidence, evidence)
    spoken = over.double() + torch.where(known, prior_weight, 0.0)
    place = atoms * num_classes + label.clamp(min=0)
    source = take_rows(best_region.flatten(), place)
    return _Decided(label, evidence, spoken, torch.where(label == NONE, 0, source))


def _by_claims(
    before: _Decided,
    pixel: Tensor,
    claims: Claims,
    atoms: Tensor,
    own: Tensor,
    weights: Tensor,
    support: Tensor,
    *,
    thing_weight: float,
    first_source: int,
) -> _Decided:
    """Decide the C pixels that prompted masks claim.

    Args:
        before: what the regions made of them.
        pixel: (T,) int64, for each claim the place of its pixel among the C.
        claims: T of them.
        atoms: (C,) int64. own: (C,) int64 in 0..K, K for none. weights: (C,) or () float64.
        support: (A + 1, K).
        thing_weight: of a mask.
        first_source: the source of the first mask.
    """
    owner, kind = claims.owner, take_rows(claims.classes, claims.owner)
    num_classes = support.shape[1]
    prior = take_rows(weights, pixel) if weights.ndim else weights
    own_kind = take_rows(own, pixel) == kind
    claim = (
        thing_weight * take_rows(claims.agreements, owner)
        + take_rows(support.flatten(), take_rows(atoms, pixel) * num_classes + kind)
        + torch.where(own_kind, prior, 0.0)
    )
    strongest = torch.zeros_like(before.evidence).scatter_reduce_(0, pixel, claim, reduce="amax")
    leading = (claim >= take_rows(strongest, pixel) - TIE).nonzero()[:, 0]
    pixel, owner, kind, own_kind = (
        take_rows(part, leading) for part in (pixel, owner, kind, own_kind)
    )
    low = torch.full_like(own, num_classes).scatter_reduce_(0, pixel, kind, reduce="amin")
    high = torch.full_like(own, NONE).scatter_reduce_(0, pixel, kind, reduce="amax")
    own_leads = torch.zeros_like(own, dtype=torch.bool)
    own_leads[pixel[own_kind]] = True
    winner = torch.where(low == high, high, torch.where(own_leads, own, NONE))
    # A claim equal to the best evidence of stuff wins: things lie over stuff.
    wins = strongest >= before.evidence - TIE
    # Of several masks of the winning class, the one that agrees most, then the first.
    order, rank = best_first(claims.agreements)
    mine = (kind == take_rows(winner, pixel)).nonzero()[:, 0]
    best = torch.full_like(own, len(order)).scatter_reduce_(
        0, take_rows(pixel, mine), take_rows(rank, take_rows(owner, mine)), reduce="amin"
    )
    mask = first_source + take_rows(order, best.clamp(max=len(order) - 1))
    return _Decided(
        label=torch.where(wins, winner, before.label),
        evidence=torch.where(wins, strongest, before.evidence),
        spoken=before.spoken + thing_weight,
        source=torch.where(wins, torch.where(winner == NONE, 0, mask), before.source),
    )


def _support_by_atom(regions: NamedRegions, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mean share per class of the regions over each atom, and the best region of each class.

    Returns:
        (A + 1, K) float64, and (A + 1, K) int64: 1 + the region with the largest share, 0 if none.
    """
    over_atoms = regions.members.T  # (A + 1, R)
    over = weigh(over_atoms, torch.ones_like(regions.shares)).clamp(min=1)
    share = regions.shares.new_zeros(len(regions), num_classes)
    share.scatter_(1, regions.classes[:, None], regions.shares[:, None])
    support = weigh(over_atoms, share) / over[:, None]

    order = torch.argsort(regions.shares, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(1, len(order) + 1, device=order.device)
    region, atom = regions.members.nonzero(as_tuple=True)
    best = torch.zeros(support.numel(), dtype=torch.int64, device=order.device)
    best.scatter_reduce_(
        0, atom * num_classes + regions.classes[region], rank[region], reduce="amax"
    )
    number = torch.cat([order.new_zeros(1), order + 1])[best]
    return support, number.reshape(support.shape)
