"""The default fine-tuning: cross-entropy on crops of the translations, with the source's labels."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seco.common.checks import describe
from seco.common.jobs import overlap
from seco.common.optimizers import load_moments, moments_of
from seco.common.parallel import add_gradients, add_up, check_same, in_first
from seco.common.precision import learning
from seco.common.processes import Processes
from seco.common.progress import EVERY
from seco.common.tensor_files import read_tensors, write_tensors
from sgg.progressive.crops import crop_size, crops_of_step, read_crop
from sgg.progressive.protocol import FinetuneTask, Losses
from sgg.progressive.settings import FinetuneSettings
from sgg.segmenter import Segmenter

_LOG = logging.getLogger(__name__)
_KIND, _VERSION = "sgg fine-tuning state", 1
_WEIGHTS, _MOMENTS, _LOSSES = "weights.", "optimizer.", "losses"
_MODEL = 3  # beside the seed of what a model draws, such as dropout; see crops.py


def finetune_segmenter(
    segmenter: Segmenter, task: FinetuneTask, *, settings: FinetuneSettings = FinetuneSettings()
) -> Losses:
    """Train a segmenter on translated images with the source's labels; in place.

    The state of the training is written now and then, and gone on from: a run that was killed
    ends with the same weights, to the bit on a CPU. The processes share the crops of every step
    and end with the same weights; up to rounding those of one process, but for batch normalisation
    that learns: its statistics in a step are of a process's own crops, as in other trainings.

    Args:
        segmenter: to train: of the weights those that require a gradient, or all if none does,
            as in models that were loaded for use. Unlabelled pixels do not count.
        task: on what.
        settings: how.

    Returns:
        Every step's loss.

    Raises:
        TypeError: the segmenter is no module.
        ValueError: it is not in single precision, or the images cannot be used.
        FloatingPointError: a loss is not finite.
        OSError: a file cannot be read, or the state not be written.
    """
    model, processes = _trainable(segmenter), task.processes
    parameters = [p for p in model.parameters() if p.requires_grad] or list(model.parameters())
    identity = {"settings": asdict(settings), "seed": task.seed, "stage": task.stage}
    identity["images"] = len(task.inputs.files)
    check_same(identity, processes)
    path = task.state / "training.safetensors"
    with learning(segmenter.device), _training(model, parameters, settings):
        optimizer = _optimizer(parameters, settings)
        state = in_first(processes, lambda: _read_state(path, identity))
        losses: list[float] = []
        if state is not None:
            model.load_state_dict(state.weights)
            load_moments(optimizer, state.moments)
            losses = state.losses
        with closing(_batches(len(losses), task, settings)) as batches:
            for step, crops in batches:
                for group in optimizer.param_groups:
                    group["lr"] = settings.rate(step)
                optimizer.zero_grad()
                with _own_randomness(segmenter.device, step, task):
                    loss = _add_loss(segmenter, crops, task)
                loss = add_gradients(parameters, loss, processes)
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} at step {step + 1}")
                optimizer.step()
                _share_statistics(model, processes)
                losses.append(loss)
                last = len(losses) == settings.steps
                if processes.first and (last or len(losses) % task.checkpoint_every == 0):
                    state = _State(model.state_dict(), moments_of(optimizer), losses)
                    state.write(path, identity)
    return list(enumerate(losses, start=1))


@dataclass(frozen=True)
class _State:
    """What a training goes on from: weights, the optimizer's moments, the losses so far."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    losses: list[float]

    def write(self, path: Path, identity: dict[str, Any]) -> None:
        tensors = {_WEIGHTS + name: value for name, value in self.weights.items()}
        tensors |= {_MOMENTS + name: value for name, value in self.moments.items()}
        tensors[_LOSSES] = torch.tensor(self.losses, dtype=torch.float64)
        header = {"kind": _KIND, "version": _VERSION, "training": identity}
        write_tensors(path, tensors, header)


def _read_state(path: Path, identity: dict[str, Any]) -> _State | None:
    if not path.exists():
        return None
    tensors, header = read_tensors(path, _KIND, _VERSION)
    if header["training"] != identity:
        raise ValueError(f"{path}: expected the state of this training, got another one's")
    parts = [
        {name[len(kind) :]: value for name, value in tensors.items() if name.startswith(kind)}
        for kind in (_WEIGHTS, _MOMENTS)
    ]
    return _State(parts[0], parts[1], tensors[_LOSSES].tolist())


def _trainable(segmenter: Segmenter) -> nn.Module:
    model = segmenter.model
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise TypeError(
            f"seg_model: expected a torch.nn.Module with weights to train, got {describe(model)}"
        )
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if kinds != {torch.float32}:
        raise ValueError(
            "seg_model: expected weights in single precision to train, got "
            f"{', '.join(sorted(map(str, kinds)))}"
        )
    return model


@contextmanager
def _training(
    model: nn.Module, parameters: list[nn.Parameter], settings: FinetuneSettings
) -> Iterator[None]:
    """Switch a model's parts to training; afterwards to evaluation."""
    for parameter in parameters:
        parameter.requires_grad = True
    model.train()
    if not settings.train_norm:
        for norm in _norms(model):
            norm.eval()
            for parameter in norm.parameters():
                parameter.requires_grad = False
    try:
        yield
    finally:
        model.eval()


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _optimizer(parameters: list[nn.Parameter], settings: FinetuneSettings) -> torch.optim.Optimizer:
    moved = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(moved, lr=rate, momentum=settings.momentum, weight_decay=decay)
    return torch.optim.AdamW(moved, lr=rate, weight_decay=decay)


def _batches(
    done: int, task: FinetuneTask, settings: FinetuneSettings
) -> Generator[tuple[int, list[tuple[Tensor, Tensor]]], None, None]:
    """This process's crops of every step that is left, read ahead, with a bar and log lines."""
    from tqdm import tqdm

    size = crop_size(task, settings)
    said, silent = time.monotonic(), not (task.progress and task.processes.first)

    def read(step: int) -> list[tuple[Tensor, Tensor]]:
        own = task.processes.share(crops_of_step(step, task, settings))
        return [read_crop(crop, size, task, settings) for crop in own]

    steps = overlap(
        range(done, settings.steps), read, lambda _, crops: crops, lambda _, crops: crops
    )
    bar = tqdm(total=settings.steps, initial=done, unit="step", disable=silent)
    with bar, closing(steps):
        for step, future in steps:
            yield step, future.result()
            bar.update()
            last = step + 1 == settings.steps
            if task.processes.first and (last or time.monotonic() - said >= EVERY):
                said = time.monotonic()
                _LOG.info("Fine-tuning: step %d of %d", step + 1, settings.steps)


def _add_loss(
    segmenter: Segmenter, crops: list[tuple[Tensor, Tensor]], task: FinetuneTask
) -> float:
    """Add this process's part of the gradient of a step's mean loss; return that part."""
    device, ignore = segmenter.device, task.label_space.ignore_index
    labelled = torch.tensor([sum(int((label != ignore).sum()) for _, label in crops)])
    total = labelled.double().to(device)
    add_up(task.processes, [total])
    if not crops:
        return 0.0
    images, labels = (torch.stack(part).to(device) for part in zip(*crops, strict=True))
    logits = segmenter.learning_logits(images).float()
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear")
    loss = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="sum")
    loss = loss / total.clamp(min=1).item()
    torch.autograd.backward(loss)
    return loss.item()


def _share_statistics(model: nn.Module, processes: Processes) -> None:
    """Make every process's running statistics their mean over the processes."""
    if processes.count == 1:
        return
    kept = [(n.running_mean, n.running_var) for n in _norms(model) if n.training]
    statistics = [tensor for pair in kept for tensor in pair if tensor is not None]
    if statistics:
        add_up(processes, statistics)
        for tensor in statistics:
            tensor /= processes.count


@contextmanager
def _own_randomness(device: torch.device, step: int, task: FinetuneTask) -> Iterator[None]:
    """What a model draws, as for dropout, follows from the seed; the caller's generators stay."""
    draws = np.random.default_rng([task.seed, task.stage, _MODEL, step, task.processes.rank])
    own = int(draws.integers(2**62))
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(own)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(own)
        yield
