"""The report of a chain: its folders read again, image by image, and measured where truth is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from seco.common.arrays import Array
from seco.common.files import read_image, read_label
from seco.common.inputs import ImageFiles
from seco.common.items import ImageItem, confidence_of, label_of
from seco.common.jobs import JobOptions, Manifest, Outcome, run_job
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.encoder_names import encoder_name
from seco.correction.extractors import as_extractor
from seco.correction.judging import Judgement
from seco.correction.settings import SCCSettings
from seco.correction.storage import CORRECTOR_FILE
from seco.evaluation.boundary import DILATION_RATIO
from seco.folder.chain import Chained, Places
from seco.folder.connectivities import connectivities_of
from seco.folder.outputs import OutputFormat, connectivities_file, file_at
from seco.folder.provenance import describe_corrector, describe_model, manifest_of
from seco.folder.refine import Refiner
from seco.folder.stage import input_settings
from seco.report.content import SELECTION, Report, Setting
from seco.report.kept import read_measures, write_measures, write_pages
from seco.report.summary import ACTIONS, ImageSteps, LabelChanges, summarise
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
            judgement=partial(
                _judge,
                self.corrector,
                files.image,
                labels["PSA"],
                self._connectivities(files),
                between,
            ),
        )
        return item, wrong

    def files_read(self, place: int) -> tuple[Path, ...]:
        """The files that what is known of an image is read from; a truth if it can be opened."""
        files, between = self.chained.finished.files[place], self.chained.refined.files[place]
        after = OutputFormat().paths(files, self.places.labels)[0]
        raw = files.image, files.label, files.confidence
        refined = between.label, between.confidence, self._connectivities(files)
        paths = [*raw, *refined, after, self.places.corrector / CORRECTOR_FILE]
        truth = self.truths.get(files.image)
        if truth is not None and os.access(truth, os.R_OK):
            paths.append(truth)
        return tuple(path for path in paths if path is not None)

    def _connectivities(self, files: ImageFiles) -> Path:
        return connectivities_file(self.places.refined_connectivities, files)

    def _truth_of(self, files: ImageFiles, like: Array) -> tuple[Array | None, str]:
        path = self.truths.get(files.image)
        if path is None:
            return None, ""
        try:
            truth = read_label(path, self.refiner.label_space)
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
    dilation_ratio: float = DILATION_RATIO,
    options: JobOptions = JobOptions(),
) -> tuple[LabelChanges, list[Outcome]]:
    """Measure all images of a chain; the processes share them.

    What was measured before, of the same files in the same way, is kept in the chain's place for
    measures and not measured again.

    Args:
        reader: of the chain.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.
        options: how the job is run.

    Returns:
        The summary of all images, the same in every process; and a failure for every image that
        could not be read again, or whose truth could not be.

    Raises:
        OSError, JobStopped: as :func:`seco.common.jobs.run_job`.
    """
    space, places = reader.refiner.label_space, reader.places
    inputs = reader.chained.finished
    _ = reader.corrector  # loaded once, not by every thread that reads
    number = {files.name: place for place, files in enumerate(inputs.files)}
    items = [
        ImageItem(files, reader.files_read(place), (file_at(places.measures, files.place, ".npz"),))
        for place, files in enumerate(inputs.files)
    ]
    manifest = manifest_of(
        "seco run: measures",
        {
            **input_settings(inputs, space),
            **reader.refiner.selection(inputs),
            "dilation_ratio": dilation_ratio,
        },
        {},  # the corrector is an input, and says which encoder it has
    )

    def work(item: ImageItem, given: tuple[ImageSteps, str]) -> tuple[LabelChanges, str]:
        steps, wrong = given
        return summarise(steps, space, dilation_ratio=dilation_ratio), wrong

    def write(item: ImageItem, measured: tuple[LabelChanges, str]) -> Mapping[str, str]:
        write_measures(item.outputs[0], measured[0])
        return {"wrong": measured[1]}

    done = run_job(
        items,
        places.measures,
        manifest,
        read=lambda item: reader.read(number[item.name]),
        work=work,
        write=write,
        options=replace(options, take_over=True),  # nothing is lost but time
    )
    failures = done.of("failed")
    for name, facts in done.facts().items():
        if facts["wrong"]:
            failures.append(Outcome(name, "failed", facts["wrong"]))
            if options.processes.first:
                options.report(failures[-1])
    known = [item for item in items if item.name in done.facts()]
    own = (read_measures(item.outputs[0], space) for item in options.processes.share(known))
    shares = options.processes.gather(LabelChanges.pool(own, space))
    return LabelChanges.pool(shares, space), failures


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

    What is there already, measures or page, and would be the same, stays.

    Args:
        reader: of the chain.
        title: of the page.
        seed: of fitting, to be told.
        shown: how many of the most changed images the page's gallery shows.
        dilation_ratio: see :func:`seco.evaluation.boundary_overlap`.
        options: how the job is run; with ``overwrite`` everything is made anew.

    Returns:
        What the page shows; the gallery is only in the first process's.

    Raises:
        OSError, JobStopped: the page or the measures cannot be written.
    """
    summary, failures = summarise_chain(reader, dilation_ratio=dilation_ratio, options=options)
    places, refiner = reader.places, reader.refiner
    number = {files.name: place for place, files in enumerate(reader.chained.finished.files)}
    exhibited = [number[name] for name in summary.most_changed(shown)]
    first = options.processes.first
    gallery = [reader.read(place)[0] for place in exhibited] if first else []
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
    if first:
        files = [path for place in exhibited for path in reader.files_read(place)]
        said = {"boundary_ratio": dilation_ratio}
        write_pages(places.report, places.numbers, report, said, files, overwrite=options.overwrite)
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
        Setting("encoder", _kind(refiner.encoder), "sam"),
        *_beside(corrector.settings, SCCSettings()),
        Setting("seed", seed, 0),
    ]
    return said


def _kind(encoder: object) -> str:
    """What ``--encoder`` calls it, or of a network of one's own what kind it is."""
    said = as_extractor(encoder).describe()
    return encoder_name(said) or said.get("kind", type(encoder).__name__)


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


def _judge(
    corrector: ConnectivityCorrector,
    image: Path,
    label: Array,
    connectivities: Path,
    refined: ImageFiles,
) -> Judgement:
    known = connectivities_of(connectivities, label, corrector.label_space)
    found = corrector.correct_with_details(
        read_image(image), label, connectivities=known, confidence=confidence_of(refined)
    )
    return found.judgements[0]
