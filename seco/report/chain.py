"""The report of a chain: its folders read again, image by image, and measured where truth is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from seco.common.arrays import Array
from seco.common.files import read_image, read_label, write_bytes
from seco.common.inputs import ImageFiles
from seco.common.items import confidence_of, label_of
from seco.common.jobs import JobOptions, Manifest, Outcome, overlap
from seco.common.jobs.run import failure, is_about_file
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.judging import Judgement
from seco.correction.settings import SCCSettings
from seco.evaluation.boundary import DILATION_RATIO
from seco.folder.chain import Chained, Places
from seco.folder.outputs import OutputFormat
from seco.folder.provenance import describe_corrector, describe_model
from seco.folder.refine import Refiner
from seco.report.content import SELECTION, Report, Setting
from seco.report.page import write_report
from seco.report.summary import ACTIONS, ImageSteps, Summary, summarise
from seco.sam.loading import as_segmenter
from seco.sam.proposal_settings import proposal_settings_of
from seco.selection import select_confident
from seco.settings import PSASettings


@dataclass(frozen=True)
class ChainReader:
    """Reads an image's labels after each step of a chain.

    Args:
        chained: what the chain has done.
        places: where.
        refiner: how it refined.
        truths: an image's file -> the true label's, as far as they are known.
    """

    chained: Chained
    places: Places
    refiner: Refiner
    truths: Mapping[Path, Path]

    @cached_property
    def corrector(self) -> ConnectivityCorrector:
        """The chain's."""
        return ConnectivityCorrector.load(
            self.places.corrector, encoder=self.refiner.encoder, device=self.refiner.device
        )

    def read(self, place: int) -> tuple[ImageSteps, str]:
        """Read one image's labels and its truth.

        Args:
            place: of the image among the finished ones.

        Returns:
            The image, and what is wrong with its truth: then it is without; "" if nothing is.

        Raises:
            OSError, ValueError: a label cannot be read.
        """
        space = self.refiner.label_space
        inputs, refined = self.chained.finished, self.chained.refined
        files, between = inputs.files[place], refined.files[place]
        labels = {"raw": label_of(files, inputs, space)}
        confidence = confidence_of(files)
        if confidence is not None:
            labels[SELECTION] = select_confident(
                torch.from_numpy(labels["raw"].astype("int64")),
                torch.from_numpy(confidence),
                fraction=self.refiner.keep_fraction,
                threshold=self.refiner.confidence_threshold,
                ignore_index=space.ignore_index,
            ).numpy()
        labels["PSA"] = label_of(between, refined, space)
        labels["SCC"] = read_label(OutputFormat().paths(files, self.places.labels)[0])
        facts = self.chained.facts[files.name]
        truth, wrong = self._truth_of(files, labels["raw"])
        item = ImageSteps(
            name=files.name,
            labels=labels,
            image=partial(read_image, files.image),
            truth=truth,
            regions=(facts[ACTIONS[0]], facts[ACTIONS[1]], facts[ACTIONS[2]]),
            judgement=partial(_judge, self.corrector, files.image, labels["PSA"]),
        )
        return item, wrong

    def _truth_of(self, files: ImageFiles, like: Array) -> tuple[Array | None, str]:
        path = self.truths.get(files.image)
        if path is None:
            return None, ""
        try:
            truth = read_label(path)
        except (OSError, ValueError) as error:
            return None, f"truth: {error}"
        if truth.shape != like.shape:
            return None, (
                f"truth: {path}: expected shape {like.shape} as the label has, got {truth.shape}"
            )
        return truth, ""


def summarise_chain(
    reader: ChainReader,
    *,
    shown: int = 8,
    dilation_ratio: float = DILATION_RATIO,
    options: JobOptions = JobOptions(),
) -> tuple[Summary, list[ImageSteps], list[Outcome]]:
    """Measure all images of a chain; the processes share them.

    Args:
        reader: of the chain.
        shown: how many of the most changed images are wanted for the gallery.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.
        options: how the job is run.

    Returns:
        The summary of all images, the same in every process; the images for the gallery, in the
        first process; and a failure for every image that could not be read again, or whose truth
        could not be.
    """
    processes, space = options.processes, reader.refiner.label_space
    files = reader.chained.finished.files
    own = processes.share(list(range(len(files))))
    failures: list[Outcome] = []
    options.start(len(own))

    _ = reader.corrector  # loaded once, not by every thread that reads

    def measure(place: int, given: tuple[ImageSteps, str]) -> tuple[Summary, str]:
        item, wrong = given
        return summarise(item, space, dilation_ratio=dilation_ratio), wrong

    def measured() -> Iterator[Summary]:
        with closing(overlap(own, reader.read, measure, lambda place, found: found)) as steps:
            for place, future in steps:
                outcome = Outcome(files[place].name, "skipped")  # nothing was written
                error = future.exception()
                if error is None:
                    summary, wrong = future.result()
                    yield summary
                    if wrong:
                        outcome = Outcome(files[place].name, "failed", wrong)
                elif is_about_file(error):
                    outcome = failure(files[place].name, error)
                else:
                    raise error
                if outcome.status == "failed":
                    failures.append(outcome)
                options.report(outcome)

    shares = processes.gather((Summary.pool(measured(), space), failures))
    summary = Summary.pool([share for share, _ in shares], space)
    gallery = []
    if processes.first:
        places = {one.name: place for place, one in enumerate(files)}
        gallery = [reader.read(places[name])[0] for name in summary.most_changed(shown)]
    return summary, gallery, [bad for _, share in shares for bad in share]


def write_chain_report(
    reader: ChainReader,
    *,
    title: str = "Pseudo-labels, refined and corrected",
    seed: int = 0,
    shown: int = 8,
    dilation_ratio: float = DILATION_RATIO,
    options: JobOptions = JobOptions(),
) -> Report:
    """Measure a chain and write its page and its numbers; the first process writes.

    Args:
        reader: of the chain.
        title: of the page.
        seed: of fitting, to be told.
        shown: this and the following: see :func:`summarise_chain`.
        dilation_ratio: see there.
        options: see there.

    Returns:
        What the page shows; the gallery is only in the first process's.

    Raises:
        OSError: the page cannot be written.
    """
    summary, gallery, failures = summarise_chain(
        reader, shown=shown, dilation_ratio=dilation_ratio, options=options
    )
    places, refiner = reader.places, reader.refiner
    corrector = reader.corrector
    every = (*reader.chained.failures, *failures)
    report = Report(
        title,
        summary,
        gallery,
        settings=_settings(refiner, corrector, seed),
        facts=_facts(reader, options.processes.count),
        failures=[(outcome.name, outcome.reason) for outcome in every],
        fit=corrector.record,
        tau_ns=corrector.settings.tau_ns,
    )
    if options.processes.first:
        numbers = {"boundary_ratio": dilation_ratio, **report.numbers()}
        write_bytes(places.numbers, (json.dumps(numbers, indent=1) + "\n").encode())
        write_report(places.report, report)
    return report


def _settings(
    refiner: Refiner, corrector: ConnectivityCorrector, seed: int
) -> dict[str, list[Setting]]:
    own, usual = refiner.settings, PSASettings()
    asked = ("keep_fraction", "confidence_threshold", "outside")
    said = {
        "Refining (PSA)": [
            *(Setting(name, getattr(refiner, name), getattr(Refiner, name)) for name in asked),
            *_beside(own, usual),
        ]
    }
    if own.proposals is not None and refiner.sam is not None:
        suggested = proposal_settings_of(as_segmenter(refiner.sam))
        said["Finding regions"] = _beside(own.proposals, suggested)
    said["Correcting (SCC)"] = [
        Setting("encoder", "small" if refiner.encoder is None else "sam", "sam"),
        *_beside(corrector.settings, SCCSettings()),
        Setting("seed", seed, 0),
    ]
    return said


def _beside(now: Any, usual: Any) -> list[Setting]:
    """The fields of a settings dataclass beside the usual ones, nested settings left out."""
    return [
        Setting(field.name, getattr(now, field.name), getattr(usual, field.name))
        for field in fields(now)
        if not is_dataclass(getattr(now, field.name))
    ]


def _facts(reader: ChainReader, processes: int) -> dict[str, str]:
    places = reader.places
    manifest = Manifest.read(places.labels)
    versions = {} if manifest is None else manifest.versions
    record = {
        "training steps of the corrector": f"{reader.chained.iterations:,}",
        "corrector": describe_corrector(places.corrector),
        "SAM": describe_model(reader.refiner.sam),
        "processes": str(processes),
        "folder": str(places.out),
        **versions,
    }
    return {name: value for name, value in record.items() if value is not None}


def _judge(corrector: ConnectivityCorrector, image: Path, label: Array) -> Judgement:
    return corrector.correct_with_details(read_image(image), label).judgements[0]
