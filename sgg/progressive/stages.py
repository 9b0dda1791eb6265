"""Progressive Translation Learning: the stages one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from seco.common.checks import check_number, describe
from seco.common.files import PathLike, write_bytes
from seco.common.inputs import Inputs, check_apart, find_inputs
from seco.common.jobs import JobOptions, Summary
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from seco.common.modules import weights_stay
from sgg.diffusion.loading import as_diffusion
from sgg.folder.class_files import MIN_PIXELS
from sgg.folder.classes import check_classes_of
from sgg.folder.layout import SetLayout
from sgg.options import TranslationOptions
from sgg.progressive.handing_on import describe_finetune
from sgg.progressive.measures import Rulers
from sgg.progressive.places import Places
from sgg.progressive.protocol import Finetune
from sgg.progressive.provenance import claimed
from sgg.progressive.result import FinetuningDiverged, Progression, SourceSet, Stage
from sgg.progressive.run import Run, Step
from sgg.progressive.training import finetune_segmenter
from sgg.progressive.weights import check_savable
from sgg.segmenter import as_segmenter

STRENGTHS = (0.3, 0.5, 0.7)
"""The stages' strengths. Our choice: the paper gives neither their number nor their values."""


@weights_stay()  # fine-tuning changes copies
def progressive_translation(
    source: SourceSet | tuple[PathLike, PathLike],
    diffusion: Any,
    seg_model: object,
    *,
    out: PathLike,
    strengths: Sequence[float] = STRENGTHS,
    finetune: Finetune = finetune_segmenter,
    min_consistency: float | None = None,
    collapse: float = 0.5,
    label_space: LabelSpace = CITYSCAPES,
    translation: TranslationOptions = TranslationOptions(),
    seed: int = 0,
    oracle: object = None,
    target: PathLike | None = None,
    labels_by: Literal["link", "copy"] = "link",
    class_files: Path | None = None,
    min_pixels: int = MIN_PIXELS,
    images_per_batch: int = 1,
    checkpoint_every: int = 200,
    progress: bool = False,
    announce: Callable[[int, Step], None] = lambda stage, step: None,
    options: JobOptions = JobOptions(),
) -> Progression:
    """Translate a labelled set ever farther, with a segmenter that learns from every stage.

    Stage s translates the *source* images with strength n_s, guided by the segmenter of stage
    s - 1 (the first by ``seg_model``), fine-tunes that segmenter on the translations with the
    source's labels, and hands it on. So a segmenter never has to guide images that are much
    farther from the source than those it has learnt from.

    Every stage's translations are a data set in ``OUT/stage-S``, as
    :func:`sgg.folder.translate_folder` writes it; beside them lie its measures and its segmenter.
    A run that was killed, wherever that was, is gone on with by the same call and ends with the
    same files (to the byte on a CPU). Changed inputs go through all stages; changed settings are
    refused unless ``options.overwrite``, which makes anew what was made otherwise and nothing else.
    Further strengths, and another ``min_consistency``, go on from the stages that are there.
    A former run's page is removed, for it would tell of other stages:
    :func:`sgg.progressive.write_report` writes it.

    Args:
        source: folders of images and labels, or a :class:`SourceSet`.
        diffusion: of *target* images, see :func:`sgg.translate`.
        seg_model: the source's segmenter, see there; a module. It is not changed.
        out: folder for everything.
        strengths: of the stages, growing, each in (0, 1].
        finetune: how a segmenter is fine-tuned, see :class:`Finetune`; other settings of the
            default: ``functools.partial(sgg.finetune_segmenter, settings=...)``.
        min_consistency: stop before the first stage whose translations the segmenter that guided
            them finds less consistent with their labels than that (mean IoU in 0-1): it can no
            longer guide so far. That stage's set is left out, and nothing is trained on it.
        collapse: a fine-tuning has collapsed if its segmenter's consistency, on the very set it
            learnt from, is below that share of the one before.
        label_space: of the labels, and of ``seg_model``.
        translation: how images are translated; its strength does not count.
        seed: of the noise, the same at every stage, and of fine-tuning.
        oracle: a segmenter of the target domain; it measures, and decides nothing.
        target: folder of target images: the stages' distance to them is measured.
        labels_by: see :class:`sgg.folder.SetLayout`.
        class_files: see :func:`sgg.folder.translate_folder`; the following too.
        min_pixels: see there.
        images_per_batch: see there.
        checkpoint_every: steps of fine-tuning between two writings of its state.
        progress: show a bar of fine-tuning.
        announce: called with a stage's number (0 is the source) and what is done next.
        options: how the jobs are run; under ``torchrun`` all processes share them.

    Returns:
        The stages, and the last good segmenter.

    Raises:
        TypeError, ValueError: an argument of another kind or range, or outputs made otherwise.
        FinetuningDiverged: a loss or weight became NaN or infinite, or consistency collapsed; the
            message names the stage, and the last good segmenter is kept.
        OSError, JobStopped: as :func:`seco.common.jobs.run_job`.

    Source: Peng et al., ICCV 2023, Progressive Translation Learning. That segmenter and strength
    grow together over stages is theirs; this loop's details, and the stopping rule, are ours.
    """
    planned = _checked(strengths)
    if min_consistency is not None:
        check_number("min_consistency", min_consistency, low=0, high=1)
    run = Run(
        source=source if isinstance(source, SourceSet) else SourceSet.find(*source),
        model=as_diffusion(diffusion),
        places=Places(Path(out)),
        rulers=Rulers(
            label_space,
            as_segmenter(seg_model),
            None if oracle is None else as_segmenter(oracle),
            None if target is None else Path(target),
        ),
        translation=translation,
        finetune=finetune,
        trainer=describe_finetune(finetune),  # now: it may change when it is called
        collapse=collapse,
        seed=seed,
        labels_by=labels_by,
        class_files=class_files,
        min_pixels=min_pixels,
        images_per_batch=images_per_batch,
        checkpoint_every=checkpoint_every,
        progress=progress,
        announce=announce,
        options=options,
    )
    _check_inputs(run)
    with claimed(run, planned):
        try:
            progression = _stages(run, planned, min_consistency)
        except FinetuningDiverged as diverged:
            _write_numbers(diverged.progression, options)
            raise
        _write_numbers(progression, options)
    return progression


def _checked(strengths: Sequence[float]) -> list[float]:
    """The strengths as floats: 1 and 1.0 are the same, but not as JSON."""
    if isinstance(strengths, str) or not isinstance(strengths, Sequence) or not strengths:
        raise TypeError(f"strengths: expected numbers, got {describe(strengths)}")
    checked = [check_number("strengths", one, low=0, high=1, low_open=True) for one in strengths]
    if any(later <= one for one, later in pairwise(checked)):
        raise ValueError(f"strengths: expected them to grow, got {checked}")
    return checked


def _check_inputs(run: Run) -> None:
    """Raise unless models and folders fit the source and each other."""
    source, rulers = run.source, run.rulers
    check_savable(rulers.source_segmenter)
    for segmenter in (rulers.source_segmenter, rulers.oracle):
        if segmenter is not None:
            check_classes_of(segmenter, source.inputs, rulers.label_space)
    if rulers.target_folder is not None:
        find_inputs(rulers.target_folder)  # that there are images
    check_apart(
        [source.images, source.labels, rulers.target_folder, run.class_files], [run.places.out]
    )


def _stages(run: Run, strengths: Sequence[float], min_consistency: float | None) -> Progression:
    """One stage after the other.

    Raises:
        FinetuningDiverged: with all until then.
    """
    remaining = run.source.inputs
    progression = Progression(run.places, run.rulers.source_segmenter)
    for number, strength in enumerate(strengths, start=1):
        made = run.translate(number, strength, remaining, progression.segmenter)
        remaining = _finished(remaining, made.summary)
        progression = progression.with_failures(made.summary.of("failed"))
        if not remaining.files:
            raise ValueError(
                f"stage {number}: expected at least one image that can be translated, got none"
            )
        if number == 1:  # not before: of the same images as the stages
            known = run.measure(0, remaining, progression.segmenter)
            progression = replace(progression, source=known).with_failures(known.failures())
        translated = _translated(remaining, made.layout)
        measures = run.measure(number, translated, progression.segmenter)
        progression = progression.with_failures(measures.failures())
        stage = Stage(
            number,
            strength,
            made.layout,
            remaining,
            translated,
            measures,
            left_out=made.left_out,
        )
        if min_consistency is not None and measures.consistency < min_consistency:
            why = (
                f"stage {number} (strength {strength:g}) is left out: its consistency of "
                f"{100 * measures.consistency:.1f} % is below {100 * min_consistency:g} %"
            )
            return replace(progression.with_stage(stage), stopped=why)
        try:
            handed = run.fine_tune(stage, progression.segmenter)
        except FloatingPointError as error:
            raise FinetuningDiverged(progression.with_stage(stage), str(error)) from error
        progression = progression.with_stage(replace(stage, handed_on=handed))
    return progression


def _finished(inputs: Inputs, summary: Summary) -> Inputs:
    """The images that were translated."""
    done = summary.facts()
    files = tuple(one for one in inputs.files if one.image_place.as_posix() in done)
    return replace(inputs, files=files, failures=())


def _translated(inputs: Inputs, layout: SetLayout) -> Inputs:
    """The same images as translated, with their labels."""
    files = tuple(replace(one, image=layout.image(one.image_place)) for one in inputs.files)
    return replace(inputs, files=files)


def _write_numbers(progression: Progression, options: JobOptions) -> None:
    if options.processes.first:
        write_bytes(progression.places.numbers, progression.as_json().encode())
