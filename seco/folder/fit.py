"""Stage: fit a corrector to a data set's labels, read from the disk again and again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seco.common.arrays import Array
from seco.common.files import PathLike, as_path, read_image
from seco.common.images import confidence_to_batch, labels_to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import check_size, confidence_of, label_of
from seco.common.jobs import JobOptions, Outcome, Signature, Summary, overlap, run_together
from seco.common.jobs.run import failure, is_about_file, write_summary
from seco.common.labels import LabelSpace
from seco.common.progress import follow
from seco.connectivities import Connectivities
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.lessons import FEATURE_MEMORY
from seco.correction.samples import Sample, find_connectivities
from seco.correction.settings import SCCSettings
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.connectivities import connectivities_of
from seco.folder.outputs import connectivities_file
from seco.folder.provenance import manifest_of
from seco.folder.stage import check_confidences, input_settings


@dataclass(frozen=True)
class FolderSamples:
    """Images and labels of a data set as samples that are read when they are asked for.

    Where the images have confidences, so have the samples.

    Args:
        inputs: of the data set.
        files: those of its images that are used.
        label_space: of the labels.
        settings: how components are found where there are no connectivities.
        connectivities: folder that refining wrote: regions to learn from. ``None``: the labels'
            connected components.
    """

    inputs: Inputs
    files: Sequence[ImageFiles]
    label_space: LabelSpace
    settings: SCCSettings = SCCSettings()
    connectivities: Path | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Sample, bool]:
        """A sample, and whether any pixel of its label has a class.

        Raises:
            OSError, ValueError: a file cannot be read, or does not fit the others.
        """
        files, space = self.files[index], self.label_space
        image, label = read_image(files.image), label_of(files, self.inputs, space)
        check_size(files, label, image.shape[:2], files.image)
        found: Array | Connectivities = label
        if self.connectivities is not None:
            known = connectivities_of(connectivities_file(self.connectivities, files), label, space)
            wide = torch.from_numpy(label.astype(np.int64))
            found = find_connectivities(wide, space.ignore_index, self.settings, known=known)
        labelled = bool((label != space.ignore_index).any())
        confidence = confidence_of(files)
        if confidence is None:
            return (image, found), labelled
        confidence_to_batch("confidence", confidence, labels_to_batch(label))  # raises
        return (image, found, confidence), labelled

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def files_read(self, files: ImageFiles) -> tuple[Path, ...]:
        """Those of an image's files that its sample is made of."""
        paths = [files.image, files.label, files.confidence]
        if self.connectivities is not None:
            paths.append(connectivities_file(self.connectivities, files))
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class _Training:
    """A fit as the only item of a job: all files in, one corrector out."""

    inputs: tuple[Path, ...]
    folder: Path
    name: str = "corrector"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files of the corrector that is there; without one, the file that will name them."""
        path = self.folder / CORRECTOR_FILE
        try:
            tensors: str = json.loads(path.read_bytes())["tensors"]
        except (OSError, ValueError, KeyError, TypeError):
            return (path,)
        return path, self.folder / Path(tensors).name


def fit_folder(
    inputs: Inputs,
    out: PathLike,
    *,
    label_space: LabelSpace,
    settings: SCCSettings = SCCSettings(),
    encoder: object = None,
    seed: int = 0,
    device: str | None = None,
    connectivities: PathLike | None = None,
    checkpoint_every: int = 500,
    feature_memory: int = FEATURE_MEMORY,
    progress: bool = False,
    options: JobOptions = JobOptions(),
) -> Summary:
    """Fit a corrector to a data set and save it; a run that was killed is gone on with.

    Every image and label is read once before the training, so that bad ones are reported and left
    out. The state of the training is kept in ``OUT/.job`` under a name that stands for the content
    of all files and the settings, so that it is never that of other data.

    Args:
        inputs: images and labels, raw or refined ones. Where they have confidences, as all of them
            or none must, the corrector counts these, see :meth:`seco.ConnectivityCorrector.fit`,
            and needs them from then on.
        out: folder for the corrector, see :meth:`seco.ConnectivityCorrector.load`.
        label_space: of the labels.
        settings: see :class:`seco.SCCSettings`.
        encoder: see :class:`seco.ConnectivityCorrector`; this and the following.
        seed: see there.
        device: see there.
        connectivities: folder that refining wrote, see :class:`seco.folder.OutputFormat`: the
            regions to learn from, as :func:`seco.folder.correct_folder` judges them then. ``None``:
            the labels' connected components.
        checkpoint_every: training steps between two writings of the state.
        feature_memory: see :meth:`seco.ConnectivityCorrector.fit`.
        progress: show bars.
        options: how the job is run; all processes fit together.

    Returns:
        A failure for every image that was left out, and the outcome of ``"corrector"``; its facts
        are ``samples`` and ``iterations``.

    Raises:
        ValueError: as :func:`seco.common.jobs.run_job`; no usable image, no label with a class,
            some with and some without a confidence, or nothing to learn from.
        OSError: the folder cannot be written.
    """
    out, connectivities = Path(out), as_path(connectivities)
    processes = options.processes
    progress = progress and processes.first
    confident = any(files.confidence is not None for files in inputs.files)
    if confident:
        check_confidences(inputs, "as others have one")
    manifest = manifest_of(
        "seco fit",
        {
            **input_settings(inputs, label_space),
            "connectivities": connectivities is not None,
            # "confidence" alone stood here, too, before the corrector counted it
            "witness": "confidence" if confident else "none",
            "scc": asdict(settings),
            "seed": seed,
        },
        {"encoder": encoder},
        fits=True,
    )
    samples = FolderSamples(inputs, inputs.files, label_space, settings, connectivities)
    paths = (path for files in inputs.files for path in samples.files_read(files))
    readable = (path for path in paths if os.access(path, os.R_OK))
    training = _Training(tuple(readable), out)
    failures: list[Outcome] = []

    def sign() -> list[Signature]:
        for outcome in inputs.failures if processes.first else ():
            options.report(outcome)
        signatures, bad, labelled = _check(
            samples, training.inputs, progress=progress, options=options
        )
        failures.extend(bad)
        count = len(inputs.files) - len(bad)
        if not count:
            raise ValueError("expected at least one usable image with its label, got none")
        if not labelled:
            raise ValueError(
                f"labels: expected at least one with a class at some pixel, got none of {count}: "
                f"all pixels are {label_space.ignore_index} (ignore)"
            )
        return [signatures[path] for path in training.inputs]

    def work(state: Path) -> dict[str, Any]:
        unusable = {outcome.name for outcome in failures}
        usable = [files for files in inputs.files if files.name not in unusable]
        corrector = ConnectivityCorrector(
            label_space, encoder, settings=settings, seed=seed, device=device
        ).fit(
            replace(samples, files=usable),
            checkpoint=state / "training.safetensors",
            checkpoint_every=checkpoint_every,
            feature_memory=feature_memory,
            readers=2,
            data_parallel=processes.count > 1,
            progress=progress,
        )
        if processes.first:
            corrector.save(out)
        return {
            "samples": len(usable),
            "iterations": corrector.record.iterations,
            "failures": {outcome.name: outcome.reason for outcome in failures},
        }

    outcome = run_together(training, out, manifest, work=work, sign=sign, options=options)
    if outcome.status == "skipped":
        known = outcome.facts["failures"].items()
        failures = [Outcome(name, "failed", reason) for name, reason in known]
        for bad in (*inputs.failures, *failures) if processes.first else ():
            options.report(bad)
    summary = Summary((*inputs.failures, *failures, outcome))
    if processes.first:
        write_summary(summary, out, manifest, processes.count)
    return summary


def _check(
    samples: FolderSamples,
    paths: Sequence[Path],
    *,
    progress: bool,
    options: JobOptions,
) -> tuple[dict[Path, Signature], list[Outcome], int]:
    """Read everything once, shared by the processes.

    Returns:
        Signatures of files, failures of images, and how many of the others have a class somewhere.
    """
    readable = set(paths)

    def read(index: int) -> tuple[dict[Path, Signature], Outcome | None, bool]:
        files = samples.files[index]
        signed = {
            path: Signature.of(path) for path in readable.intersection(samples.files_read(files))
        }
        try:
            _, classes = samples.read(index)
        except Exception as error:
            if not is_about_file(error):
                raise
            return signed, failure(files.name, error), False
        return signed, None, classes

    signatures: dict[Path, Signature] = {}
    failures, labelled = [], 0
    own = options.processes.share(list(range(len(samples))))
    checked = overlap(own, read, lambda index, found: found, lambda index, found: found)
    first = options.processes.first
    for _, future in follow(checked, "Checking files", len(own), bar=progress, log=first):
        signed, bad, classes = future.result()
        signatures |= signed
        labelled += classes
        if bad is not None:
            failures.append(bad)
            options.report(bad)
    shares = options.processes.gather((signatures, failures, labelled))
    place = {files.name: index for index, files in enumerate(samples.files)}
    return (
        {path: one for share, _, _ in shares for path, one in share.items()},
        sorted((bad for _, share, _ in shares for bad in share), key=lambda bad: place[bad.name]),
        sum(count for _, _, count in shares),
    )
