"""Early learning: a short training of the connectivity classifier on noisy labels.

Networks fit what is clean before they memorise what is noisy, so the training is short. What is
random in it is in :mod:`seco.correction.schedule`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.files import PathLike
from seco.common.optimizers import load_moments, moments_of
from seco.common.parallel import add_gradients, check_same, in_first
from seco.common.precision import learning
from seco.common.processes import Processes
from seco.common.progress import EVERY
from seco.correction.checkpoint import TrainingState, read_checkpoint, write_checkpoint
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.lessons import Lesson, Lessons
from seco.correction.schedule import Census, Visit, choose, count_steps, steps, take_census
from seco.correction.settings import SCCSettings
from seco.correction.stream import SampleStream

_LOG = logging.getLogger(__name__)


def train_classifier(
    classifier: ConnectivityClassifier,
    lessons: Lessons,
    stream: SampleStream,
    settings: SCCSettings,
    *,
    seed: int,
    processes: Processes,
    checkpoint: PathLike | None = None,
    checkpoint_every: int = 500,
    progress: bool = False,
) -> int:
    """Train in place; the processes share every step and end with the same weights.

    Args:
        classifier: to train.
        lessons: of the stream, for this classifier.
        stream: of images and labels.
        settings: see :class:`SCCSettings`.
        seed: of the order, the choice of connectivities and the mirroring.
        processes: those that train together.
        checkpoint: file to write the state of the training to, and to go on from if it is there;
            the first process reads and writes it.
        checkpoint_every: steps between two writings; the last step is always written.
        progress: show bars.

    Returns:
        The number of steps, from the first on.

    Raises:
        TypeError, ValueError: a sample that is wrong, no connectivity to learn from, a checkpoint
            of another training, or processes with different arguments.
        RuntimeError: another process failed.

    Source: SeCo, section 3.3 (early learning) and equation 2.
    """
    from tqdm import tqdm

    identity: dict[str, Any] = {"settings": asdict(settings), "seed": seed}
    identity |= {"classes": classifier.num_classes, "encoder": classifier.extractor.describe()}
    check_same(identity, processes)
    with learning(classifier.extractor.device):
        state = in_first(processes, lambda: _saved(checkpoint, identity))
        if state is None:
            census = take_census(
                stream, settings, classifier.num_classes, processes, progress=progress
            )
            state = in_first(processes, lambda: _untrained(classifier, lessons, census))
        census, step = state.census, state.step
        stream.expect(census.marks.tolist())
        classifier.load_state(state.weights)
        optimizer = _optimizer(classifier, settings)
        load_moments(optimizer, state.moments)
        rates = [group["lr"] for group in optimizer.param_groups]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        weights = 1 / census.classes.clamp(min=1) if settings.class_balanced else None
        iterations = count_steps(census, settings)
        kinds = (False, True) if settings.flip else (False,)
        begun = step

        def plan() -> Iterator[list[Visit]]:
            """The own visits of every step that was left at the start."""
            planned = steps(census, settings, seed=seed, shuffled=stream.indexed)
            for visits in islice(planned, begun, iterations):
                yield _own(visits, processes, by_sample=lessons.frozen)

        scenes = stream.ahead(
            (visit.index for own in plan() for visit in own),
            lambda index: lessons.wants(index, *kinds),
        )
        said = time.monotonic()
        silent = not (progress and processes.first)
        with (
            closing(scenes),
            tqdm(total=iterations, initial=step, unit="step", disable=silent) as bar,
        ):
            for own in plan():
                decay = (1 + 10 * step / iterations) ** -0.75
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * decay
                optimizer.zero_grad()
                loss = 0.0
                for visit in own:
                    lesson = lessons.read(*next(scenes))
                    loss += _learn(classifier, lessons, lesson, visit, settings, seed, weights)
                loss = add_gradients(parameters, loss, processes)
                optimizer.step()
                step += 1
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if processes.first and (step == iterations or time.monotonic() - said >= EVERY):
                    said = time.monotonic()
                    _LOG.info("Training: step %d of %d, loss %.3f", step, iterations, loss)
                due = step == iterations or step % checkpoint_every == 0
                if checkpoint is not None and due and processes.first:
                    moments = moments_of(optimizer)
                    state = TrainingState(step, classifier.state(), moments, census)
                    write_checkpoint(checkpoint, state, identity)
    return iterations


def _saved(checkpoint: PathLike | None, identity: dict[str, Any]) -> TrainingState | None:
    if checkpoint is None or not Path(checkpoint).exists():
        return None
    return read_checkpoint(checkpoint, identity)


def _untrained(
    classifier: ConnectivityClassifier, lessons: Lessons, census: Census
) -> TrainingState:
    """The state before the first step; features of any connectivity tell how many there are."""
    lesson = lessons[int(census.counts.argmax())]
    with torch.no_grad():
        features = lessons.features(lesson, torch.zeros(1, dtype=torch.int64))
    classifier.head(features.shape[1])
    weights = {name: value.cpu() for name, value in classifier.state().items()}
    return TrainingState(0, weights, {}, census)


def _own(visits: list[Visit], processes: Processes, *, by_sample: bool) -> list[Visit]:
    """This process's share: always the same samples where their features are kept, else evenly."""
    return [
        visit
        for place, visit in enumerate(visits)
        if (visit.index if by_sample else place) % processes.count == processes.rank
    ]


def _learn(
    classifier: ConnectivityClassifier,
    lessons: Lessons,
    lesson: Lesson,
    visit: Visit,
    settings: SCCSettings,
    seed: int,
    weights: Tensor | None,
) -> float:
    """Add one image's part of the gradient of a step's mean loss; return that part of the loss."""
    rng = visit.draws(seed)
    preferred = lesson.areas.double() ** settings.area_sampling
    if weights is not None:
        preferred = preferred * weights[lesson.classes]
    chosen = choose(preferred, visit.count, rng)
    mirrored = bool(settings.flip and rng.random() < 0.5)
    logits = classifier.classify(lessons.features(lesson, chosen, mirrored=mirrored))
    loss = F.cross_entropy(
        logits,
        lesson.classes[chosen].to(logits.device),
        reduction="sum",
        label_smoothing=settings.label_smoothing,
    )
    loss = loss / settings.batch_size
    torch.autograd.backward(loss)
    return loss.item()


def _optimizer(classifier: ConnectivityClassifier, settings: SCCSettings) -> torch.optim.Optimizer:
    head, trained = classifier.parameters()
    rate = settings.learning_rate
    groups: list[dict[str, Any]] = [{"params": head, "lr": rate}]
    if trained:
        groups.append({"params": trained, "lr": rate * classifier.extractor.learning_rate_factor})
    return torch.optim.AdamW(groups, lr=rate, weight_decay=settings.weight_decay)
