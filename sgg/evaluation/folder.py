"""Measure a set of labelled images: an oracle sees them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_labels
from seco.common.confusion import Confusion, confusion, mean_of_known, ratios
from seco.common.files import read_image
from seco.common.images import check_pair, to_batch
from seco.common.inputs import ImageFiles, Inputs, find_inputs
from seco.common.items import label_of
from seco.common.jobs import JobOptions, Outcome, overlap
from seco.common.jobs.run import failure, is_about_file
from seco.common.labels import LabelSpace
from seco.common.numbers import percent, plain
from seco.common.precision import exact
from sgg.evaluation.distance import Moments, colour_features, frechet_distance, logit_features
from sgg.folder.classes import check_classes_of
from sgg.segmenter import as_segmenter

T = TypeVar("T")


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a set of labelled images.

    Args:
        label_space: the classes.
        confusion: of the labels (rows) and of what the segmenter sees in the images.
        images: how many were measured.
        targets: how many target images, if there are any.
        distances: squared Fréchet distance to them by kind of feature: ``"colour"``, of
            :func:`sgg.evaluation.colour_features`, and ``"logits"``, of
            :func:`sgg.evaluation.logit_features`.
        failures: images that could not be used.
    """

    label_space: LabelSpace
    confusion: Confusion
    images: int
    targets: int = 0
    distances: dict[str, float] = field(default_factory=dict)
    failures: tuple[Outcome, ...] = ()

    def numbers(self) -> dict[str, Any]:
        """All as JSON holds it, shares in 0-1; ``None`` for a class that occurs nowhere."""
        iou = self.confusion.iou
        counts = self.confusion.counts
        recall = ratios(np.diag(counts), counts.sum(axis=1))
        names = self.label_space.names
        return {
            "images": self.images,
            "failed": {outcome.name: outcome.reason for outcome in self.failures},
            "mean_iou": plain(self.confusion.mean_iou),
            "mean_iou_things": plain(mean_of_known(iou[list(self.label_space.thing_ids)])),
            "mean_iou_stuff": plain(mean_of_known(iou[list(self.label_space.stuff_ids)])),
            "accuracy": plain(self.confusion.accuracy),
            "iou": dict(zip(names, map(plain, iou), strict=True)),
            "recall": dict(zip(names, map(plain, recall), strict=True)),
            "targets": self.targets,
            "distance": {kind: round(value, 6) for kind, value in self.distances.items()},
        }

    def table(self) -> str:
        """The measures as Markdown."""
        numbers = self.numbers()
        rows = [
            (title, numbers[key])
            for title, key in (
                ("mean IoU", "mean_iou"),
                ("mean IoU, things", "mean_iou_things"),
                ("mean IoU, stuff", "mean_iou_stuff"),
                ("accuracy", "accuracy"),
            )
        ]
        rows += [(f"IoU {name}", share) for name, share in numbers["iou"].items()]
        lines = [f"| {title} | {percent(share)} |" for title, share in rows]
        lines += [
            f"| distance to the target, {kind} | {value:.4g} |"
            for kind, value in numbers["distance"].items()
        ]
        return "\n".join([f"| {self.images} images | % |", "|:--|--:|", *lines])


def evaluate_folder(
    inputs: Inputs,
    seg_model: object,
    *,
    label_space: LabelSpace,
    target: Path | None = None,
    options: JobOptions = JobOptions(),
) -> Evaluation:
    """Measure whether labels hold in the eyes of a segmenter, and how far a target domain is.

    The segmenter is an oracle, trained with target labels: it has had no part in the translation,
    or it would find what it has asked for. Everything streams: memory does not grow with the set.
    The distances depend on what the images show and on their resolution as well; compare only
    sets of the same scenes and size. With few images they are too large: a Gaussian is fitted to
    patches, which repeat within an image.

    Args:
        inputs: translated images with the source's labels; or source images, to know what the
            translation starts from.
        seg_model: see :class:`sgg.Segmenter`; its classes are ``label_space``'s.
        label_space: of the labels.
        target: folder of images of the target domain.
        options: processes and reports; each process measures its share.

    Raises:
        OSError, ValueError: no usable image, or a segmenter with other classes.
    """
    segmenter = as_segmenter(seg_model)
    check_classes_of(segmenter, inputs, label_space)
    beside = Inputs(()) if target is None else find_inputs(target)
    unpaired = (*inputs.failures, *beside.failures)
    for outcome in unpaired if options.processes.first else ():
        options.report(outcome)
    share = options.processes.share
    options.start(len(share(list(inputs.files))) + len(share(list(beside.files))))

    def see(image: Array) -> Tensor:
        batch = to_batch(image).to(segmenter.device)
        with exact(segmenter.device):
            return segmenter(batch.float() / 127.5 - 1).float()

    def features(image: Array, logits: Tensor) -> dict[str, Moments]:
        if target is None:
            return {}
        return {
            "colour": Moments.of(colour_features(to_batch(image))),
            "logits": Moments.of(logit_features(logits, (image.shape[0], image.shape[1]))),
        }

    def read(files: ImageFiles) -> tuple[Array, Array]:
        return read_image(files.image), label_of(files, inputs, label_space)

    def measure(files: ImageFiles, given: tuple[Array, Array]) -> _Seen:
        image, label = given
        check_pair(image, label, names=("image", "label"))
        check_labels("label", label, label_space)
        logits = see(image)
        seen = F.interpolate(logits, label.shape, mode="bilinear").argmax(1)[0].cpu().numpy()
        found = confusion(seen, label, label_space)
        return _Seen(found, images=1, near=features(image, logits))

    def read_target(files: ImageFiles) -> Array:
        return read_image(files.image)

    def measure_target(files: ImageFiles, image: Array) -> _Seen:
        return _Seen(nothing, targets=1, far=features(image, see(image)))

    nothing = Confusion.zero(label_space)
    own = _Seen(nothing)
    for found in _each(share(list(inputs.files)), read, measure, nothing, options):
        own = own + found
    for found in _each(share(list(beside.files)), read_target, measure_target, nothing, options):
        own = own + found
    total = reduce(_Seen.__add__, options.processes.gather(own))
    if not total.images:
        raise ValueError("expected at least one usable image with its label, got none")
    if target is not None and not total.targets:
        raise ValueError(f"{target}: expected at least one usable image, got none")
    return Evaluation(
        label_space,
        total.confusion,
        total.images,
        total.targets,
        {kind: frechet_distance(total.near[kind], total.far[kind]) for kind in total.far},
        (*unpaired, *total.failures),
    )


@dataclass(frozen=True)
class _Seen:
    """What is known of some images: of the set (near) and of the target (far); add to pool."""

    confusion: Confusion
    images: int = 0
    targets: int = 0
    near: dict[str, Moments] = field(default_factory=dict)
    far: dict[str, Moments] = field(default_factory=dict)
    failures: tuple[Outcome, ...] = ()

    def __add__(self, other: _Seen) -> _Seen:
        return _Seen(
            self.confusion + other.confusion,
            self.images + other.images,
            self.targets + other.targets,
            _pooled(self.near, other.near),
            _pooled(self.far, other.far),
            self.failures + other.failures,
        )


def _each(
    files: Sequence[ImageFiles],
    read: Callable[[ImageFiles], T],
    measure: Callable[[ImageFiles, T], _Seen],
    nothing: Confusion,
    options: JobOptions,
) -> Iterator[_Seen]:
    """Measure one file after the other while the next are read."""
    with closing(overlap(files, read, measure, lambda _, found: found)) as steps:
        for item, future in steps:
            error = future.exception()
            if error is None:
                options.report(Outcome(item.name, "written"))
                yield future.result()
            elif is_about_file(error):
                bad = failure(item.name, error)
                options.report(bad)
                yield _Seen(nothing, failures=(bad,))
            else:
                raise error


def _pooled(one: dict[str, Moments], other: dict[str, Moments]) -> dict[str, Moments]:
    """Two sets' moments as one's; an empty one has none."""
    return {
        kind: one[kind] + other[kind] if kind in one and kind in other else (one | other)[kind]
        for kind in one | other
    }
