"""What fine-tuning is given and gives back: the part of the method that a user may replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seco.common.inputs import Inputs
from seco.common.labels import LabelSpace
from seco.common.processes import ALONE, Processes
from sgg.segmenter import Segmenter

Losses = Sequence[tuple[int, float]]
"""(step, loss) pairs in the order of the steps; as many as there are to show."""


@dataclass(frozen=True)
class FinetuneTask:
    """One stage's training: on what, and how it is run.

    Args:
        stage: its number, from 1.
        strength: of the stage's translations.
        inputs: translated images with the source's labels, in the order of their names.
        source: the same images before translation, in the same order.
        folder: of the translated set, in the layout of :class:`sgg.folder.SetLayout`, for trainers
            that load a data set themselves.
        label_space: of the labels.
        state: an existing folder for the state of the training. A run that was killed finds here
            what it left; of other data, settings or weights nothing is ever here. Removed once
            the stage is done.
        seed: of all that is random.
        checkpoint_every: steps between two writings of the state.
        processes: those that train together, each of them called at once.
        progress: show a bar.
    """

    stage: int
    strength: float
    inputs: Inputs
    source: Inputs
    folder: Path
    label_space: LabelSpace
    state: Path
    seed: int = 0
    checkpoint_every: int = 200
    processes: Processes = ALONE
    progress: bool = False


class Finetune(Protocol):
    """Train a segmenter on a stage's translations, as :func:`sgg.finetune_segmenter` does.

    A function of your own may do anything, such as calling another trainer on ``task.folder``. What
    it does is told from what another one does by its name, the defaults of its arguments or what
    ``functools.partial`` has set them to, and the attributes of the object that it is or is a
    method of: let all that decides the result be among these.
    """

    def __call__(self, segmenter: Segmenter, task: FinetuneTask) -> Losses:
        """Train ``segmenter.model`` in place.

        Args:
            segmenter: a copy of the stage before's, to be changed; with several processes, the
                first one's weights count afterwards.
            task: see there.

        Returns:
            The losses, for the report; a loss or a weight that is no finite number ends the run.

        Raises:
            FloatingPointError: the training has diverged.
        """
        ...
