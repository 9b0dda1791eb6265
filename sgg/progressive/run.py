"""What all stages of a progressive translation have in common, and the steps of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from seco.common.checks import check_choice, check_integer, check_number
from seco.common.inputs import Inputs
from seco.common.jobs import JobOptions
from sgg.diffusion.protocol import DiffusionModel
from sgg.folder.layout import SetLayout
from sgg.folder.translate import TranslatedSet, translate_folder
from sgg.options import TranslationOptions
from sgg.progressive.handing_on import HandedOn, hand_on
from sgg.progressive.measures import Measures, Rulers, measure_set
from sgg.progressive.places import Places
from sgg.progressive.protocol import Finetune, FinetuneTask
from sgg.progressive.result import SourceSet, Stage
from sgg.segmenter import Segmenter

Step = Literal["translate", "measure", "fine-tune"]


@dataclass(frozen=True)
class Run:
    """A progressive translation: what :func:`sgg.progressive_translation` was given, in its form.

    Args:
        source: see there.
        model: the diffusion model.
        places: where everything goes.
        rulers: what sets are measured with; the first segmenter and the classes are among them.
        translation: how images are translated; its strength does not count.
        finetune: how a segmenter is fine-tuned.
        trainer: what ``finetune`` is told from others by.
        collapse: see there; so are all that follow.
        seed: see there.
        labels_by: see there.
        class_files: see there.
        min_pixels: see there.
        images_per_batch: see there.
        checkpoint_every: see there.
        progress: see there.
        announce: see there.
        options: how the whole is run.

    Raises:
        ValueError, TypeError: a value out of its range.
    """

    source: SourceSet
    model: DiffusionModel
    places: Places
    rulers: Rulers
    translation: TranslationOptions
    finetune: Finetune
    trainer: Mapping[str, Any]
    collapse: float
    seed: int
    labels_by: Literal["link", "copy"]
    class_files: Path | None
    min_pixels: int
    images_per_batch: int
    checkpoint_every: int
    progress: bool
    announce: Callable[[int, Step], None]
    options: JobOptions

    def __post_init__(self) -> None:
        check_number("collapse", self.collapse, low=0, high=1)
        check_integer("seed", self.seed, low=0)
        check_choice("labels_by", self.labels_by, ("link", "copy"))
        check_integer("min_pixels", self.min_pixels, low=0)
        check_integer("images_per_batch", self.images_per_batch, low=1)
        check_integer("checkpoint_every", self.checkpoint_every, low=1)

    def translate(
        self, number: int, strength: float, remaining: Inputs, guide: Segmenter
    ) -> TranslatedSet:
        """Translate a stage's images: of the source, those that all stages before could."""
        self.announce(number, "translate")
        layout = SetLayout(
            self.source.images, self.source.labels, self.places.data(number), self.labels_by
        )
        return translate_folder(
            remaining,
            layout,
            self.model,
            guide,
            label_space=self.rulers.label_space,
            translation=replace(self.translation, strength=strength),
            seed=self.seed,
            class_files=self.class_files,
            min_pixels=self.min_pixels,
            images_per_batch=self.images_per_batch,
            options=self._of_a_stage,
        )

    def measure(self, number: int, inputs: Inputs, guide: Segmenter) -> Measures:
        """Measure a stage's images; 0 is the source."""
        self.announce(number, "measure")
        return measure_set(
            inputs, guide, self.rulers, self.places.measures(number), options=self._of_a_stage
        )

    def fine_tune(self, stage: Stage, guide: Segmenter) -> HandedOn:
        """Fine-tune a copy of the segmenter that guided a stage.

        Raises:
            FloatingPointError: the training has diverged, or the copy does not see what it learnt.
        """
        self.announce(stage.number, "fine-tune")
        task = FinetuneTask(
            stage=stage.number,
            strength=stage.strength,
            inputs=stage.translated,
            source=stage.source,
            folder=stage.layout.out,
            label_space=self.rulers.label_space,
            state=self.places.segmenter(stage.number),
            seed=self.seed,
            checkpoint_every=self.checkpoint_every,
            processes=self.options.processes,
            progress=self.progress,
        )
        handed = hand_on(
            guide,
            task,
            self.finetune,
            self.places,
            trainer=self.trainer,
            options=self._of_a_stage,
        )
        before = stage.measures.consistency
        if handed.consistency < self.collapse * before:
            raise FloatingPointError(
                "consistency on the set that it learnt from fell to "
                f"{100 * handed.consistency:.1f} %, from {100 * before:.1f} %"
            )
        return handed

    @property
    def _of_a_stage(self) -> JobOptions:
        # Stages guard nothing: the whole's manifest does, and changed inputs go through all.
        return replace(self.options, overwrite=False, take_over=True)
