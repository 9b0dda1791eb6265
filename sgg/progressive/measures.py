"""What is measured at every stage, as a job: it is done again only if what it measures changed.

The guide's own view decides where to stop; an oracle's is measured and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seco.common.files import write_bytes
from seco.common.inputs import Inputs, find_inputs
from seco.common.jobs import JobOptions, Outcome, Whole, run_together
from seco.common.labels import LabelSpace
from seco.common.numbers import measured
from sgg.evaluation.folder import evaluate_by_several
from sgg.folder.provenance import manifest_of
from sgg.segmenter import Segmenter

MEASURES = "measures.json"


@dataclass(frozen=True)
class Rulers:
    """What sets are measured with.

    Args:
        label_space: of the labels.
        source_segmenter: the first segmenter, which knows the source.
        oracle: one that knows the target, if there is one.
        target_folder: folder of images of the target domain, if there is one.
    """

    label_space: LabelSpace
    source_segmenter: Segmenter
    oracle: Segmenter | None = None
    target_folder: Path | None = None


@dataclass(frozen=True)
class Measures:
    """What was measured of one set; each as :meth:`sgg.evaluation.Evaluation.numbers` says it.

    Args:
        guide: in the eyes of the segmenter that guided its translation.
        oracle: in the oracle's, if there is one.
        distance: to the target by kind of feature, if there are target images; logits are the
            oracle's, or else the first segmenter's, so that stages can be compared.
        failed: images that could not be measured, of the set and of the target: name -> reason.
    """

    guide: Mapping[str, Any]
    oracle: Mapping[str, Any] | None
    distance: Mapping[str, float]
    failed: Mapping[str, str]

    @property
    def consistency(self) -> float:
        """Mean IoU of the labels with what the guide sees, in 0-1: what decides where to stop.

        NaN where no pixel has a label: then nothing is decided by it.
        """
        return measured(self.guide["mean_iou"])

    def failures(self) -> list[Outcome]:
        """What could not be measured."""
        return [Outcome(name, "failed", reason) for name, reason in self.failed.items()]

    @classmethod
    def read(cls, folder: Path) -> Measures:
        """Read what :func:`measure_set` wrote."""
        return cls(**json.loads((folder / MEASURES).read_bytes()))


def measure_set(
    inputs: Inputs, guide: Segmenter, rulers: Rulers, folder: Path, *, options: JobOptions
) -> Measures:
    """Measure labelled images; the processes share them.

    Args:
        inputs: the images, with the source's labels.
        guide: the segmenter that guided their translation.
        rulers: what else they are measured with.
        folder: where the numbers go.
        options: how the job is run.

    Raises:
        OSError, ValueError: no usable image, or a segmenter with other classes.
    """
    space, target = rulers.label_space, rulers.target_folder
    ruler = rulers.oracle or rulers.source_segmenter

    def work(state: Path) -> dict[str, Any]:
        eyes = [guide]
        if ruler is not guide and (rulers.oracle is not None or target is not None):
            eyes.append(ruler)
        found = evaluate_by_several(
            inputs,
            eyes,
            label_space=space,
            target=target if eyes[-1] is ruler else None,
            options=options,
        )
        by_guide, by_ruler = found[0].numbers(), found[-1].numbers()
        said = {
            "guide": _without_distance(by_guide),
            "oracle": None if rulers.oracle is None else _without_distance(by_ruler),
            "distance": by_ruler["distance"],
            "failed": {**by_guide["failed"], **by_ruler["failed"]},
        }
        if options.processes.first:
            write_bytes(folder / MEASURES, (json.dumps(said, indent=1) + "\n").encode())
        return {}

    paths = [path for files in inputs.files for path in (files.image, files.label) if path]
    if target is not None:
        paths += [files.image for files in find_inputs(target).files]
    manifest = manifest_of(
        "sgg progressive: measures",
        {
            "classes": space.names,
            "things": space.thing_ids,
            "ignore_index": space.ignore_index,
            "oracle": rulers.oracle is not None,
        },
        {"guide": guide, "ruler": ruler},
    )
    item = Whole("measures", paths, [folder / MEASURES])
    done = run_together(item, folder, manifest, work=work, options=options)
    measures = Measures.read(folder)
    for bad in measures.failures() if done.status == "skipped" and options.processes.first else ():
        options.report(bad)
    return measures


def _without_distance(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if name not in ("distance", "targets")}
