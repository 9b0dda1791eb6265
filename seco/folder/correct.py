"""Stage: correct every image's label with a fitted corrector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seco.common.arrays import Array
from seco.common.files import PathLike, as_path, read_image
from seco.common.images import confidence_to_batch, labels_to_batch, to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import ImageItem, check_size, confidence_of, label_of
from seco.common.jobs import JobOptions, Summary, run_job
from seco.connectivities import Connectivities
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.connectivities import connectivities_of
from seco.folder.outputs import LabelResult, OutputFormat, connectivities_file, write_result
from seco.folder.provenance import manifest_of
from seco.folder.stage import check_confidences, count_decisions, input_settings

# image, label, confidence, connectivities
_Given = tuple[Array, Array, Array | None, list[Connectivities] | None]


def correct_folder(
    inputs: Inputs,
    corrector: PathLike,
    out: PathLike,
    *,
    encoder: object = None,
    device: str | None = None,
    connectivities: PathLike | None = None,
    output: OutputFormat = OutputFormat(),
    options: JobOptions = JobOptions(),
) -> Summary:
    """Correct the labels of a data set, raw or refined ones; anew where the corrector is another.

    Args:
        inputs: images, labels and, where they have them, confidences: how sure the labels were
            before, such as the scores of refining; needed if the corrector was fitted with them.
        corrector: folder of :func:`seco.folder.fit_folder`; its label space is the labels'.
        out: folder for the corrected labels, named as the labels.
        encoder: the corrector's, if it is not its own.
        device: of the corrector.
        connectivities: folder that refining wrote, see :class:`seco.folder.OutputFormat`: the
            regions to judge. ``None``: the labels' connected components.
        output: layout, and where the scores and the connectivities go.
        options: how the job is run.

    Returns:
        What became of every image, with the facts of :func:`seco.folder.outputs.write_result`.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`, no corrector, or no
            confidences for one that was fitted with them.

    Warns:
        UserWarning: the corrector was fitted with connectivities and judges without, or the other
            way round.
    """
    fitted_in, place, parts = Path(corrector), Path(out), as_path(connectivities)
    fitted = ConnectivityCorrector.load(corrector, encoder=encoder, device=device)
    fitted.warn_if_fitted_otherwise(regions=parts is not None, aloud=options.processes.first)
    if fitted.record.confident:
        check_confidences(inputs, f"as {fitted_in} was fitted with them")
    space = fitted.label_space
    output.check_space(space)
    manifest = manifest_of(
        "seco correct",
        {
            **input_settings(inputs, space),
            **output.describe(),
            "connectivities": parts is not None,
        },
        {"encoder": encoder},
    )

    def regions_of(files: ImageFiles) -> Path | None:
        return None if parts is None else connectivities_file(parts, files)

    def read(item: ImageItem) -> _Given:
        files, path = item.files, regions_of(item.files)
        image, label = read_image(files.image), label_of(files, inputs, space)
        check_size(files, label, image.shape[:2], files.image)
        known = None if path is None else [connectivities_of(path, label, space)]
        return image, label, confidence_of(files), known

    def work(item: ImageItem, given: _Given) -> LabelResult:
        image, label, confidence, known = given
        own = labels_to_batch(label)
        scores = None
        if confidence is not None:
            scores = confidence_to_batch("confidence", confidence, own)
        found = fitted.correct_batch(to_batch(image), own, connectivities=known, scores=scores)
        (judged,) = found.judgements
        decided = count_decisions(judged)
        return LabelResult(label, found.labels, found.scores, judged.corrected(), decided)

    def write(item: ImageItem, result: LabelResult) -> Mapping[str, Any]:
        return write_result(output.of_image(item.files, place), result, space, output)

    items = []
    for files in inputs.files:
        # The corrector is one of the inputs: after a new one everything is corrected again.
        own = (files.image, files.label, files.confidence, regions_of(files))
        paths = (*own, fitted_in / CORRECTOR_FILE)
        given = tuple(path for path in paths if path is not None)
        items.append(ImageItem(files, given, output.paths(files, place)))
    return run_job(
        items,
        place,
        manifest,
        read=read,
        work=work,
        write=write,
        failures=inputs.failures,
        options=options,
    )
