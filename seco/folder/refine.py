"""Stage: refine every image's label, and, with a corrector, correct it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.files import read_image
from seco.common.images import labels_to_batch, to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import ImageItem, confidence_of, label_of
from seco.common.jobs import JobOptions, Summary, run_job
from seco.common.jobs.journal import Journal
from seco.common.labels import LabelSpace
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.connectivities import warn_if_fitted_otherwise
from seco.folder.outputs import LabelResult, OutputFormat, ResultFiles, write_result
from seco.folder.provenance import manifest_of
from seco.folder.regions import check_age, found_in, regions_file
from seco.folder.stage import count_decisions, input_settings
from seco.refine import check_corrector, refine_with_details
from seco.regions import Regions
from seco.sam.loading import as_segmenter
from seco.settings import PSASettings

Given = tuple[Array | None, Array, Array | None, Regions | None]


@dataclass(frozen=True)
class Refiner:
    """How labels in files are refined: the arguments of :func:`seco.refine_pseudo_labels`.

    Args:
        sam: a segmenter; ``None`` where regions alone shall vote.
        label_space: of the labels.
        regions: folder of :func:`seco.folder.find_regions`.
        corrector: folder of a fitted corrector, to correct what was refined.
        encoder: the corrector's, if it is not its own.
        device: of the corrector.
        keep_fraction: this and the following: see :func:`seco.refine_pseudo_labels`.
        confidence_threshold: only where there are confidences.
        outside: what pixels outside every region become.
        settings: of the aggregation.
    """

    sam: object | None
    label_space: LabelSpace
    regions: Path | None = None
    corrector: Path | None = None
    encoder: object = None
    device: str | None = None
    keep_fraction: float = 0.5
    confidence_threshold: float | None = None
    outside: Literal["ignore", "keep"] = "ignore"
    settings: PSASettings = PSASettings()

    @cached_property
    def loaded(self) -> ConnectivityCorrector | None:
        """The corrector.

        Raises:
            OSError, ValueError: it cannot be read, or is for other classes.
        """
        if self.corrector is None:
            return None
        fitted = ConnectivityCorrector.load(
            self.corrector, encoder=self.encoder, device=self.device
        )
        check_corrector(fitted, self.label_space)
        return fitted

    @cached_property
    def found(self) -> Journal | None:
        """What is known of how the regions were found.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        return None if self.regions is None else found_in(self.regions)

    def files_read(self, files: ImageFiles) -> tuple[Path, ...]:
        """The files that an image's refined label is made of."""
        image = files.image if self._looks else None
        corrector = None if self.corrector is None else self.corrector / CORRECTOR_FILE
        paths = (image, files.label, files.confidence, self._regions_of(files), corrector)
        return tuple(path for path in paths if path is not None)

    def read(self, files: ImageFiles, inputs: Inputs) -> Given:
        """Read them.

        Raises:
            OSError, ValueError: a file cannot be read, or the regions are those of an image that
                has changed since.
        """
        regions = self._regions_of(files)
        if self.regions is not None and self.found is not None:
            check_age(files, self.regions, self.found)
        return (
            read_image(files.image) if self._looks else None,
            label_of(files, inputs, self.label_space),
            confidence_of(files),
            None if regions is None else Regions.load(regions),
        )

    def refine(self, given: Given) -> LabelResult:
        """Refine one label."""
        image, label, confidence, regions = given
        img, pl = self._placed(image, label)
        found = refine_with_details(
            img,
            pl,
            self.sam,
            label_space=self.label_space,
            confidence=confidence,
            keep_fraction=self.keep_fraction,
            confidence_threshold=self.confidence_threshold,
            regions=regions,
            outside=self.outside,
            corrector=self.loaded,
            settings=self.settings,
        )
        judged = {} if found.judgements is None else count_decisions(found.judgements[0])
        return LabelResult(label, found.labels, found.scores, found.connectivities[0], judged)

    def selection(self, inputs: Inputs) -> dict[str, float | None]:
        """What selects confident pixels, if there are confidences, for a manifest."""
        if all(files.confidence is None for files in inputs.files):
            return {}
        threshold = self.confidence_threshold
        fraction = self.keep_fraction if threshold is None else None
        return {"keep_fraction": fraction, "confidence_threshold": threshold}

    def _placed(
        self, image: Array | None, label: Array
    ) -> tuple[Array | Tensor | None, Array | Tensor]:
        """Image and label where the model is: the rest of the work is done where they are."""
        device = torch.device("cpu") if self.sam is None else as_segmenter(self.sam).device
        if device.type == "cpu" or image is None:
            return image, label
        return to_batch(image)[0].to(device), labels_to_batch(label)[0].to(device)

    @property
    def _looks(self) -> bool:
        return self.sam is not None or self.corrector is not None

    def _regions_of(self, files: ImageFiles) -> Path | None:
        return None if self.regions is None else regions_file(self.regions, files.image_place)


def refine_folder(
    inputs: Inputs,
    out: Path,
    refiner: Refiner,
    *,
    output: OutputFormat = OutputFormat(),
    options: JobOptions = JobOptions(),
) -> Summary:
    """Refine the labels of a data set.

    Args:
        inputs: images, labels and, where they have them, confidences.
        out: folder for the refined labels, named as the labels.
        refiner: model, classes and settings.
        output: layout, and where the scores and the connectivities go.
        options: how the job is run.

    Returns:
        What became of every image, with the facts of :func:`seco.folder.outputs.write_result`.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`.

    Warns:
        UserWarning: the corrector was fitted to connected components, and judges regions here.
    """
    space = refiner.label_space
    output.check_space(space)
    _ = refiner.loaded, refiner.found  # what is wrong with them is no file's fault
    if refiner.corrector is not None and options.processes.first:
        warn_if_fitted_otherwise(refiner.corrector, regions=True)
    manifest = manifest_of(
        "seco refine",
        {
            **input_settings(inputs, space),
            **output.describe(),
            "regions": refiner.regions is not None,
            "corrector": refiner.corrector is not None,
            **refiner.selection(inputs),
            "outside": refiner.outside,
            "psa": _settings_used(refiner),
        },
        {
            "sam": None if refiner.sam is None else as_segmenter(refiner.sam),
            "encoder": refiner.encoder,
        },
    )

    def write(item: ImageItem, result: LabelResult) -> Mapping[str, Any]:
        return write_result(output.of_image(item.files, out), result, space, output)

    return run_job(
        [
            ImageItem(files, refiner.files_read(files), output.paths(files, out))
            for files in inputs.files
        ],
        out,
        manifest,
        read=lambda item: refiner.read(item.files, inputs),
        work=lambda item, given: refiner.refine(given),
        write=write,
        failures=inputs.failures,
        options=options,
    )


def _settings_used(refiner: Refiner) -> dict[str, Any]:
    """Settings of the aggregation for a manifest; how regions are found only where they are."""
    said = asdict(refiner.settings)
    del said["images_per_batch"]  # a job takes them one by one
    if refiner.regions is not None:
        del said["proposals"]
    return said


def refine_file(inputs: Inputs, label: Path, scores: Path | None, refiner: Refiner) -> None:
    """Refine the label of one image, without a job around it.

    Args:
        inputs: of :func:`seco.folder.single_input`.
        label: PNG to write.
        scores: PNG or ``.npy`` to write the loss weights to, or ``None``.
        refiner: model, classes and settings.

    Raises:
        TypeError, ValueError: as :func:`seco.refine_pseudo_labels`.
        OSError: a file cannot be read or written.

    Warns:
        UserWarning: as :func:`refine_folder`.
    """
    (files,) = inputs.files
    OutputFormat().check_space(refiner.label_space)
    if refiner.corrector is not None:
        warn_if_fitted_otherwise(refiner.corrector, regions=True)
    result = refiner.refine(refiner.read(files, inputs))
    written = ResultFiles(label, scores)
    for path in written.listed:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_result(written, result, refiner.label_space, OutputFormat())
