"""The state of a training on disk: weights, AdamW's moments, the step, and what was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seco.common.files import PathLike
from seco.common.tensor_files import read_tensors, write_tensors
from seco.correction.schedule import Census

_KIND, _VERSION = "seco training state", 2
_WEIGHTS, _MOMENTS, _CENSUS = "weights.", "optimizer.", "samples."


@dataclass(frozen=True)
class TrainingState:
    """All that a training goes on from.

    Args:
        step: how many were done.
        weights: of the classifier.
        moments: of the optimizer.
        census: of the samples.
    """

    step: int
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    census: Census


def write_checkpoint(path: PathLike, state: TrainingState, identity: dict[str, Any]) -> None:
    """Write a state atomically; ``identity`` is JSON that tells this training from another."""
    tensors = {_WEIGHTS + name: value for name, value in state.weights.items()}
    tensors |= {_MOMENTS + name: value for name, value in state.moments.items()}
    tensors |= {_CENSUS + name: value for name, value in vars(state.census).items()}
    header = {"kind": _KIND, "version": _VERSION, "training": identity, "step": state.step}
    write_tensors(path, tensors, header)


def read_checkpoint(path: PathLike, identity: dict[str, Any]) -> TrainingState:
    """Read what :func:`write_checkpoint` wrote for the same training.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is something else, damaged, or of another training.
    """
    tensors, header = read_tensors(path, _KIND, _VERSION)
    try:
        said = header["training"]
        differing = [name for name in identity if said[name] != identity[name]]
        parts = [
            {name[len(kind) :]: v for name, v in tensors.items() if name.startswith(kind)}
            for kind in (_WEIGHTS, _MOMENTS, _CENSUS)
        ]
        state = TrainingState(header["step"], parts[0], parts[1], Census(**parts[2]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a whole {_KIND}, got {error!r}") from error
    if differing:
        raise ValueError(
            "checkpoint: expected the state of this training, "
            f"got one with other {', '.join(differing)} in {path}"
        )
    return state
