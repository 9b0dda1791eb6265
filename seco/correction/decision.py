"""Keep, correct or drop: what becomes of each connectivity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KEEP, CORRECT, DROP = 0, 1, 2
"""The actions, as :class:`Decisions` holds them."""


@dataclass(frozen=True)
class Decisions:
    """What becomes of N connectivities.

    Args:
        actions: (N,) int64, ``KEEP``, ``CORRECT`` or ``DROP``.
        classes: (N,) int64, the class from now on; of a dropped one, the class it had.
        confidences: (N,) float32 in [0, 1]: 1 - noise probability of a kept class, the
            classifier's probability of a corrected one, 0 if dropped.
    """

    actions: Tensor
    classes: Tensor
    confidences: Tensor


def adjust_for_noise(probabilities: Tensor, noise_rate: float) -> Tensor:
    """Class probabilities as they would be had the labels been clean.

    If a share r of labels is wrong, each other class being as likely, a classifier that learnt
    from them says ``(1 - r) p + r / (K - 1) (1 - p)`` of a class that is right with probability p.
    This solves for p. What no class explains, and so is uncertain, stays so.

    Args:
        probabilities: (N, K), the classifier's.
        noise_rate: r; from (K - 1) / K on labels say nothing and nothing is changed.

    Returns:
        (N, K), rows sum to 1.

    Example:
        >>> adjust_for_noise(torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]), 0.2)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.4286, 0.2857, 0.2857]])

    Source: the symmetric case of Patrini et al., "Making deep neural networks robust to label
    noise: a loss correction approach", CVPR 2017.
    """
    count = probabilities.shape[1]
    if noise_rate <= 0 or noise_rate * count >= count - 1:
        return probabilities
    other = noise_rate / (count - 1)
    clean = ((probabilities - other) / (1 - noise_rate - other)).clamp(min=0)
    return clean / clean.sum(dim=1, keepdim=True)


def decide(
    classes: Tensor,
    noise_probability: Tensor,
    probabilities: Tensor,
    *,
    tau_ns: float = 0.6,
    tau_cr: float = 0.95,
) -> Decisions:
    """Apply the paper's rule.

    A class whose noise probability is below ``tau_ns`` is kept. Else the classifier's class takes
    its place if it is more probable than ``tau_cr`` (which keeps a class that the classifier
    confirms so clearly); else the connectivity is dropped: so are things of no known class.

    Args:
        classes: (N,) int64.
        noise_probability: (N,) in [0, 1].
        probabilities: (N, K), the classifier's.
        tau_ns: noise selection threshold (paper: 0.60).
        tau_cr: correction threshold (paper: 0.95).

    Example:
        >>> decided = decide(
        ...     torch.tensor([0, 0, 0]),
        ...     torch.tensor([0.1, 0.9, 0.9]),
        ...     torch.tensor([[0.5, 0.5], [0.01, 0.99], [0.4, 0.6]]),
        ... )
        >>> decided.actions.tolist(), decided.classes.tolist()
        ([0, 1, 2], [0, 1, 0])

    Source: SeCo, section 3.3.
    """
    best, predicted = probabilities.max(dim=1)
    noisy = noise_probability >= tau_ns
    sure = best > tau_cr
    actions = torch.where(noisy, torch.where(sure, CORRECT, DROP), KEEP)
    actions = torch.where(noisy & sure & (predicted == classes), KEEP, actions)
    confidences = torch.where(actions == DROP, 0.0, 1 - noise_probability.float())
    confidences = torch.where(noisy & sure, best.float(), confidences)
    return Decisions(
        actions=actions,
        classes=torch.where(actions == CORRECT, predicted, classes),
        confidences=confidences,
    )
