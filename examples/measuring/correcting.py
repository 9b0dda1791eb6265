"""Correctors fitted to samples' labels, refined, raw or with injected noise, and what they did."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from measuring.refined import Refined

import seco
from seco.connectivities import Connectivities
from seco.correction.protocol import FeatureExtractor, FeatureMap
from seco.correction.samples import find_connectivities
from seco.evaluation import TrueConnectivities, compare_with_truth


class Remembering:
    """A frozen extractor that remembers, since every arm asks about the same images."""

    trained, learning_rate_factor = None, 0.0

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor, self.device, self.describe = extractor, extractor.device, extractor.describe
        self.known: dict[bytes, Sequence[FeatureMap]] = {}

    def __call__(self, image: torch.Tensor) -> Sequence[FeatureMap]:
        """Extract, or answer from memory."""
        key = hashlib.md5(image.contiguous().numpy().tobytes()).digest()
        if key not in self.known:
            self.known[key] = self.extractor(image)
        return self.known[key]


@dataclasses.dataclass(frozen=True)
class Case:
    """An image, the label to correct, how sure that is (H, W), and its regions."""

    group: str
    image: np.ndarray
    label: np.ndarray
    scores: np.ndarray
    regions: Connectivities
    truth: np.ndarray


@dataclasses.dataclass(frozen=True)
class Variant:
    """How labels are corrected: settings, and whether how sure they are counts."""

    settings: seco.SCCSettings
    confident: bool = False


def case(
    item: Refined,
    label: np.ndarray,
    known: Connectivities | None,
    scores: np.ndarray,
    space: seco.LabelSpace,
) -> Case:
    """What a corrector judges: known connectivities, and the components of the rest."""
    wide = torch.from_numpy(label.astype(np.int64))
    regions = find_connectivities(wide, space.ignore_index, seco.SCCSettings(), known=known)
    return Case(item.group, item.image, label, scores, regions, item.truth)


def flipped(item: Refined, share: float, space: seco.LabelSpace, rng: np.random.Generator) -> Case:
    """The true label, but a share of its components has another class, drawn evenly."""
    clean = case(item, item.truth, None, item.confidence, space)
    classes = clean.regions.classes.numpy().copy()
    wrong = rng.random(len(classes)) < share
    count = space.num_classes
    classes[wrong] = (classes[wrong] + rng.integers(1, count, wrong.sum())) % count
    table = np.concatenate([[space.ignore_index], classes])
    regions = dataclasses.replace(clean.regions, classes=torch.from_numpy(classes))
    return dataclasses.replace(clean, label=table[clean.regions.ids.numpy()], regions=regions)


def correct(
    cases: Sequence[Case],
    encoder: object,
    space: seco.LabelSpace,
    variant: Variant,
    seed: int,
) -> list[tuple[Case, np.ndarray, TrueConnectivities]]:
    """Fit to all cases, then correct each; with the truth beside every region."""
    corrector = seco.ConnectivityCorrector(space, encoder, settings=variant.settings, seed=seed)
    sure = [(item.scores,) if variant.confident else () for item in cases]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)
        corrector.fit([(c.image, c.regions, *own) for c, own in zip(cases, sure, strict=True)])
    found = []
    for item in cases:
        details = corrector.correct_with_details(
            item.image, item.label, connectivities=item.regions, confidence=item.scores
        )
        compared = compare_with_truth(details.judgements[0], item.truth, space)
        found.append((item, details.labels[0].numpy(), compared))
    return found
