"""What a fitted classifier and mixture say about an image's connectivities, and the new label."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.precision import exact
from seco.common.tables import take_rows
from seco.connectivities import Connectivities
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.decision import CORRECT, DROP, Decisions, adjust_for_noise, decide
from seco.correction.mixture import NoiseModel
from seco.correction.neighbours import NeighbourBank, neighbour_classes
from seco.correction.samples import mean_confidences
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.settings import SCCSettings
from seco.sam.protocol import Embedding

LEAST_CONFIDENCE = 0.02
"""In a label, as a witness: nothing is more doubtful, so that a loss has an end."""


@dataclass(frozen=True)
class Judgement:
    """What was found out about the N connectivities of one image; row n - 1 is connectivity n.

    Args:
        connectivities: as they were before, with their classes then.
        losses: (N,) float32, cross-entropy of their classes under the classifier and, if the
            settings say so, their neighbours; with how sure the labels are, see
            :func:`measure_losses`.
        noise_probability: (N,) float32 in [0, 1], the paper's eta.
        predictions: (N,) int64, the most probable class.
        prediction_probability: (N,) float32 in [0, 1], of that class, adjusted for noise if the
            settings say so.
        decisions: what became of them.
    """

    connectivities: Connectivities
    losses: Tensor
    noise_probability: Tensor
    predictions: Tensor
    prediction_probability: Tensor
    decisions: Decisions

    @property
    def scores(self) -> Tensor:
        """How sure the new classes are: (N,) float32 in [0, 1]."""
        decided = self.decisions
        before = torch.where(decided.actions == CORRECT, 1.0, self.connectivities.scores)
        return decided.confidences * before

    def corrected(self) -> Connectivities:
        """The connectivities that are left, with their new classes and scores."""
        decided = replace(self.connectivities, classes=self.decisions.classes, scores=self.scores)
        return decided.only(self.decisions.actions != DROP)

    def paint(self, label: Tensor, score: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        """The new label and how sure each pixel of it is.

        Args:
            label: (H, W) int64, the label before, which pixels of no connectivity keep.
            score: (H, W) float32 in [0, 1], how sure each pixel was before.
            ignore_index: of dropped connectivities.

        Returns:
            (H, W) int64, and (H, W) float32: of a kept connectivity the score before times its
            probability of not being noise (or, if it is kept because the classifier is sure of its
            class, times that probability), of a corrected one the classifier's probability, of a
            dropped one 0.
        """
        decided = self.decisions
        ids = self.connectivities.ids
        classes = torch.where(decided.actions == DROP, ignore_index, decided.classes)
        # A score before counts for what is kept, and not for what is corrected. Row 0 is of no
        # connectivity: its pixels keep their scores, and their labels.
        corrected = decided.actions == CORRECT
        factor = F.pad(torch.where(corrected, 0.0, decided.confidences), (1, 0), value=1.0)
        offset = F.pad(torch.where(corrected, decided.confidences, 0.0), (1, 0))
        return (
            torch.where(ids > 0, take_rows(F.pad(classes, (1, 0)), ids), label),
            torch.addcmul(take_rows(offset, ids), take_rows(factor, ids), score),
        )


def measure_losses(
    features: Tensor,
    classes: Tensor,
    classifier: ConnectivityClassifier,
    bank: NeighbourBank | None,
    count: int,
    *,
    confidences: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Losses (N,) and class probabilities (N, K), float32, on the device of the classes.

    How sure the labels are is a second witness: the probability of a class is then that of the
    classifier times that of the label, so that its logarithm is added to the loss. (The class
    probabilities are the classifier's alone: the label says nothing of other classes.)

    Args:
        features: (N, C) float32, as the classifier gives them.
        classes: (N,) int64.
        classifier: a trained one.
        bank: regions whose classes count for half; ``None``: the classifier alone.
        count: how many of them for each connectivity.
        confidences: (N,) float32 in [0, 1], how sure the labels are; ``None``: nobody knows.

    Raises:
        FloatingPointError: the features, and so the logits, are not finite.
    """
    logits = classifier.classify(features).to(classes.device)
    if not bool(torch.isfinite(logits).all()):
        raise FloatingPointError(
            "encoder: expected finite features, got NaN or infinity; a network in float16 "
            "overflows easily: use bfloat16 or float32"
        )
    doubt = 0.0 if confidences is None else -confidences.clamp(min=LEAST_CONFIDENCE).log()
    if bank is None:
        return F.cross_entropy(logits, classes, reduction="none") + doubt, logits.softmax(dim=1)
    own = classes.to(features.device)
    shares, any_found = (
        part.to(classes.device)
        for part in neighbour_classes(
            features, own, bank.to(features.device), count, classifier.num_classes
        )
    )
    alone = logits.log_softmax(dim=1)
    # The logarithm of the mean; a probability that underflows keeps a finite one.
    both = torch.logaddexp(alone, shares.log()) - math.log(2)
    logs = torch.where(any_found[:, None], both, alone)
    return F.nll_loss(logs, classes, reduction="none") + doubt, logs.exp()


def judge(
    image: Tensor,
    connectivities: Connectivities,
    classifier: ConnectivityClassifier,
    noise_model: NoiseModel,
    bank: NeighbourBank | None,
    settings: SCCSettings,
    *,
    confidence: Tensor | None = None,
    embedding: Embedding | None = None,
) -> Judgement:
    """Judge one image's connectivities; the extractor runs once, and not at all for none.

    ``confidence``, (H, W) float in [0, 1], says how sure the labels are, where the losses that the
    mixture was fitted to count it. With the ``embedding`` of the image by its segmenter the
    extractor need not encode it again.
    """
    device = connectivities.ids.device
    if len(connectivities) == 0:
        losses = torch.zeros(0, dtype=torch.float32, device=device)
        probabilities = losses.new_zeros(0, classifier.num_classes)
    else:
        with exact(classifier.extractor.device):
            maps, extractor = None, classifier.extractor
            if embedding is not None and isinstance(extractor, SegmenterExtractor):
                maps = extractor(image, embedding=embedding)
            features = classifier.features(
                image, connectivities.ids, len(connectivities), maps=maps
            )
            sure = None
            if confidence is not None:
                sure = mean_confidences(connectivities, confidence)
            losses, probabilities = measure_losses(
                features,
                connectivities.classes,
                classifier,
                bank,
                settings.neighbours,
                confidences=sure,
            )
    noise = torch.from_numpy(
        noise_model.noise_probability(losses.cpu().numpy(), connectivities.classes.cpu().numpy())
    )
    noise = noise.float().to(device)
    if settings.noise_adjusted:
        probabilities = adjust_for_noise(probabilities, noise_model.noise_rate)
    best, predictions = probabilities.max(dim=1)
    decisions = decide(
        connectivities.classes,
        noise,
        probabilities,
        tau_ns=settings.tau_ns,
        tau_cr=settings.tau_cr,
    )
    return Judgement(connectivities, losses, noise, predictions, best, decisions)
