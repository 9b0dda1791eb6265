"""The demo: label street scenes with a segmenter that is out of its domain, refine, measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seco.common.arrays import Array
from seco.common.files import write_bytes
from seco.common.label_spaces import STREETS
from seco.common.numbers import percent, plain
from seco.common.plots import write_figure
from seco.demo.scenes import Scene, street_scene, training_note
from seco.demo.segmenter import load_segmenter, predict
from seco.evaluation import Confusion, confusion
from seco.plots import before_after
from seco.refine import refine_pseudo_labels
from seco.sam.loading import load_sam
from seco.settings import PSASettings

_SHOWN = 4


@dataclass(frozen=True)
class DemoResult:
    """What the demo saw and measured.

    Args:
        seeds: of the scenes.
        scenes: N scenes in the camera domain.
        raw: N label maps (H, W) uint8 of the bundled segmenter.
        refined: the same, refined with the bundled tiny SAM.
    """

    seeds: tuple[int, ...]
    scenes: tuple[Scene, ...]
    raw: tuple[Array, ...]
    refined: tuple[Array, ...]

    def confusions(self) -> tuple[Confusion, Confusion]:
        """Raw and refined labels against the truth, pooled over the scenes."""
        return self._pooled(self.raw), self._pooled(self.refined)

    def _pooled(self, labels: tuple[Array, ...]) -> Confusion:
        counts = [
            confusion(label, scene.label, STREETS).counts
            for label, scene in zip(labels, self.scenes, strict=True)
        ]
        return Confusion(np.sum(counts, axis=0))

    def numbers(self) -> dict[str, Any]:
        """The measures as plain numbers, for JSON; ``None`` for a class that does not occur."""
        before, after = self.confusions()
        return {
            "seeds": list(self.seeds),
            "size": list(self.scenes[0].label.shape),
            "raw": _measures(before),
            "refined": _measures(after),
        }

    def table(self) -> str:
        """The measures as a markdown table, in percent."""
        before, after = self.confusions()
        rows = [
            *zip(STREETS.names, before.iou, after.iou, strict=True),
            ("**mean IoU**", before.mean_iou, after.mean_iou),
            ("labelled pixels", before.coverage, after.coverage),
            ("of these right", before.accuracy, after.accuracy),
        ]
        lines = [
            f"| {name:15} | {percent(old):>6} | {percent(new):>6} | {percent(new - old, '+'):>6} |"
            for name, old, new in rows
        ]
        head = f"| {'IoU, %':15} |    raw | refined | change |"
        return "\n".join([head, "|:----------------|-------:|--------:|-------:|", *lines])

    def summary(self) -> str:
        """One line: what was done and what came out."""
        before, after = self.confusions()
        count = len(self.scenes)
        return (
            f"{count} street scene{'s' if count != 1 else ''}{training_note(self.seeds)}: "
            f"mean IoU of the labels {100 * before.mean_iou:.1f} % raw, "
            f"{100 * after.mean_iou:.1f} % refined"
        )


def run_demo(
    seeds: Sequence[int],
    *,
    size: tuple[int, int] = (256, 256),
    settings: PSASettings = PSASettings(),
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> DemoResult:
    """Draw scenes, label them, refine the labels.

    Args:
        seeds: of the scenes, see :mod:`seco.demo.scenes`; at least one.
        size: height and width of the scenes; the default is the tiny SAM's own frame.
        settings: of the refinement.
        progress: wraps the seeds while they are worked on, such as ``tqdm``.

    Raises:
        ValueError: no seed, a negative one, or a size that is too small.

    Example:
        >>> from seco import ProposalSettings
        >>> quick = PSASettings(proposals=ProposalSettings(points_per_side=4))
        >>> result = run_demo([100_000], size=(64, 128), settings=quick)
        >>> result.refined[0].shape, result.refined[0].dtype
        ((64, 128), dtype('uint8'))
    """
    if len(seeds) == 0:
        raise ValueError("seeds: expected at least one, got none")
    segmenter = load_segmenter()
    sam = load_sam("tiny")
    scenes, raw, refined = [], [], []
    for seed in progress(seeds):
        scene = street_scene(seed, size=size, domain="camera")
        labels, confidence = predict(segmenter, scene.image[None])
        scenes.append(scene)
        raw.append(labels[0])
        refined.append(
            refine_pseudo_labels(
                scene.image,
                labels[0],
                sam,
                label_space=STREETS,
                confidence=confidence[0],
                outside="keep",  # the tiny SAM leaves much of an image without a region
                settings=settings,
            )
        )
    return DemoResult(tuple(seeds), tuple(scenes), tuple(raw), tuple(refined))


def write_demo(result: DemoResult, out: Path) -> list[Path]:
    """Write figure (of the first scenes), table and numbers; the same result, the same bytes.

    Args:
        result: from :func:`run_demo`.
        out: an existing folder.

    Returns:
        The files: ``demo.png``, ``demo.md``, ``demo.json``.

    Raises:
        OSError: a file cannot be written.
    """
    shown = slice(0, _SHOWN)
    scenes = result.scenes[shown]
    figure = before_after(
        [scene.image for scene in scenes],
        result.raw[shown],
        result.refined[shown],
        STREETS,
        truth=[scene.label for scene in scenes],
        titles=("raw pseudo-label", "refined"),
        show_changes=False,
    )
    paths = [out / "demo.png", out / "demo.md", out / "demo.json"]
    write_figure(paths[0], figure)
    write_bytes(paths[1], f"{result.table()}\n\n{result.summary()}\n".encode())
    write_bytes(paths[2], (json.dumps(result.numbers(), indent=2) + "\n").encode())
    return paths


def _measures(found: Confusion) -> dict[str, Any]:
    return {
        "iou": {
            name: plain(value, 4) for name, value in zip(STREETS.names, found.iou, strict=True)
        },
        "mean_iou": plain(found.mean_iou, 4),
        "coverage": plain(found.coverage, 4),
        "accuracy": plain(found.accuracy, 4),
    }
