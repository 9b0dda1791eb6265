"""Stage: find every image's regions once, for all later rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from seco.common.arrays import Array
from seco.common.files import read_image
from seco.common.inputs import Inputs
from seco.common.items import ImageItem
from seco.common.jobs import JobOptions, Summary, run_job
from seco.folder.outputs import file_at
from seco.folder.provenance import manifest_of
from seco.regions import Regions
from seco.sam.loading import as_segmenter
from seco.sam.proposal_settings import ProposalSettings, proposal_settings_of
from seco.sam.proposals import propose_regions


def find_regions(
    inputs: Inputs,
    out: Path,
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
    segmenter = as_segmenter(sam)
    settings = proposal_settings_of(segmenter) if settings is None else settings
    manifest = manifest_of("seco regions", {"proposals": asdict(settings)}, {"sam": segmenter})

    def work(item: ImageItem, image: Array) -> Regions:
        return propose_regions(image, segmenter, settings=settings)

    def write(item: ImageItem, regions: Regions) -> Mapping[str, Any]:
        regions.save(item.outputs[0])
        return {"regions": len(regions)}

    return run_job(
        [
            # Named as without labels, so that both ways of finding them know each other's.
            ImageItem(
                replace(files, place=files.image_place),
                (files.image,),
                (regions_file(out, files.image_place),),
            )
            for files in inputs.files
        ],
        out,
        manifest,
        read=lambda item: read_image(item.files.image),
        work=work,
        write=write,
        failures=inputs.failures,
        options=options,
    )


def regions_file(folder: Path, image_place: Path) -> Path:
    """Where an image's regions are."""
    return file_at(folder, image_place, ".npz")
