"""The stages one after the other: regions, refine, fit, correct."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seco.common.files import PathLike, as_path
from seco.common.inputs import ImageFiles, Inputs
from seco.common.jobs import JobOptions, Manifest, Outcome, Summary
from seco.common.jobs.manifest import check_folder
from seco.correction.lessons import FEATURE_MEMORY
from seco.correction.settings import SCCSettings
from seco.correction.storage import CORRECTOR_FILE
from seco.folder.correct import correct_folder
from seco.folder.first_look import check_some_inputs
from seco.folder.fit import fit_folder
from seco.folder.outputs import OutputFormat
from seco.folder.refine import Refiner, refine_folder
from seco.folder.regions import check_regions, find_regions


@dataclass(frozen=True)
class Places:
    """Where the chain keeps what, in one folder.

    Args:
        out: that folder.

    Example:
        >>> Places(Path("out")).labels.as_posix()
        'out/labels'
    """

    out: Path

    @property
    def regions(self) -> Path:
        """What SAM sees in the images."""
        return self.out / "regions"

    @property
    def refined(self) -> Path:
        """The labels after aggregation (PSA)."""
        return self.out / "psa"

    @property
    def refined_scores(self) -> Path:
        """How sure they are."""
        return self.out / "psa_scores"

    @property
    def refined_connectivities(self) -> Path:
        """The regions that they consist of."""
        return self.out / "psa_connectivities"

    @property
    def corrector(self) -> Path:
        """The fitted corrector."""
        return self.out / "corrector"

    @property
    def labels(self) -> Path:
        """The labels after correction (SCC): what the chain is for."""
        return self.out / "labels"

    @property
    def scores(self) -> Path:
        """How sure they are: loss weights."""
        return self.out / "scores"

    @property
    def measures(self) -> Path:
        """What the report was counted from, image by image."""
        return self.out / "measures"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.out / "report.html"

    @property
    def numbers(self) -> Path:
        """The same for programs."""
        return self.out / "report.json"


@dataclass(frozen=True)
class Chained:
    """What the chain has done.

    Args:
        finished: the images that went through, with their raw labels.
        refined: the same with the refined labels and their scores.
        failures: of the others.
        facts: an image's name -> what correcting it said, see
            :func:`seco.folder.outputs.write_result`.
        iterations: training steps of the corrector.
    """

    finished: Inputs
    refined: Inputs
    failures: tuple[Outcome, ...]
    facts: Mapping[str, Mapping[str, Any]]
    iterations: int


def run_chain(
    inputs: Inputs,
    out: PathLike,
    refiner: Refiner,
    *,
    regions: PathLike | None = None,
    settings: SCCSettings = SCCSettings(),
    seed: int = 0,
    checkpoint_every: int = 500,
    feature_memory: int = FEATURE_MEMORY,
    progress: bool = False,
    announce: Callable[[str], None] = lambda stage: None,
    options: JobOptions = JobOptions(),
) -> Chained:
    """Find regions, refine, fit a corrector to what was refined, and correct it.

    Fitted to and judged are the regions that refining found, not the components of its labels.

    Every stage is a job of its own: what is finished is not done again, and an image that fails
    in one is left out of the next. Where inputs have changed, what was made of them is made anew.
    With ``options.overwrite`` so is what other settings, models or versions of the libraries made;
    the rest stays: other settings of the correction are no reason to find the regions again.

    Args:
        inputs: images, raw labels and, where they have them, confidences.
        out: see :class:`Places`.
        refiner: how labels are refined, without regions and corrector, which the chain makes with
            its encoder.
        regions: folder of :func:`seco.folder.find_regions` with the images' regions, found by the
            refiner's model with its settings: then they are not found anew, and nothing is written
            there, whatever ``options.overwrite`` says.
        settings: of fitting and correcting.
        seed: of fitting.
        checkpoint_every: training steps between two savings.
        feature_memory: of fitting, see :meth:`seco.ConnectivityCorrector.fit`.
        progress: show the bars of fitting.
        announce: called with the name of each stage before it begins.
        options: how the jobs are run.

    Raises:
        ValueError, OSError, JobStopped: as the stages; ``regions`` of another model or other
            settings, or for a method that uses none; before the first stage, no usable image among
            those looked at, or outputs of others in a folder of the chain.
    """
    out, regions = Path(out), as_path(regions)
    places, failures = Places(out), list(inputs.failures)
    left = inputs
    written = OutputFormat(
        scores=places.refined_scores, connectivities=places.refined_connectivities
    )
    corrected = OutputFormat(scores=places.scores)
    # What the later stages would say after hours is said before the first one.
    check_some_inputs(inputs, refiner.label_space)
    if not options.overwrite:
        outputs = {
            "seco refine": _paths(inputs, places.refined, written),
            "seco fit": (places.corrector, [places.corrector / CORRECTOR_FILE]),
            "seco correct": _paths(inputs, places.labels, corrected),
        }
        for job, (folder, paths) in outputs.items():
            _check_origin(job, folder, paths)
    # The stages' own overwriting would make anew what is as it shall be, hours of work.
    options = replace(options, overwrite=False, take_over=options.overwrite)
    if refiner.settings.method != "prompts":
        sam, proposals = refiner.sam, refiner.settings.proposals
        if regions is None:
            announce("regions")
            regions = places.regions
            summary = find_regions(left, regions, sam, settings=proposals, options=options)
        else:
            announce("given regions")
            summary = check_regions(left, regions, sam, settings=proposals, options=options)
        left, failures = _without_failed(left, summary, failures, by_image=True)
    elif regions is not None:
        raise ValueError(f"regions: expected none with method prompts, got {regions}")
    announce("refine")
    summary = refine_folder(
        left, places.refined, replace(refiner, regions=regions), output=written, options=options
    )
    left, failures = _without_failed(left, summary, failures)
    refined = _as_written(left, places.refined, written)
    announce("fit")
    summary = fit_folder(
        refined,
        places.corrector,
        label_space=refiner.label_space,
        settings=settings,
        encoder=refiner.encoder,
        seed=seed,
        device=refiner.device,
        connectivities=places.refined_connectivities,
        checkpoint_every=checkpoint_every,
        feature_memory=feature_memory,
        progress=progress,
        options=options,
    )
    iterations: int = summary.outcomes[-1].facts["iterations"]
    announce("correct")
    summary = correct_folder(
        refined,
        places.corrector,
        places.labels,
        encoder=refiner.encoder,
        device=refiner.device,
        connectivities=places.refined_connectivities,
        output=corrected,
        options=options,
    )
    left, failures = _without_failed(left, summary, failures)
    return Chained(
        finished=left,
        refined=_as_written(left, places.refined, written),
        failures=tuple(failures),
        facts=summary.facts(),
        iterations=iterations,
    )


def _paths(inputs: Inputs, folder: Path, output: OutputFormat) -> tuple[Path, list[Path]]:
    """A folder, and every file that a stage writes for the images."""
    return folder, [path for files in inputs.files for path in output.paths(files, folder)]


def _check_origin(job: str, folder: Path, outputs: Sequence[Path]) -> None:
    """Raise ``ValueError`` if outputs in a folder are not such a job's.

    With which settings it made them the job asks itself.
    """
    before = Manifest.read(folder)
    known = Manifest(job) if before is None else replace(before, job=job)
    check_folder(folder, known, outputs)


def _without_failed(
    inputs: Inputs, summary: Summary, failures: list[Outcome], *, by_image: bool = False
) -> tuple[Inputs, list[Outcome]]:
    """The images that did not fail, and all failures so far, by the labels' names.

    ``by_image`` if the stage knows the images by their own names.
    """
    names = {one.image_place.as_posix() if by_image else one.name: one.name for one in inputs.files}
    new = [
        replace(outcome, name=names[outcome.name])
        for outcome in summary.outcomes[len(inputs.failures) :]  # before: known ones
        if outcome.status == "failed"
    ]
    bad = {outcome.name for outcome in new}
    files = tuple(one for one in inputs.files if one.name not in bad)
    return replace(inputs, files=files, failures=()), failures + new


def _as_written(inputs: Inputs, out: Path, output: OutputFormat) -> Inputs:
    """The same images with the labels and scores that a stage wrote."""

    def written(files: ImageFiles) -> ImageFiles:
        found = output.of_image(files, out)
        return replace(files, label=found.label, confidence=found.scores)

    return Inputs(tuple(written(files) for files in inputs.files))
