"""What the stages in a folder were made with, and whether others may be made beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from seco.common.jobs import Manifest
from seco.common.jobs.journal import hold_folder
from seco.common.jobs.manifest import MANIFEST, check_folder, claim_folder
from sgg.folder.provenance import manifest_of
from sgg.progressive.places import Places
from sgg.progressive.run import Run


@contextmanager
def claimed(run: Run, strengths: Sequence[float]) -> Iterator[None]:
    """Hold a run's folder; what told of its stages is gone, for they may be made anew.

    Args:
        run: whose.
        strengths: of its stages.

    Raises:
        ValueError: something in it was made otherwise; nothing is written.
    """
    places, processes, overwrite = run.places, run.options.processes, run.options.overwrite
    manifest, outputs = _manifest(run), [places.data(1) / MANIFEST, places.numbers]
    _check_stages(places, strengths, overwrite=overwrite)
    if not overwrite:
        check_folder(places.out, manifest, outputs)  # before anything is written there
    with hold_folder(places.out, processes):
        claim_folder(places.out, manifest, outputs, overwrite=overwrite)
        if processes.first:
            places.numbers.unlink(missing_ok=True)
            places.report.unlink(missing_ok=True)
        yield


def _check_stages(places: Places, strengths: Sequence[float], *, overwrite: bool) -> None:
    """Raise ``ValueError`` if stages are there that are not asked for, or of other strengths."""
    for number in places.stages():
        if number > len(strengths):
            raise ValueError(
                f"{places.out}: holds stage {number}, expected at most {len(strengths)}: give its "
                "strength too, choose another folder, or delete that stage's"
            )
        made = Manifest.read(places.data(number))
        if made is None or overwrite:
            continue
        before, now = made.settings.get("strength"), strengths[number - 1]
        if before != now:
            raise ValueError(
                f"{places.data(number)}: was made otherwise: its strength is {now}, was {before}; "
                "choose another folder, or --overwrite to make it and what follows anew"
            )


def _manifest(run: Run) -> Manifest:
    """Of the whole: what all its stages have in common."""
    how, space = run.translation.describe(), run.rulers.label_space
    settings = {
        "translation": {name: value for name, value in how.items() if name != "strength"},
        "finetune": run.trainer,
        "labels_by": run.labels_by,
        "seed": run.seed,
        "classes": space.names,
        "ignore_index": space.ignore_index,
        "stored_ignore_index": run.source.inputs.ignore_index,
    }
    models = {"diffusion": run.model, "segmenter": run.rulers.source_segmenter}
    return manifest_of("sgg progressive", settings, models)
