"""Stage: refine every image's label, and, with a corrector, correct it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from seco.arguments import check_corrector, check_options
from seco.common.arrays import Array
from seco.common.files import PathLike, as_path, read_image
from seco.common.images import confidence_to_batch, labels_to_batch, to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import ImageItem, check_size, confidence_of, label_of
from seco.common.jobs import JobOptions, Summary, run_job
from seco.common.jobs.journal import Journal
from seco.common.labels import LabelSpace
from seco.common.transfers import Carrier, Transfer
from seco.connectivities import Connectivities
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.outputs import LabelResult, OutputFormat, ResultFiles, write_result
from seco.folder.provenance import manifest_of
from seco.folder.regions import check_age, found_in, regions_file
from seco.folder.stage import count_decisions, input_settings
from seco.refine import refine_with_details
from seco.regions import Regions
from seco.sam.loading import as_segmenter
from seco.settings import PSASettings


class Given(NamedTuple):
    """What was read for an image."""

    image: Array | None
    label: Array
    confidence: Array | None
    regions: Regions | None
    placed: Transfer | None = None  # the same, as far as it is there, on its way to the model


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

    Raises:
        TypeError, ValueError: an argument of another kind or range.
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

    def __post_init__(self) -> None:
        for name in ("regions", "corrector"):  # strings will do
            object.__setattr__(self, name, as_path(getattr(self, name)))
        # What no image is to blame for is not told image by image.
        check_options(
            self.label_space,
            self.settings,
            self.outside,
            self.keep_fraction,
            self.confidence_threshold,
            has_sam=self.sam is not None,
            has_regions=self.regions is not None,
        )

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
        # Regions are of an image as it was: whether it still is must be asked at every run.
        image = files.image if self._looks or self.found is not None else None
        corrector = None if self.corrector is None else self.corrector / CORRECTOR_FILE
        paths = (image, files.label, files.confidence, self._regions_of(files), corrector)
        return tuple(path for path in paths if path is not None)

    def read(self, files: ImageFiles, inputs: Inputs) -> Given:
        """Read them.

        Raises:
            OSError, ValueError: a file cannot be read, its size is not the label's, or the regions
                are those of an image that has changed since.
        """
        path = self._regions_of(files)
        if self.regions is not None and self.found is not None:
            check_age(files, self.regions, self.found)
        image = read_image(files.image) if self._looks else None
        label = label_of(files, inputs, self.label_space)
        if image is not None:
            check_size(files, label, image.shape[:2], files.image)
        regions = None
        if path is not None:
            regions = Regions.load(path)
            check_size(files, label, regions.size, path)
        return self._placed(Given(image, label, confidence_of(files), regions))

    def refine(self, given: Given) -> LabelResult:
        """Refine one label."""
        label = given.label
        img: Array | Tensor | None = given.image
        pl: Array | Tensor = label
        confidence: Array | Tensor | None = given.confidence
        known = given.regions
        if given.placed is not None:
            img, pl, *more = given.placed.take()
            if confidence is not None:
                confidence = more.pop(0)
            if known is not None:
                known = Regions(*more)
        found = refine_with_details(
            img,
            pl,
            self.sam,
            label_space=self.label_space,
            confidence=confidence,
            keep_fraction=self.keep_fraction,
            confidence_threshold=self.confidence_threshold,
            regions=known,
            outside=self.outside,
            corrector=self.loaded,
            settings=replace(self.settings, images_per_batch=1),
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

    @cached_property
    def carrier(self) -> Carrier:
        """To where the model is and back: all of the work is done there."""
        cpu = torch.device("cpu")
        return Carrier(cpu if self.sam is None else as_segmenter(self.sam).device)

    def _placed(self, given: Given) -> Given:
        if self.carrier.device.type == "cpu" or given.image is None:
            return given
        tensors = [to_batch(given.image)[0], labels_to_batch(given.label)[0]]
        if given.confidence is not None:
            tensors.append(confidence_to_batch("confidence", given.confidence, tensors[1][None])[0])
        if given.regions is not None:
            tensors.extend(vars(given.regions).values())
        return given._replace(placed=self.carrier.there(*tensors))

    @property
    def _looks(self) -> bool:
        return self.sam is not None or self.corrector is not None

    def _regions_of(self, files: ImageFiles) -> Path | None:
        return None if self.regions is None else regions_file(self.regions, files.image_place)


def refine_folder(
    inputs: Inputs,
    out: PathLike,
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
    space, place = refiner.label_space, Path(out)
    output.check_space(space)
    # what is wrong with them is no file's fault
    _ = refiner.found, refiner.carrier
    if refiner.loaded is not None:  # before hours of work, not after an image
        refiner.loaded.warn_if_fitted_otherwise(regions=True, aloud=options.processes.first)
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
            # Without a corrector it sees nothing, as in the first half of a chain.
            "encoder": None if refiner.corrector is None else refiner.encoder,
        },
    )

    def work(item: ImageItem, given: Given) -> tuple[Array, Transfer, dict[str, int]]:
        found = refiner.refine(given)
        parts = vars(found.connectivities).values()
        return found.before, refiner.carrier.back(found.labels, found.scores, *parts), found.regions

    def write(item: ImageItem, done: tuple[Array, Transfer, dict[str, int]]) -> Mapping[str, Any]:
        before, leaving, judged = done
        labels, scores, *parts = leaving.take()
        result = LabelResult(before, labels, scores, Connectivities(*parts), judged)
        return write_result(output.of_image(item.files, place), result, space, output)

    return run_job(
        [
            ImageItem(files, refiner.files_read(files), output.paths(files, place))
            for files in inputs.files
        ],
        place,
        manifest,
        read=lambda item: refiner.read(item.files, inputs),
        work=work,
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


def refine_file(inputs: Inputs, label: PathLike, scores: PathLike | None, refiner: Refiner) -> None:
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
    result = refiner.refine(refiner.read(files, inputs))
    written = ResultFiles(Path(label), as_path(scores))
    for path in written.listed:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_result(written, result, refiner.label_space, OutputFormat())
