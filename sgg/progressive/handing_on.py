"""Fine-tune a segmenter on a stage's translations and save it: a job, resumable within."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from seco.common.files import write_bytes
from seco.common.jobs import JobOptions, Whole, run_together
from seco.common.numbers import measured
from sgg.evaluation import evaluate_folder
from sgg.folder.models import describe_model
from sgg.folder.provenance import manifest_of
from sgg.progressive.measures import MEASURES
from sgg.progressive.places import Places
from sgg.progressive.protocol import Finetune, FinetuneTask, Losses
from sgg.progressive.weights import bad_weight, copied, with_weights, write_weights
from sgg.segmenter import Segmenter

LOSSES = "losses.json"


@dataclass(frozen=True)
class HandedOn:
    """What a stage hands on.

    Args:
        weights: the file of the fine-tuned segmenter.
        losses: of its training.
        measures: of the set that it was trained on, in its own eyes; as
            :meth:`sgg.evaluation.Evaluation.numbers` says it.
    """

    weights: Path
    losses: Losses
    measures: Mapping[str, Any]

    @property
    def consistency(self) -> float:
        """Mean IoU of these labels with what it sees, in 0-1; NaN without labels."""
        return measured(self.measures["mean_iou"])


def hand_on(
    guide: Segmenter,
    task: FinetuneTask,
    finetune: Finetune,
    places: Places,
    *,
    trainer: Mapping[str, Any],
    options: JobOptions,
) -> HandedOn:
    """Fine-tune a copy of a segmenter, measure it on what it learnt from, and save it.

    Args:
        guide: whose copy.
        task: on what; its state is decided here.
        finetune: how.
        places: where to.
        trainer: what ``finetune`` is told from others by, see :func:`describe_finetune`.
        options: how the job is run.

    Raises:
        FloatingPointError: a loss or a weight is no finite number; nothing is written.
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_together`.
    """
    folder, weights, processes = (
        places.segmenter(task.stage), places.weights(task.stage), options.processes
    )  # fmt: skip

    def work(state: Path) -> dict[str, Any]:
        trained = copied(guide)
        losses = _checked(finetune(trained, replace(task, state=state)))
        unfit = processes.gather(_unfit(trained, losses))[0]  # the first one's weights count
        if unfit:
            raise FloatingPointError(unfit)
        candidate = state / weights.name
        if processes.first:
            write_weights(candidate, trained)
        processes.gather(None)
        seen = evaluate_folder(
            task.inputs,
            with_weights(guide, candidate),
            label_space=task.label_space,
            options=options,
        )
        if processes.first:
            for name, said in ((LOSSES, _as_json(losses)), (MEASURES, seen.numbers())):
                write_bytes(folder / name, (json.dumps(said, indent=1) + "\n").encode())
            write_bytes(weights, candidate.read_bytes())
        return {}

    manifest = manifest_of(
        "sgg progressive: segmenter",
        {
            "finetune": trainer,
            "stage": task.stage,
            "seed": task.seed,
            "classes": task.label_space.names,
            "ignore_index": task.label_space.ignore_index,
            "stored_ignore_index": task.inputs.ignore_index,
        },
        {"segmenter": guide},
    )
    # The source too: a trainer may mix it in, and a strong translation may not change with it.
    images = [one.image for one in task.source.files]
    item = Whole(
        "segmenter",
        [*images, *(p for one in task.inputs.files for p in (one.image, one.label) if p)],
        [weights, folder / LOSSES, folder / MEASURES],
    )
    run_together(item, folder, manifest, work=work, options=options)
    read = json.loads((folder / LOSSES).read_bytes())
    return HandedOn(
        weights,
        list(zip(read["steps"], read["losses"], strict=True)),
        json.loads((folder / MEASURES).read_bytes()),
    )


def describe_finetune(finetune: Finetune) -> dict[str, Any]:
    """What a way of fine-tuning is told from another by, as JSON holds it.

    Example:
        >>> def own(segmenter, task, *, rate=0.1):
        ...     return []
        >>> described = describe_finetune(partial(own, rate=0.2))
        >>> described["function"].endswith(".own"), described["options"]
        (True, {'rate': 0.2})
    """
    parameters = inspect.signature(finetune).parameters.values()
    options = {one.name: one.default for one in parameters if one.default is not one.empty}
    function: Any = finetune
    given: list[Any] = []
    while isinstance(function, partial):
        given = [*function.args, *given]
        function = function.func
    is_object = not hasattr(function, "__qualname__")
    owner = function if is_object else function.__self__ if inspect.ismethod(function) else None
    if not isinstance(owner, type):  # a class's methods are functions
        options = {**getattr(owner, "__dict__", {}), **options}
    named = type(function) if is_object else function
    described = {
        "function": f"{named.__module__}.{named.__qualname__}",
        "options": _plain(options),
    }
    return {**described, "arguments": _plain(given)} if given else described


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else describe_model(value)


def _unfit(segmenter: Segmenter, losses: Losses) -> str:
    """Why a segmenter is not fit for use; "" if it is."""
    for step, loss in losses:
        if not math.isfinite(loss):
            return f"the loss is {loss} at step {step}"
    bad = bad_weight(segmenter)
    return "" if bad is None else f"{bad} of the segmenter is not finite"


def _checked(given: object) -> Losses:
    """The losses that a fine-tuning gave back.

    Raises:
        TypeError: it gave back something else.
    """
    try:
        if not isinstance(given, Sequence):
            raise TypeError
        return [(int(step), float(loss)) for step, loss in given]
    except (TypeError, ValueError):
        raise TypeError(
            f"finetune: expected a list of (step, loss) pairs, got {given!r:.80}"
        ) from None


def _as_json(losses: Losses) -> dict[str, list[Any]]:
    return {"steps": [step for step, _ in losses], "losses": [loss for _, loss in losses]}
