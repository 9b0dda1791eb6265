"""The demo: game scenes translated to the camera look, with and without their labels' guidance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from seco.common.confusion import Confusion, confusion, mean_of_known
from seco.common.files import write_bytes
from seco.common.label_spaces import STREETS
from seco.common.numbers import percent, plain
from seco.common.plots import write_figure
from seco.demo.scenes import DEV_SEEDS, street_scene, training_note
from sgg.demo.measures import Ruler, oracle_labels
from sgg.demo.models import SIZE, load_diffusion, load_oracle, load_segmenter, street_batch
from sgg.plots import translation_strips
from sgg.translation import translate

ARMS: Mapping[str, Literal["none", "local", "global", "sgg"]] = MappingProxyType(
    {"unguided": "none", "LCG": "local", "GSG": "global", "SGG": "sgg"}
)
"""Name in tables -> ``guidance`` of :func:`sgg.translate`."""

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"strength": 0.5, "num_inference_steps": 10, "guidance_scale": 1.0}
)
"""Of the demo's translations; how they were chosen: docs/translation.md."""

SMALL = ("pole", "traffic light", "traffic sign", "person", "bicycle")
"""Thin and small classes, whose mean is told apart."""

_SHOWN = 3
_TARGETS = 100


@dataclass(frozen=True)
class DemoResult:
    """What was translated, and what the measures say.

    Args:
        seeds: of the scenes.
        options: of the translations.
        labels: (N, H, W) uint8, the source labels.
        images: kind -> (N, 3, H, W) uint8: "source", the four arms, and "target", the same
            scenes as the camera would see them, which no translation has seen.
        seen: kind -> (N, H, W) uint8, the oracle's labels of the images.
        distances: kind -> distance to the target domain by network features and by colours, as
            parts of the source images' distance.
    """

    seeds: tuple[int, ...]
    options: dict[str, Any]
    labels: Tensor
    images: dict[str, Tensor]
    seen: dict[str, Tensor]
    distances: dict[str, tuple[float, float]]

    def confusions(self) -> dict[str, Confusion]:
        """What the oracle sees against the source labels, pooled over the scenes."""
        return {kind: confusion(seen, self.labels, STREETS) for kind, seen in self.seen.items()}

    def numbers(self) -> dict[str, Any]:
        """The measures as plain numbers, for JSON; ``None`` for a class that does not occur."""
        measures = {
            kind: {
                **consistency_numbers(found),
                "distance_network": round(self.distances[kind][0], 4),
                "distance_colour": round(self.distances[kind][1], 4),
            }
            for kind, found in self.confusions().items()
        }
        return {
            "seeds": list(self.seeds),
            "size": list(self.labels.shape[1:]),
            "options": self.options,
            **measures,
        }

    def table(self) -> str:
        """Consistency by class and distance to the target, a column per kind, as Markdown."""
        numbers = self.numbers()
        kinds = list(self.seen)
        rows = [("mean IoU", [numbers[kind]["mean_iou"] for kind in kinds])]
        rows += [("thin and small", [numbers[kind]["small_iou"] for kind in kinds])]
        rows += [("accuracy", [numbers[kind]["accuracy"] for kind in kinds])]
        for name in STREETS.names:
            rows.append((f"IoU {name}", [numbers[kind]["iou"][name] for kind in kinds]))
        for title, key in (("features", "distance_network"), ("colours", "distance_colour")):
            rows.append((f"distance, {title}", [numbers[kind][key] for kind in kinds]))
        head = f"| {'%':18} |" + "".join(f" {kind:>8} |" for kind in kinds)
        rule = "|:-------------------|" + "---------:|" * len(kinds)
        lines = [
            f"| {title:18} |" + "".join(f" {percent(value):>8} |" for value in values)
            for title, values in rows
        ]
        return "\n".join([head, rule, *lines])

    def summary(self) -> str:
        """One line: what was done and what came out."""
        found = self.confusions()
        arms = ", ".join(f"{100 * found[arm].mean_iou:.1f} % {arm}" for arm in ARMS)
        plural = "s" if len(self.seeds) != 1 else ""
        return (
            f"{len(self.seeds)} street scene{plural}{training_note(self.seeds)}: "
            f"the label still holds in {arms} (mean IoU with what an oracle sees)"
        )


def run_demo(
    seeds: Sequence[int],
    *,
    seed: int = 0,
    options: Mapping[str, Any] = OPTIONS,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> DemoResult:
    """Draw game scenes, translate them in every arm, measure.

    Args:
        seeds: of the scenes, see :mod:`seco.demo.scenes`; at least one.
        seed: of the noise, the same for all arms.
        options: of :func:`sgg.translate`, the same for all arms.
        progress: wraps the names of the arms while they are worked on, such as ``tqdm``.

    Raises:
        ValueError: no seed, or a negative one.
        ModuleNotFoundError: diffusers is not installed.
    """
    if len(seeds) == 0:
        raise ValueError("seeds: expected at least one, got none")
    diffusion, segmenter, oracle = load_diffusion(), load_segmenter(), load_oracle()
    source, labels = street_batch([street_scene(s, size=SIZE, domain="game") for s in seeds])
    target, _ = street_batch([street_scene(s, size=SIZE, domain="camera") for s in seeds])
    images = {"source": source}
    for arm in progress(ARMS):
        images[arm] = translate(
            source,
            labels,
            diffusion,
            segmenter,
            guidance=ARMS[arm],
            generator=torch.Generator().manual_seed(seed),
            **options,
        )
    images["target"] = target
    others, _ = street_batch(
        [street_scene(s, size=SIZE, domain="camera") for s in DEV_SEEDS[-_TARGETS:]]
    )
    ruler = Ruler.between(source, others, oracle)
    return DemoResult(
        tuple(seeds),
        dict(options),
        labels,
        images,
        {kind: oracle_labels(found, oracle) for kind, found in images.items()},
        {kind: ruler.measure(found, oracle) for kind, found in images.items()},
    )


def write_demo(result: DemoResult, out: Path) -> list[Path]:
    """Write figure (of the first scenes), table and numbers; the same result, the same bytes.

    In the figure, the second row of a scene is the label and what the oracle sees.

    Args:
        result: from :func:`run_demo`.
        out: an existing folder.

    Returns:
        The files: ``sgg.png``, ``sgg.md``, ``sgg.json``.

    Raises:
        OSError: a file cannot be written.
    """
    figure = translation_strips(
        {
            kind: list(images[:_SHOWN].permute(0, 2, 3, 1).contiguous().numpy())
            for kind, images in result.images.items()
        },
        list(result.labels[:_SHOWN].numpy()),
        STREETS,
        seen={
            kind: list(seen[:_SHOWN].numpy())
            for kind, seen in result.seen.items()
            if kind != "source"
        },
    )
    paths = [out / "sgg.png", out / "sgg.md", out / "sgg.json"]
    write_figure(paths[0], figure)
    write_bytes(paths[1], f"{result.table()}\n\n{result.summary()}\n".encode())
    write_bytes(paths[2], (json.dumps(result.numbers(), indent=2) + "\n").encode())
    return paths


def consistency_numbers(found: Confusion) -> dict[str, Any]:
    """Plain numbers of a confusion of source label and oracle; ``None`` where a class is not."""
    small = found.iou[[STREETS.id_of(name) for name in SMALL]]
    return {
        "mean_iou": plain(found.mean_iou, 4),
        "small_iou": plain(mean_of_known(small), 4),
        "accuracy": plain(found.accuracy, 4),
        "iou": {
            name: plain(value, 4) for name, value in zip(STREETS.names, found.iou, strict=True)
        },
    }
