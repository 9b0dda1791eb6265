"""Early learning: a short training of the connectivity classifier on noisy labels.

Networks fit what is clean before they memorise what is noisy, so the training is short. All that
is random in it (order, choice of connectivities, mirroring) is a function of the seed and of the
place in the stream alone: no generator has a state to save, and none is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.files import PathLike
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.samples import SampleStream, Scene
from seco.correction.settings import SCCSettings
from seco.correction.tensor_files import read_tensors, write_tensors

_KIND, _VERSION = "seco training state", 1
_MOMENTS = "optimizer."
_PASSES, _LEAST, _MOST = 10, 100, 5000


def train_classifier(
    classifier: ConnectivityClassifier,
    stream: SampleStream,
    settings: SCCSettings,
    *,
    seed: int,
    checkpoint: PathLike | None = None,
    checkpoint_every: int = 500,
    progress: bool = False,
) -> int:
    """Train in place.

    Args:
        classifier: to train.
        stream: of images and labels.
        settings: see :class:`SCCSettings`.
        seed: of the choice of connectivities and the mirroring.
        checkpoint: file to write the state of the training to, and to go on from if it is there.
        checkpoint_every: steps between two writings; the last step is always written.
        progress: show a bar.

    Returns:
        The number of steps, from the first on.

    Raises:
        ValueError: no connectivity to learn from, or a checkpoint of another training.

    Source: SeCo, section 3.3 (early learning) and equation 2.
    """
    from tqdm import tqdm

    iterations, weights = _plan(stream, settings, classifier.num_classes)
    identity = {"settings": asdict(settings), "seed": seed, "iterations": iterations}
    identity |= {"classes": classifier.num_classes, "encoder": classifier.extractor.describe()}
    step = epoch = position = 0
    with _learning(classifier.extractor.device):
        moments: dict[str, Tensor] = {}
        if checkpoint is not None and Path(checkpoint).exists():
            tensors, header = _read_checkpoint(checkpoint, identity)
            step, epoch, position = (header[name] for name in ("step", "epoch", "position"))
            moments = {name: v for name, v in tensors.items() if name.startswith(_MOMENTS)}
            classifier.load_state({n: v for n, v in tensors.items() if n not in moments})
        else:
            classifier.prepare(next(_learnable(stream, settings, 0, 0))[2].image)
        optimizer = _optimizer(classifier, settings)
        _load_moments(optimizer, moments)
        rates = [group["lr"] for group in optimizer.param_groups]
        scenes = _learnable(stream, settings, epoch, position)
        bar = tqdm(total=iterations, initial=step, unit="step", disable=not progress)
        with bar:
            while step < iterations:
                decay = (1 + 10 * step / iterations) ** -0.75
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * decay
                optimizer.zero_grad()
                wanting, loss = settings.batch_size, 0.0
                while wanting > 0:
                    epoch, position, scene = next(scenes)
                    rng = np.random.default_rng([seed, epoch, position])
                    most = min(wanting, settings.per_image)
                    chosen = _choose(scene, weights, most, settings.min_area, rng)
                    if settings.flip and rng.random() < 0.5:
                        scene = scene.flipped()
                    loss += _learn(classifier, scene, chosen, settings)
                    wanting -= len(chosen)
                optimizer.step()
                step += 1
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if checkpoint is not None and (step == iterations or step % checkpoint_every == 0):
                    header = {"kind": _KIND, "version": _VERSION, "training": identity}
                    header |= {"step": step, "epoch": epoch, "position": position + 1}
                    write_tensors(checkpoint, classifier.state() | _moments(optimizer), header)
    return iterations


@contextmanager
def _learning(device: torch.device) -> Iterator[None]:
    """Compute with gradients and in full precision, whatever the caller has switched on."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


def _read_checkpoint(
    path: PathLike, identity: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, header = read_tensors(path, _KIND, _VERSION)
    differing = [name for name, value in identity.items() if header["training"][name] != value]
    if differing:
        raise ValueError(
            "checkpoint: expected the state of this training, "
            f"got one with other {', '.join(differing)} in {path}"
        )
    return tensors, header


def _plan(
    stream: SampleStream, settings: SCCSettings, num_classes: int
) -> tuple[int, Tensor | None]:
    """The number of steps, and each class's weight in the choice if classes are to be balanced."""
    if settings.iterations is not None and not settings.class_balanced:
        return settings.iterations, None
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for scene in stream:
        learnable = scene.connectivities.classes[scene.areas >= settings.min_area]
        counts += torch.bincount(learnable.cpu(), minlength=num_classes)
    iterations = settings.iterations
    if iterations is None:
        iterations = math.ceil(_PASSES * int(counts.sum()) / settings.batch_size)
        iterations = min(max(iterations, _LEAST), _MOST)
    return iterations, 1 / counts.clamp(min=1) if settings.class_balanced else None


def _learnable(
    stream: SampleStream, settings: SCCSettings, epoch: int, position: int
) -> Iterator[tuple[int, int, Scene]]:
    """Epoch, position and scene, without end, of scenes with something to learn from."""
    found = False
    for number in range(epoch, 2**62):
        for place, scene in enumerate(stream.epoch(number, position), position):
            if bool((scene.areas >= settings.min_area).any()):
                found = True
                yield number, place, scene
        if not found and position == 0:
            raise ValueError(
                "samples: expected at least one connectivity of min_area="
                f"{settings.min_area} or more pixels, got none"
            )
        position = 0


def _choose(
    scene: Scene,
    weights: Tensor | None,
    most: int,
    min_area: int,
    rng: np.random.Generator,
) -> Tensor:
    """Indices of at most ``most`` connectivities, drawn without replacement."""
    learnable = (scene.areas >= min_area).nonzero()[:, 0].cpu()
    # The largest keys u^(1/w) are a weighted draw without replacement (Efraimidis, Spirakis 2006).
    keys = np.log(1 - rng.random(len(learnable)))
    if weights is not None:
        keys = keys / weights[scene.connectivities.classes.cpu()[learnable]].numpy()
    return learnable[torch.from_numpy(np.argsort(-keys, kind="stable")[:most])]


def _learn(
    classifier: ConnectivityClassifier, scene: Scene, chosen: Tensor, settings: SCCSettings
) -> float:
    """Add one image's part of the gradient of a step's mean loss; return that part of the loss."""
    item = scene.connectivities
    number = torch.zeros(len(item) + 1, dtype=torch.int64, device=item.ids.device)
    number[chosen.to(number.device) + 1] = torch.arange(1, len(chosen) + 1, device=number.device)
    logits = classifier(scene.image, number[item.ids.long()], len(chosen))
    loss = F.cross_entropy(
        logits,
        item.classes[chosen.to(item.classes.device)].to(logits.device),
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


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{_MOMENTS}{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _load_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        _, index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
