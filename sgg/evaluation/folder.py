"""Measure a set of labelled images: an oracle sees them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from seco.common.arrays import Array
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
from sgg.segmenter import Segmenter, as_segmenter

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
    return evaluate_by_several(
        inputs, [seg_model], label_space=label_space, target=target, options=options
    )[0]


def evaluate_by_several(
    inputs: Inputs,
    seg_models: Sequence[object],
    *,
    label_space: LabelSpace,
    target: Path | None = None,
    options: JobOptions = JobOptions(),
) -> list[Evaluation]:
    """:func:`evaluate_folder` in the eyes of several segmenters, by reading every image once.

    Arguments and errors are those there. The distance to the target is the last segmenter's.
    """
    segmenters = [as_segmenter(one) for one in seg_models]
    for segmenter in segmenters:
        check_classes_of(segmenter, inputs, label_space)
    target_inputs = Inputs(()) if target is None else find_inputs(target)
    unpaired = (*inputs.failures, *target_inputs.failures)
    for outcome in unpaired if options.processes.first else ():
        options.report(outcome)
    own, own_target = (
        options.processes.share(list(some.files)) for some in (inputs, target_inputs)
    )
    options.start(len(own) + len(own_target))
    gauges = [_Gauge(one, inputs, label_space) for one in segmenters]
    gauges[-1] = replace(gauges[-1], of_distance=target is not None)
    nothing = _Seen(Confusion.zero(label_space))
    seen = [nothing] * len(gauges)
    measures = [gauge.measure for gauge in gauges]
    for found in _each(own, gauges[-1].read, measures, nothing, options):
        seen = [one + other for one, other in zip(seen, found, strict=True)]
    last = gauges[-1]
    for (found_by_last,) in _each(
        own_target, last.read_target, [last.measure_target], nothing, options
    ):
        seen[-1] = seen[-1] + found_by_last
    shares = zip(*options.processes.gather(seen), strict=True)
    totals = [reduce(_Seen.__add__, of_one) for of_one in shares]
    if not all(total.images for total in totals):
        raise ValueError("expected at least one usable image with its label, got none")
    if target is not None and not totals[-1].targets:
        raise ValueError(f"{target}: expected at least one usable image, got none")
    return [
        Evaluation(
            label_space,
            total.confusion,
            total.images,
            total.targets,
            {kind: frechet_distance(total.near[kind], total.far[kind]) for kind in total.far},
            (*unpaired, *total.failures),
        )
        for total in totals
    ]


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


@dataclass(frozen=True)
class _Gauge:
    """What one image after the other is measured by.

    Args:
        segmenter: the oracle.
        inputs: the set, which knows how its labels are stored.
        label_space: of the labels.
        of_distance: whether the distance to a target is asked for.
    """

    segmenter: Segmenter
    inputs: Inputs
    label_space: LabelSpace
    of_distance: bool = False

    def read(self, files: ImageFiles) -> tuple[Array, Array]:
        return read_image(files.image), label_of(files, self.inputs, self.label_space)

    def read_target(self, files: ImageFiles) -> Array:
        return read_image(files.image)

    def measure(self, files: ImageFiles, given: tuple[Array, Array]) -> _Seen:
        image, label = given
        check_pair(image, label, names=("image", "label"))
        batch, logits = self._see(image)
        seen = F.interpolate(logits, label.shape, mode="bilinear").argmax(1)[0].cpu().numpy()
        found = confusion(seen, label, self.label_space)
        return _Seen(found, images=1, near=_moments(batch, logits) if self.of_distance else {})

    def measure_target(self, files: ImageFiles, image: Array) -> _Seen:
        far = _moments(*self._see(image))
        return _Seen(Confusion.zero(self.label_space), targets=1, far=far)

    def _see(self, image: Array) -> tuple[Tensor, Tensor]:
        """The image as a batch on the segmenter's device, and its logits."""
        batch = to_batch(image).to(self.segmenter.device)
        with exact(self.segmenter.device):
            return batch, self.segmenter(batch.float() / 127.5 - 1).float()


def _moments(batch: Tensor, logits: Tensor) -> dict[str, Moments]:
    """By kind of feature, of one image."""
    height, width = batch.shape[-2:]
    return {
        "colour": Moments.of(colour_features(batch)),
        "logits": Moments.of(logit_features(logits, (height, width))),
    }


def _each(
    files: Sequence[ImageFiles],
    read: Callable[[ImageFiles], T],
    measures: Sequence[Callable[[ImageFiles, T], _Seen]],
    nothing: _Seen,
    options: JobOptions,
) -> Iterator[list[_Seen]]:
    """Take several measures of one file after the other while the next are read."""

    def failed(item: ImageFiles, error: BaseException) -> _Seen:
        if not is_about_file(error):
            raise error
        return replace(nothing, failures=(failure(item.name, error),))

    def measure(item: ImageFiles, given: T) -> list[_Seen]:
        found = []
        for one in measures:
            try:
                found.append(one(item, given))
            except Exception as error:
                found.append(failed(item, error))
        return found

    with closing(overlap(files, read, measure, lambda _, found: found)) as steps:
        for item, future in steps:
            error = future.exception()
            found = future.result() if error is None else [failed(item, error)] * len(measures)
            bad = [outcome for one in found for outcome in one.failures]
            options.report(bad[0] if bad else Outcome(item.name, "skipped"))  # nothing was written
            yield found


def _pooled(one: dict[str, Moments], other: dict[str, Moments]) -> dict[str, Moments]:
    """Two sets' moments as one's; an empty one has none."""
    return {
        kind: one[kind] + other[kind] if kind in one and kind in other else (one | other)[kind]
        for kind in one | other
    }
