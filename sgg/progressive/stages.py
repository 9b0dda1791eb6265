"""Progressive Translation Learning: the stages one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from seco.common.checks import check_choice, check_integer, check_number, describe
from seco.common.files import PathLike, write_bytes
from seco.common.inputs import Inputs, check_apart, find_inputs
from seco.common.jobs import JobOptions, Outcome, Summary
from seco.common.jobs.journal import hold_folder
from seco.common.jobs.manifest import MANIFEST, check_folder, claim_folder
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from seco.common.modules import weights_stay
from sgg.diffusion.loading import as_diffusion
from sgg.folder.class_files import MIN_PIXELS
from sgg.folder.classes import check_classes_of
from sgg.folder.layout import SetLayout
from sgg.folder.options import TranslationOptions
from sgg.folder.translate import translate_folder
from sgg.progressive.handing_on import HandedOn, describe_finetune, hand_on
from sgg.progressive.measures import Measures, Rulers, measure_set
from sgg.progressive.places import Places
from sgg.progressive.protocol import Finetune, FinetuneTask
from sgg.progressive.provenance import check_stages, manifest_of
from sgg.progressive.result import FinetuningDiverged, Progression, SourceSet, Stage
from sgg.progressive.training import finetune_segmenter
from sgg.progressive.weights import check_savable
from sgg.segmenter import as_segmenter

STRENGTHS = (0.3, 0.5, 0.7)
"""The stages' strengths. Our choice: the paper gives neither their number nor their values."""

Step = Literal["translate", "measure", "fine-tune"]


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
    strengths = _check(strengths, min_consistency, collapse)
    check_choice("labels_by", labels_by, ("link", "copy"))
    check_integer("seed", seed, low=0)
    check_integer("min_pixels", min_pixels, low=0)
    check_integer("checkpoint_every", checkpoint_every, low=1)
    given = source if isinstance(source, SourceSet) else SourceSet.find(*source)
    model, start = as_diffusion(diffusion), as_segmenter(seg_model)
    check_savable(start)
    check_classes_of(start, given.inputs, label_space)
    places = Places(Path(out))
    beside = None if target is None else Path(target)
    if beside is not None:
        find_inputs(beside)  # that there are images
    check_apart([given.images, given.labels, beside, class_files], [places.out])
    rulers = Rulers(label_space, start, None if oracle is None else as_segmenter(oracle), beside)
    if rulers.oracle is not None:
        check_classes_of(rulers.oracle, given.inputs, label_space)
    trainer = describe_finetune(finetune)  # now: it may change when it is called
    manifest = manifest_of(
        given.inputs, label_space, translation, labels_by, seed, trainer, model, start
    )
    outputs = [places.data(1) / MANIFEST, places.numbers]
    check_stages(places, strengths, overwrite=options.overwrite)
    if not options.overwrite:
        check_folder(places.out, manifest, outputs)  # before anything is written there
    # Stages guard nothing: the whole's manifest does, and changed inputs go through all of them.
    own = replace(options, overwrite=False, take_over=True)
    with hold_folder(places.out, options.processes):
        claim_folder(places.out, manifest, outputs, overwrite=options.overwrite)
        if options.processes.first:  # what tells of another run's stages
            places.numbers.unlink(missing_ok=True)
            places.report.unlink(missing_ok=True)
        progression, left = Progression(places, start), given.inputs
        for number, strength in enumerate(strengths, start=1):
            announce(number, "translate")
            made = translate_folder(
                left,
                SetLayout(given.images, given.labels, places.data(number), labels_by),
                model,
                progression.segmenter,
                label_space=label_space,
                translation=replace(translation, strength=strength),
                seed=seed,
                class_files=class_files,
                min_pixels=min_pixels,
                options=own,
            )
            left, failures = _finished(left, made.summary)
            progression = progression.with_failures(failures)
            if not left.files:
                raise ValueError(
                    f"stage {number}: expected at least one image that can be translated, got none"
                )
            if number == 1:  # not before: of the same images as the stages
                announce(0, "measure")
                known = measure_set(left, start, rulers, places.measures(0), options=own)
                progression = replace(progression, source=known).with_failures(known.failures())
            translated = _translated(left, made.layout)
            announce(number, "measure")
            measured = measure_set(
                translated, progression.segmenter, rulers, places.measures(number), options=own
            )
            progression = progression.with_failures(measured.failures())
            stage = Stage(
                number,
                strength,
                made.layout,
                left,
                translated,
                measured,
                left_out=made.left_out,
            )
            if min_consistency is not None and measured.consistency < min_consistency:
                why = (
                    f"stage {number} (strength {strength:g}) is left out: its consistency of "
                    f"{100 * measured.consistency:.1f} % is below {100 * min_consistency:g} %"
                )
                progression = replace(progression.with_stage(stage), stopped=why)
                break
            announce(number, "fine-tune")
            task = FinetuneTask(
                stage=number,
                strength=strength,
                inputs=translated,
                source=left,
                folder=places.data(number),
                label_space=label_space,
                state=places.segmenter(number),
                seed=seed,
                checkpoint_every=checkpoint_every,
                processes=options.processes,
                progress=progress,
            )
            try:
                handed = hand_on(
                    progression.segmenter, task, finetune, places, trainer=trainer, options=own
                )
                _check_collapse(handed, measured, collapse)
            except FloatingPointError as error:
                diverged = FinetuningDiverged(progression.with_stage(stage), str(error))
                _write_numbers(diverged.progression, options)
                raise diverged from error
            progression = progression.with_stage(replace(stage, handed_on=handed))
        _write_numbers(progression, options)
    return progression


def _check(
    strengths: Sequence[float], min_consistency: float | None, collapse: float
) -> list[float]:
    """The strengths as floats: 1 and 1.0 are the same, but not as JSON."""
    if isinstance(strengths, str) or not isinstance(strengths, Sequence) or not strengths:
        raise TypeError(f"strengths: expected numbers, got {describe(strengths)}")
    checked = [check_number("strengths", one, low=0, high=1, low_open=True) for one in strengths]
    if any(later <= one for one, later in pairwise(checked)):
        raise ValueError(f"strengths: expected them to grow, got {checked}")
    if min_consistency is not None:
        check_number("min_consistency", min_consistency, low=0, high=1)
    check_number("collapse", collapse, low=0, high=1)
    return checked


def _finished(inputs: Inputs, summary: Summary) -> tuple[Inputs, tuple[Outcome, ...]]:
    """The images that were translated, and what is new of the others."""
    done = summary.facts()
    files = tuple(one for one in inputs.files if one.image_place.as_posix() in done)
    return replace(inputs, files=files, failures=()), tuple(summary.of("failed"))


def _translated(inputs: Inputs, layout: SetLayout) -> Inputs:
    """The same images as translated, with their labels."""
    files = tuple(replace(one, image=layout.image(one.image_place)) for one in inputs.files)
    return replace(inputs, files=files)


def _check_collapse(handed: HandedOn, measured: Measures, collapse: float) -> None:
    """Raise ``FloatingPointError`` if a segmenter does not see what it has just learnt."""
    if handed.consistency < collapse * measured.consistency:
        raise FloatingPointError(
            f"consistency on the set that it learnt from fell to {100 * handed.consistency:.1f} %, "
            f"from {100 * measured.consistency:.1f} %"
        )


def _write_numbers(progression: Progression, options: JobOptions) -> None:
    if options.processes.first:
        write_bytes(progression.places.numbers, progression.as_json().encode())
