"""Folders of labels measured against truth, and what a corrector makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from seco.common.arrays import Array
from seco.common.files import PathLike, as_path, read_image, read_label
from seco.common.inputs import Inputs, find_inputs, single_input
from seco.common.items import check_size, confidence_of, label_of
from seco.common.jobs import JobOptions, Outcome, overlap
from seco.common.jobs.run import failure, is_about_file
from seco.common.labels import LabelSpace
from seco.common.naming import NAMINGS, Naming, by_key
from seco.connectivities import Connectivities
from seco.correction.corrector import ConnectivityCorrector
from seco.evaluation import (
    LabelQuality,
    TrueConnectivities,
    compare_with_truth,
    measure_labels,
)
from seco.evaluation.boundary import DILATION_RATIO
from seco.evaluation.quality import connectivity_numbers
from seco.folder.connectivities import connectivities_of
from seco.folder.outputs import file_at
from seco.folder.stage import check_confidences

_KIND = re.compile(r"\b(no|more than one) (image|label)\b")
_CALLED = {"image": "label", "label": "truth"}

# label, truth, image, connectivities, confidence
_Given = tuple[Array, Array, Array | None, Connectivities | None, Array | None]


@dataclass(frozen=True)
class TruePairs:
    """The labels of a data set and the truth about each.

    Args:
        labels: the labels; where no images are wanted, a label stands for its image.
        truths: a file for each of the labels.
    """

    labels: Inputs
    truths: tuple[Path, ...]


@dataclass(frozen=True)
class Evaluation:
    """Labels of a data set beside the truth.

    Args:
        space: the classes.
        images: how many were measured.
        quality: of the labels.
        connectivities: those that a corrector judged, beside the truth; none without one.
        tau_ns: the corrector's threshold of noise probability; ``None`` without one.
        failures: of files that could not be used.
    """

    space: LabelSpace
    images: int
    quality: LabelQuality
    connectivities: TrueConnectivities
    tau_ns: float | None
    failures: tuple[Outcome, ...]

    def numbers(self) -> dict[str, Any]:
        """Every measure as a plain number in 0-1, for JSON; ``None`` where there is none."""
        said: dict[str, Any] = {"images": self.images, **self.quality.numbers(self.space)}
        if self.tau_ns is not None:
            said["connectivities"] = connectivity_numbers(self.connectivities, self.tau_ns)
        said["failures"] = {outcome.name: outcome.reason for outcome in self.failures}
        return said


def find_pairs(
    labels: PathLike,
    truth: PathLike,
    *,
    images: PathLike | None = None,
    confidence: PathLike | None = None,
    list_file: PathLike | None = None,
    naming: str | Naming = "auto",
    match: Literal["path", "name"] = "path",
) -> TruePairs:
    """Pair labels with their truth, in folders or as two files.

    Args:
        labels: folder of labels, named as the truth or as the images of their data set.
        truth: folder of true labels.
        images: folder of the images, if they are wanted.
        confidence: folder of how sure the labels are, named as these, if that is wanted.
        list_file: take the labels that a list names instead, a line each: label and truth.
        naming: see :func:`seco.common.inputs.find_inputs`; of images, likewise.
        match: see there.

    Raises:
        OSError, ValueError: as :func:`seco.common.inputs.find_inputs`, or files and folders mixed.
    """
    labels, truth, images = Path(labels), Path(truth), as_path(images)
    confidence = as_path(confidence)
    if not labels.is_dir():
        inputs = single_input(labels if images is None else images, labels, confidence=confidence)
        single_input(labels, truth)  # raises as for the labels
        place = Path(labels.stem)  # whatever its image is called, as in folders
        (single,) = inputs.files
        own = replace(single, image_place=place, place=place)
        return TruePairs(replace(inputs, files=(own,)), (truth,))
    found = find_inputs(
        labels, truth, confidence=confidence, list_file=list_file, naming=naming, match=match
    )
    failures = [replace(one, reason=_renamed(one.reason)) for one in found.failures]
    pictures = {files.image: files.image for files in found.files}
    alone: dict[str, str] = {}
    if images is not None:
        beside = find_inputs(images, labels, naming=naming, match=match)
        pictures = {files.label: files.image for files in beside.files if files.label is not None}
        alone = {outcome.name: outcome.reason for outcome in beside.failures}
    paired, truths = [], []
    for files in found.files:
        if files.label is not None and files.image in pictures:
            paired.append(replace(files, image=pictures[files.image], label=files.image))
            truths.append(files.label)
        else:
            names = _names(files.image.relative_to(labels), naming, match)
            reason = next((alone[name] for name in names if name in alone), "no image of that name")
            failures.append(Outcome(files.name, "failed", reason))
    return TruePairs(replace(found, files=tuple(paired), failures=tuple(failures)), tuple(truths))


def evaluate_folder(
    pairs: TruePairs,
    label_space: LabelSpace,
    *,
    dilation_ratio: float = DILATION_RATIO,
    corrector: ConnectivityCorrector | None = None,
    connectivities: PathLike | None = None,
    options: JobOptions = JobOptions(),
) -> Evaluation:
    """Measure the labels of a data set.

    Args:
        pairs: labels and truth, and the images if there is a corrector.
        label_space: of both; ids of the truth outside its classes are not counted.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.
        corrector: a fitted one, to measure how it judges the labels' connectivities; one that was
            fitted with confidences needs those of ``pairs``.
        connectivities: folder that refining wrote with the labels, see
            :class:`seco.folder.OutputFormat`; of a single label, the folder that its own lie in.
            ``None``: their connected components are judged.
        options: how the job is run; every process measures its share, and each gets the whole.

    Warns:
        UserWarning: the corrector was fitted with connectivities and judges without, or the other
            way round.
    """
    processes, inputs, parts = options.processes, pairs.labels, as_path(connectivities)
    if corrector is not None:
        if corrector.record.confident:
            check_confidences(inputs, "as the corrector was fitted with them")
        corrector.warn_if_fitted_otherwise(regions=parts is not None, aloud=processes.first)
    for outcome in inputs.failures if processes.first else ():
        options.report(outcome)
    places = processes.share(list(range(len(inputs.files))))
    options.start(len(places))
    quality, judged = LabelQuality.zero(label_space), []
    failures: list[tuple[int, Outcome]] = []

    def read(place: int) -> _Given:
        files = inputs.files[place]
        label = label_of(files, inputs, label_space)
        truth = read_label(pairs.truths[place], label_space)
        if corrector is None:
            return label, truth, None, None, None
        image = read_image(files.image)
        check_size(files, label, image.shape[:2], files.image)
        known = None
        if parts is not None:
            path = file_at(parts, files.image_place, ".npz")
            known = connectivities_of(path, label, label_space)
        return label, truth, image, known, confidence_of(files)

    def measure(place: int, given: _Given) -> tuple[LabelQuality, TrueConnectivities]:
        return _measure(given, label_space, dilation_ratio, corrector)

    with closing(overlap(places, read, measure, lambda place, found: found)) as steps:
        for place, future in steps:
            name, error = inputs.files[place].name, future.exception()
            if error is None:
                measured, compared = future.result()
                outcome = Outcome(name, "skipped")  # nothing was written
                quality += measured
                judged.append(compared)
            elif is_about_file(error):
                outcome = failure(name, error)
                failures.append((place, outcome))
            else:
                raise error
            options.report(outcome)
    shares = processes.gather((quality, TrueConnectivities.pool(judged), failures))
    bad = sorted((one for _, _, share in shares for one in share), key=lambda one: one[0])
    return Evaluation(
        space=label_space,
        images=len(inputs.files) - len(bad),
        quality=sum((share for share, _, _ in shares), LabelQuality.zero(label_space)),
        connectivities=TrueConnectivities.pool([share for _, share, _ in shares]),
        tau_ns=None if corrector is None else corrector.settings.tau_ns,
        failures=(*inputs.failures, *(outcome for _, outcome in bad)),
    )


def _measure(
    given: _Given,
    space: LabelSpace,
    dilation_ratio: float,
    corrector: ConnectivityCorrector | None,
) -> tuple[LabelQuality, TrueConnectivities]:
    label, truth, image, known, confidence = given
    quality = measure_labels(label, truth, space, dilation_ratio=dilation_ratio)
    if corrector is None or image is None:
        return quality, TrueConnectivities.pool([])
    found = corrector.correct_with_details(
        image, label, connectivities=known, confidence=confidence
    )
    return quality, compare_with_truth(found.judgements[0], truth, space)


def _names(label: Path, naming: str | Naming, match: str) -> Iterator[str]:
    """What pairing may call a label: of a naming that was found out each possible one is tried."""
    if isinstance(naming, str):
        rules = [*NAMINGS.values()] if naming == "auto" else [NAMINGS[naming]]
    else:
        rules = [naming]
    for rule in rules:
        yield from by_key([label], rule, rule.label_ends, name_alone=match == "name")


def _renamed(reason: str) -> str:
    """Where images were looked for, labels were meant, and truth where labels were."""
    return _KIND.sub(lambda found: f"{found[1]} {_CALLED[found[2]]}", reason)
