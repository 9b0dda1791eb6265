"""What becomes of a model's labels: selection, PSA, SCC, and the pixel-wise baseline."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

import seco
from evidence.dividemix import divide_pixels
from evidence.domains import ImageSet
from evidence.kept import Kept
from seco.connectivities import Connectivities
from seco.correction.extractors import ModuleExtractor
from seco.correction.samples import find_connectivities
from seco.sam.proposal_settings import proposal_settings_of

METHODS = {"prompts only": "prompts", "alignment": "alignment", "PSA": "psa"}
IDEAL, EDGES = "ideal regions", "edge regions"
BASE = "base"
"""Self-training without regions."""


@dataclasses.dataclass(frozen=True)
class Refined:
    """Labels (N, H, W) uint8, how sure each pixel is, and the connectivities they consist of."""

    labels: np.ndarray
    scores: np.ndarray
    connectivities: list[Connectivities]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Images with a model's labels of them.

    Args:
        scenes: the images; of what else is known of them only the ceiling sees the objects.
        labels: (N, H, W) uint8, the model's.
        confidence: (N, H, W) float32, or ``None`` if only labels are given out.
        key: all that decides the ``"images"`` and SAM, and all that decides the ``"labels"``.
        space: the classes.
        sam: what is prompted.
        kept: where regions and refinements are kept.
        features: what a corrector sees; ``None``: the SAM's embedding.
        edges: the images' regions that a boundary detector found.
    """

    scenes: ImageSet
    labels: np.ndarray
    confidence: np.ndarray | None
    key: Mapping[str, Any]
    space: seco.LabelSpace
    sam: seco.PromptableSegmenter
    kept: Kept
    features: Callable[[], ModuleExtractor] | None = None
    edges: Callable[[], list[seco.Regions]] | None = None

    def base(self) -> np.ndarray:
        """The most confident half, as the paper's input; all of them without a confidence."""
        if self.confidence is None:
            return self.labels
        wide = torch.from_numpy(self.labels.astype(np.int64))
        chosen = seco.select_confident(wide, torch.from_numpy(self.confidence))
        return chosen.numpy().astype(np.uint8)

    def refined(
        self, method: str, rest: str, settings: seco.PSASettings, keep_fraction: float
    ) -> Refined:
        """Labels after PSA or one of its parts.

        Args:
            method: of ``METHODS``, or whose regions are given, ``IDEAL`` or ``EDGES``.
            rest: "ignored" or "kept": the pixels outside all regions.
            settings: of the aggregation but for the method.
            keep_fraction: of the pixels that vote.
        """
        given = {IDEAL: self._ideal, EDGES: self.edges}.get(method)
        proposals = proposal_settings_of(self.sam)
        own = dataclasses.replace(
            settings, method="psa" if given else METHODS[method], proposals=proposals
        )
        key = {**self.key, "psa": dataclasses.asdict(own), "keep": keep_fraction, "rest": rest,
               "ideal": method == IDEAL, "pixel scores": "float16"}  # fmt: skip
        if method == EDGES:
            key["regions"] = method

        def make() -> dict[str, np.ndarray]:
            regions = given() if given else self._proposals(proposals)
            arrays: dict[str, Any] = {"labels": [], "scores": [], "ids": []}
            for index, image in enumerate(self.scenes.images):
                found = seco.refine_with_details(
                    image,
                    self.labels[index],
                    None if given else self.sam,
                    label_space=self.space,
                    confidence=None if self.confidence is None else self.confidence[index],
                    keep_fraction=keep_fraction,
                    regions=regions[index],
                    outside="keep" if rest == "kept" else "ignore",
                    settings=own,
                )
                (known,) = found.connectivities
                arrays["labels"].append(found.labels[0].numpy().astype(np.uint8))
                arrays["scores"].append(found.scores[0].cpu().numpy().astype(np.float16))
                arrays["ids"].append(known.ids.cpu().numpy().astype(np.int32))
                arrays[f"classes{index}"] = known.classes.cpu().numpy()
                arrays[f"scores{index}"] = known.scores.cpu().numpy()
            return {name: np.stack(value) if isinstance(value, list) else value
                    for name, value in arrays.items()}  # fmt: skip

        arrays = self.kept.arrays("refined", key, make)
        return Refined(
            arrays["labels"],
            arrays["scores"].astype(np.float32),
            [
                Connectivities(
                    torch.from_numpy(ids),
                    torch.from_numpy(arrays[f"classes{index}"]),
                    torch.from_numpy(arrays[f"scores{index}"]),
                )
                for index, ids in enumerate(arrays["ids"])
            ],
        )

    def corrected(
        self,
        refined: Refined | None,
        settings: seco.SCCSettings,
        seed: int,
        *,
        confident: bool = False,
    ) -> np.ndarray:
        """Labels after SCC; of the model's own labels' components if nothing was refined.

        ``confident`` if it counts how sure the labels are.
        """
        labels = self.labels if refined is None else refined.labels
        sure = self.confidence if refined is None else refined.scores
        if confident and sure is None:
            raise ValueError("confident: expected a model's confidence, got none")
        known = [None] * len(labels) if refined is None else refined.connectivities
        regions = [
            find_connectivities(
                torch.from_numpy(label.astype(np.int64)), self.space.ignore_index, settings,
                known=one,
            )
            for label, one in zip(labels, known, strict=True)
        ]  # fmt: skip
        images = self.scenes.images
        counted = sure if confident else [None] * len(labels)
        samples = list(zip(images, regions, *([counted] if confident else []), strict=True))
        encoder = self.sam if self.features is None else self.features().to(self.sam.device)
        corrector = seco.ConnectivityCorrector(self.space, encoder, settings=settings, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)
            corrector.fit(samples)
        return np.stack(
            [
                corrector.correct(image, label, connectivities=one, confidence=own)
                for image, label, one, own in zip(images, labels, regions, counted, strict=True)
            ]
        )

    def divided(
        self,
        labels: np.ndarray,
        warm_up: Callable[[np.ndarray], torch.nn.Module],
        device: torch.device,
        seed: int,
    ) -> np.ndarray:
        """Labels after the pixel-wise baseline, which warms a network up on them first."""
        model = warm_up(labels)
        return divide_pixels(
            model, self.scenes.images, labels, self.space.ignore_index, device, seed
        )

    def _proposals(self, settings: seco.ProposalSettings) -> list[seco.Regions]:
        key = {"images": self.key["images"], "proposals": dataclasses.asdict(settings)}

        def make() -> list[seco.Regions]:
            return [
                seco.propose_regions(image, self.sam, settings=settings)
                for image in self.scenes.images
            ]

        return self.kept.regions(key, make)

    def _ideal(self) -> list[seco.Regions]:
        return [seco.Regions.from_label_map(torch.from_numpy(ids)) for ids in self.scenes.objects]
