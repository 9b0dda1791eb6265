"""Stage: correct every image's label with a fitted corrector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seco.common.arrays import Array
from seco.common.checks import check_labels
from seco.common.files import read_image
from seco.common.images import check_pair, confidence_to_batch, labels_to_batch, to_batch
from seco.common.inputs import Inputs
from seco.common.items import ImageItem, confidence_of, label_of
from seco.common.jobs import JobOptions, Summary, run_job
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.outputs import LabelResult, OutputFormat, write_result
from seco.folder.provenance import manifest_of
from seco.folder.stage import count_decisions, input_settings


def correct_folder(
    inputs: Inputs,
    corrector: Path,
    out: Path,
    *,
    encoder: object = None,
    device: str | None = None,
    output: OutputFormat = OutputFormat(),
    options: JobOptions = JobOptions(),
) -> Summary:
    """Correct the labels of a data set, raw or refined ones; anew where the corrector is another.

    Args:
        inputs: images, labels and, where they have them, confidences: how sure the labels were
            before, such as the scores of refining.
        corrector: folder of :func:`seco.folder.fit_folder`; its label space is the labels'.
        out: folder for the corrected labels, named as the labels.
        encoder: the corrector's, if it is not its own.
        device: of the corrector.
        output: layout, and where the scores go.
        options: how the job is run.

    Returns:
        What became of every image, with the facts of :func:`seco.folder.outputs.write_result`.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`, or no corrector.
    """
    fitted = ConnectivityCorrector.load(corrector, encoder=encoder, device=device)
    space = fitted.label_space
    manifest = manifest_of(
        "seco correct",
        {**input_settings(inputs, space), **output.describe()},
        {"encoder": encoder},
    )

    def read(item: ImageItem) -> tuple[Array, Array, Array | None]:
        files = item.files
        return read_image(files.image), label_of(files, inputs, space), confidence_of(files)

    def work(item: ImageItem, given: tuple[Array, Array, Array | None]) -> LabelResult:
        image, label, confidence = given
        check_labels("label", label, space)
        check_pair(image, label)
        own = labels_to_batch(label)
        scores = None
        if confidence is not None:
            scores = confidence_to_batch("confidence", confidence, own)
        found = fitted.correct_batch(to_batch(image), own, scores=scores)
        decided = count_decisions(found.judgements[0])
        return LabelResult(label, found.labels, found.scores, decided)

    def write(item: ImageItem, result: LabelResult) -> Mapping[str, Any]:
        return write_result(item.outputs, result, space, output)

    items = []
    for files in inputs.files:
        # The corrector is one of the inputs: after a new one everything is corrected again.
        paths = (files.image, files.label, files.confidence, corrector / CORRECTOR_FILE)
        given = tuple(path for path in paths if path is not None)
        items.append(ImageItem(files, given, output.paths(files, out)))
    return run_job(
        items,
        out,
        manifest,
        read=read,
        work=work,
        write=write,
        failures=inputs.failures,
        options=options,
    )
