"""What goes into a progressive translation, and what comes out of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seco.common.files import PathLike
from seco.common.inputs import Inputs, find_inputs
from seco.common.jobs import Outcome
from sgg.folder.layout import SetLayout
from sgg.progressive.handing_on import HandedOn
from sgg.progressive.measures import Measures
from sgg.progressive.places import Places
from sgg.progressive.weights import with_weights
from sgg.segmenter import Segmenter


@dataclass(frozen=True)
class SourceSet:
    """A labelled source set.

    Args:
        images: its folder of images.
        labels: its folder of labels.
        inputs: which of them belong together, see :func:`seco.common.inputs.find_inputs`.
    """

    images: Path
    labels: Path
    inputs: Inputs

    @classmethod
    def find(cls, images: PathLike, labels: PathLike, **how: Any) -> SourceSet:
        """Pair the files of two folders; ``how``: options of ``find_inputs``."""
        one, other = Path(images), Path(labels)
        return cls(one, other, find_inputs(one, other, **how))


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        number: from 1.
        strength: of its translations.
        layout: where its data set lies.
        source: the images that were translated.
        translated: what they have become, with their labels.
        measures: of the translations, in the eyes of the segmenter that guided them.
        handed_on: the segmenter that was fine-tuned on them; ``None`` if it was not, for they are
            too inconsistent, or if that failed.
        left_out: see :class:`sgg.folder.TranslatedSet`.
    """

    number: int
    strength: float
    layout: SetLayout
    source: Inputs
    translated: Inputs
    measures: Measures
    handed_on: HandedOn | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progression:
    """A progressive translation.

    Args:
        places: where everything lies.
        segmenter: the last good one, in memory; the others' are in their files alone.
        source: measures of the source images, in the eyes of the first segmenter.
        stages: all that were translated.
        failures: images that could not be used, target images among them, in the order of the
            stages.
        stopped: why the last of ``stages`` is left out; "" if it is not.
    """

    places: Places
    segmenter: Segmenter
    source: Measures | None = None
    stages: tuple[Stage, ...] = ()
    failures: tuple[Outcome, ...] = ()
    stopped: str = ""

    @property
    def good(self) -> tuple[Stage, ...]:
        """The stages that handed a segmenter on; the last one's set is the result."""
        return tuple(stage for stage in self.stages if stage.handed_on is not None)

    @property
    def weights(self) -> Path | None:
        """The file of the last good segmenter; ``None`` if that is the one that was given."""
        handed = self.good[-1].handed_on if self.good else None
        return None if handed is None else handed.weights

    def with_stage(self, stage: Stage) -> Progression:
        """The same with one more stage, and its segmenter if it has handed one on."""
        segmenter = self.segmenter
        if stage.handed_on is not None:
            # From the file in every run and process: the same bits.
            segmenter = with_weights(segmenter, stage.handed_on.weights)
        return replace(self, stages=(*self.stages, stage), segmenter=segmenter)

    def with_failures(self, found: Iterable[Outcome]) -> Progression:
        """The same with further failures; what failed in a stage before is told once."""
        known = {(one.name, one.reason) for one in self.failures}
        new = (one for one in found if (one.name, one.reason) not in known)
        return replace(self, failures=(*self.failures, *new))

    def numbers(self) -> dict[str, Any]:
        """All that was measured, as JSON holds it; paths within the folder."""
        stages = []
        for stage in self.stages:
            handed = stage.handed_on
            stages.append(
                {
                    "stage": stage.number,
                    "strength": stage.strength,
                    "images": len(stage.translated.files),
                    **vars(stage.measures),
                    "handed_on": None if handed is None else handed.measures,
                    "losses": [] if handed is None else [loss for _, loss in handed.losses],
                    "segmenter": None if handed is None else self._within(handed.weights),
                }
            )
        return {
            "source": None if self.source is None else vars(self.source),
            "stages": stages,
            "stopped": self.stopped,
            "failed": {outcome.name: outcome.reason for outcome in self.failures},
            "data": self._within(self.good[-1].layout.out) if self.good else None,
            "segmenter": None if self.weights is None else self._within(self.weights),
        }

    def as_json(self) -> str:
        """The numbers as text."""
        return json.dumps(self.numbers(), indent=1) + "\n"

    def _within(self, path: Path) -> str:
        return path.relative_to(self.places.out).as_posix()


class FinetuningDiverged(FloatingPointError):
    """A stage's fine-tuning has diverged; what was finished before it is kept.

    Args:
        progression: all until then, the stage itself included.
        reason: what was seen.
    """

    def __init__(self, progression: Progression, reason: str) -> None:
        self.stage = progression.stages[-1].number
        """The stage's number."""
        self.reason = reason
        """What was seen."""
        self.progression = replace(
            progression, stopped=f"stage {self.stage}: fine-tuning diverged: {reason}"
        )
        """All until then, the stage itself without a segmenter."""
        kept = "the segmenter that was given is as it was: there is no better one"
        if progression.weights is not None:
            number = progression.good[-1].number
            kept = f"the last good segmenter, of stage {number}, is {progression.weights}"
        super().__init__(f"stage {self.stage}: fine-tuning diverged: {reason}; {kept}")

    def __reduce__(self) -> tuple[type[FinetuningDiverged], tuple[Progression, str]]:
        """To be pickled: exceptions are else made anew of their message alone."""
        return type(self), (self.progression, self.reason)
