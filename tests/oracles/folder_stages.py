"""Six images with speckled labels, and the stages on them; next to nothing needs SAM."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

import seco
from seco import CITYSCAPES, SCCSettings
from seco.common.jobs import JobOptions, Summary
from seco.folder import (
    OutputFormat,
    Refiner,
    correct_folder,
    find_inputs,
    fit_folder,
    refine_folder,
)

SIZE = (24, 32)
PALETTE = OutputFormat()
QUICK = SCCSettings(iterations=4, batch_size=4)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, its true label, and that with a tenth of the pixels missing."""
    rng = np.random.default_rng(seed)
    label = np.full(SIZE, 10, np.uint8)
    label[SIZE[0] // 2 :] = 0
    column = int(rng.integers(4, 20))
    label[8:18, column : column + 8] = 13
    noise = rng.integers(0, 20, (*SIZE, 3))
    image = np.array(CITYSCAPES.colours, np.uint8)[label] // 2 + noise.astype(np.uint8)
    speckled = np.where(rng.random(SIZE) < 0.1, 255, label).astype(np.uint8)
    return image, label, speckled


def vote(
    work: Path, out: str = "out", output: OutputFormat = PALETTE, **options: object
) -> Summary:
    refiner = Refiner(None, CITYSCAPES, regions=work / "regions")
    return refine_folder(
        find_inputs(work / "images", work / "labels"), work / out, refiner,
        output=output, options=JobOptions(**options),
    )  # fmt: skip


def fit(
    work: Path, labels: str = "labels", connectivities: Path | None = None, **options: object
) -> Summary:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        return fit_folder(
            find_inputs(work / "images", work / labels), work / "corrector",
            label_space=CITYSCAPES, settings=QUICK, checkpoint_every=1,
            connectivities=connectivities, options=JobOptions(**options),
        )  # fmt: skip


def vote_in_parts(work: Path) -> Summary:
    """Refine with regions of one class that touch each other, as two cars do."""
    for seed in range(6):
        _, label, _ = scene(seed)
        parts = label.astype(np.int64) + 1
        parts[:, 16:] += 100
        name = f"part{seed % 2}/{seed}"
        seco.Regions.from_label_map(torch.from_numpy(parts)).save(work / f"regions/{name}.npz")
    return vote(work, "refined", OutputFormat(connectivities=work / "parts"))


def correct(work: Path, out: str, **options: object) -> Summary:
    inputs = find_inputs(work / "images", work / "refined")
    return correct_folder(inputs, work / "corrector", work / out, **options)
