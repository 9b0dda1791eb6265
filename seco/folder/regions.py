"""Stage: find every image's regions once, for all later rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from seco.common.arrays import Array
from seco.common.files import PathLike, read_image
from seco.common.images import to_batch
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import ImageItem
from seco.common.jobs import JobOptions, Manifest, Outcome, Summary, run_job
from seco.common.jobs.journal import Journal, read_journal
from seco.common.jobs.manifest import MANIFEST
from seco.common.transfers import Carrier, Transfer
from seco.folder.outputs import file_at
from seco.folder.provenance import manifest_of
from seco.regions import Regions
from seco.sam.loading import as_segmenter
from seco.sam.proposal_settings import ProposalSettings, proposal_settings_of
from seco.sam.proposals import propose_regions
from seco.sam.protocol import PromptableSegmenter


def find_regions(
    inputs: Inputs,
    out: PathLike,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    options: JobOptions = JobOptions(),
) -> Summary:
    """Find what SAM sees in every image, and store it as ``OUT/<image>.npz``.

    Args:
        inputs: the images; labels are not looked at.
        out: folder for the regions, see :meth:`seco.Regions.save`.
        sam: see :func:`seco.load_sam`.
        settings: see :func:`seco.propose_regions`.
        options: how the job is run.

    Returns:
        What became of every image, by its place in the images' folder, whatever its label is
        called; the facts are the numbers of ``regions``.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`.
    """
    out, segmenter = Path(out), as_segmenter(sam)
    manifest = _manifest_of(segmenter, settings)
    carrier = Carrier(segmenter.device)

    def read(item: ImageItem) -> Array | Transfer:
        image = read_image(item.files.image)
        return image if carrier.device.type == "cpu" else carrier.there(to_batch(image)[0])

    def work(item: ImageItem, image: Array | Transfer) -> Transfer:
        placed = image.take()[0] if isinstance(image, Transfer) else image
        found = propose_regions(placed, segmenter, settings=settings, images_per_batch=1)
        assert isinstance(found, Regions), "of one image"
        return carrier.back(*vars(found).values())

    def write(item: ImageItem, found: Transfer) -> Mapping[str, Any]:
        regions = Regions(*found.take())
        regions.save(item.outputs[0])
        return {"regions": len(regions)}

    return run_job(
        [_item_of(files, out) for files in inputs.files],
        out,
        manifest,
        read=read,
        work=work,
        write=write,
        failures=inputs.failures,
        options=options,
    )


def check_regions(
    inputs: Inputs,
    folder: Path,
    sam: object,
    *,
    settings: ProposalSettings | None = None,
    options: JobOptions = JobOptions(),
) -> Summary:
    """Look whether a folder holds every image's regions, as :func:`find_regions` would find them.

    Nothing is written there. The versions of the libraries may be others.

    Args:
        inputs: the images.
        folder: that :func:`find_regions` wrote.
        sam: see there; this and the following.
        settings: see there.
        options: see there.

    Returns:
        ``"skipped"`` for every image whose regions are there, else a failure; names as there.

    Raises:
        ValueError: another model or other settings, or the folder does not say which.
        OSError: it cannot be read.
    """
    segmenter = as_segmenter(sam)
    wanted, found = _manifest_of(segmenter, settings), Manifest.read(folder)
    if found is None:
        raise ValueError(f"{folder}: expected the folder of seco regions, got one without manifest")
    others = wanted.differences(replace(found, versions=wanted.versions))
    if others:
        raise ValueError(
            f"{folder}: its regions were found otherwise: {'; '.join(others)}; expected the model "
            "and the settings of seco regions (--sam, --checkpoint, --precision, --set)"
        )
    journal = read_journal(folder, found.fingerprint)
    for outcome in inputs.failures if options.processes.first else ():
        options.report(outcome)
    options.start(len(options.processes.share(list(inputs.files))))

    def look(files: ImageFiles) -> Outcome:
        item = _item_of(files, folder)
        if journal.finished(item) is not None:
            return Outcome(item.name, "skipped")
        there = item.outputs[0].exists()
        return Outcome(
            item.name,
            "failed",
            f"{item.outputs[0]}: expected regions of this image, got "
            + ("those of another version of it" if there else "none"),
        )

    own = []
    for files in options.processes.share(list(inputs.files)):
        own.append(look(files))
        options.report(own[-1])
    place = {_item_of(files, folder).name: index for index, files in enumerate(inputs.files)}
    every = [outcome for share in options.processes.gather(own) for outcome in share]
    every.sort(key=lambda outcome: place[outcome.name])
    return Summary((*inputs.failures, *every))


def found_in(folder: Path) -> Journal | None:
    """What :func:`find_regions` says of a folder; ``None`` if the regions in it are of others.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    manifest = Manifest.read(folder)
    return None if manifest is None else read_journal(folder, manifest.fingerprint)


def found_by_another(folder: Path, sam: object) -> bool:
    """Whether :func:`find_regions` found the regions of a folder with another model.

    Args:
        folder: of the regions; of regions that are of others nothing is known.
        sam: see :func:`seco.load_sam`.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    found = Manifest.read(folder)
    return found is not None and found.models != _manifest_of(as_segmenter(sam), None).models


def check_age(files: ImageFiles, folder: Path, found: Journal) -> None:
    """Find that an image is the one that :func:`find_regions` saw, if it did, and how.

    Args:
        files: of the image.
        folder: of the regions.
        found: of :func:`found_in`.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it has changed, or its regions stayed when others were found otherwise.
    """
    if not files.image.exists():  # which is no other version of it
        raise FileNotFoundError(f"{files.image}: no such image")
    item = _item_of(files, folder)
    if found.is_of_others(item):
        raise ValueError(
            f"{item.outputs[0]}: expected regions of this image, got those of another version of "
            "it; seco regions finds them anew"
        )
    if found.is_made_otherwise(item):
        raise ValueError(
            f"{item.outputs[0]}: expected regions found as {MANIFEST} says, got those that other "
            "settings or another model found before; seco regions finds them anew"
        )


def regions_file(folder: Path, image_place: Path) -> Path:
    """Where an image's regions are."""
    return file_at(folder, image_place, ".npz")


def _manifest_of(segmenter: PromptableSegmenter, settings: ProposalSettings | None) -> Manifest:
    used = proposal_settings_of(segmenter) if settings is None else settings
    return manifest_of("seco regions", {"proposals": asdict(used)}, {"sam": segmenter})


def _item_of(files: ImageFiles, out: Path) -> ImageItem:
    # Named as without labels, so that both ways of finding them know each other's.
    place = files.image_place
    return ImageItem(replace(files, place=place), (files.image,), (regions_file(out, place),))
