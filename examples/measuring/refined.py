"""What PSA makes of the samples, kept on disk so that corrections can be measured in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring.samples import EncodeOnce, Sample

import seco
from seco.connectivities import Connectivities

OUTSIDE = ("keep", "ignore")


@dataclass(frozen=True)
class Refined:
    """A sample's image, raw label and truth, and what refining made of the label.

    Args:
        name: of the sample.
        group: of samples that are measured together.
        image: (H, W, 3) uint8.
        label: (H, W) uint8, raw.
        confidence: (H, W) float.
        truth: (H, W) uint8.
        steps: labels, connectivities and scores (H, W) of the refinements, by "SOURCE, OUTSIDE".
    """

    name: str
    group: str
    image: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    steps: dict[str, tuple[np.ndarray, Connectivities, np.ndarray]]


def refined(
    make: Callable[[], Sample],
    path: Path,
    group: str,
    sam: seco.PromptableSegmenter,
    space: seco.LabelSpace,
    settings: seco.PSASettings,
    *,
    sources: Sequence[str],
    outside: Sequence[str] = OUTSIDE,
) -> Refined:
    """Read a sample's refinements, or make and keep them.

    Args:
        make: makes the sample, if the file is not there.
        path: npz file.
        group: of the sample.
        sam: a promptable segmenter.
        space: the classes.
        settings: of the aggregation; one file holds those of one setting.
        sources: "sam", or the name of regions that the sample has.
        outside: see :func:`seco.refine_pseudo_labels`.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = _refine(make(), sam, space, settings, sources, outside)
        np.savez(path.with_suffix(".partial.npz"), **arrays)
        path.with_suffix(".partial.npz").replace(path)
    with np.load(path) as file:
        steps = {}
        for source in sources:
            for rest in outside:
                key = f"{source}_{rest}"
                known = Connectivities(
                    torch.from_numpy(file[f"{key}_ids"].astype(np.int32)),
                    torch.from_numpy(file[f"{key}_classes"].astype(np.int64)),
                    torch.from_numpy(file[f"{key}_scores"]),
                )
                scores = file[f"{key}_pixel_scores"].astype(np.float32)
                steps[f"{source}, {rest}"] = file[f"{key}_label"], known, scores
        return Refined(
            path.stem,
            group,
            file["image"],
            file["label"],
            file["conf"].astype(np.float32),
            file["truth"],
            steps,
        )


def _refine(
    sample: Sample,
    sam: seco.PromptableSegmenter,
    space: seco.LabelSpace,
    settings: seco.PSASettings,
    sources: Sequence[str],
    outside: Sequence[str],
) -> dict[str, np.ndarray]:
    remembered = EncodeOnce(sam)
    arrays = {
        "image": sample.image,
        "label": sample.label.astype(np.uint8),
        "conf": sample.confidence.astype(np.float16),
        "truth": sample.truth.astype(np.uint8),
    }
    for source in sources:
        if source == "sam":
            regions = seco.propose_regions(sample.image, remembered, settings=settings.proposals)
        else:
            regions = sample.regions[source]
        for rest in outside:
            found = seco.refine_with_details(
                sample.image,
                sample.label,
                remembered if source == "sam" else None,
                label_space=space,
                confidence=sample.confidence,
                regions=regions,
                outside=rest,
                settings=settings,
            )
            (known,) = found.connectivities
            arrays |= {
                f"{source}_{rest}_label": found.labels[0].numpy().astype(np.uint8),
                f"{source}_{rest}_ids": known.ids.numpy(),
                f"{source}_{rest}_classes": known.classes.numpy(),
                f"{source}_{rest}_scores": known.scores.numpy(),
                f"{source}_{rest}_pixel_scores": found.scores[0].numpy().astype(np.float16),
            }
    return arrays
