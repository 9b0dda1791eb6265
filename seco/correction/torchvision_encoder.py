"""A network of torchvision as the corrector's features: trained on photographs, in one line."""

from __future__ import annotations

from functools import partial
from os import PathLike, fspath
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from seco.common.precision import cpu_by_default
from seco.correction.extractors import ModuleExtractor
from seco.sam.inputs import IMAGENET_MEAN, IMAGENET_STD

STRIDES = (8, 16, 32)
# Of a look at the strides; what is pooled to 1 x 1 or 7 x 7 does not divide it evenly.
_HEIGHT, _WIDTH = 256, 320

Statistics = tuple[float, float, float]


def torchvision_encoder(
    name: str = "resnet50",
    *,
    weights: str | PathLike[str] | None = "DEFAULT",
    trained: bool = False,
    device: str | torch.device = "cpu",
) -> ModuleExtractor:
    """Features of one of torchvision's classification networks, at strides 8, 16 and 32.

    On photographs features of a network from ImageNet recognised noise better than those of the
    bundled SAM (docs/correction.md, of an EfficientNet). The paper takes ``"resnet101"`` and trains
    it along (``trained=True``).

    Args:
        name: as in ``torchvision.models.list_models()``: resnets, EfficientNets, ConvNeXts,
            MobileNets, RegNets and others whose features keep rows and columns.
        weights: the name of weights that torchvision downloads once (``"DEFAULT"``: its best,
            ``"IMAGENET1K_V1"``), a file with a state dict of the network, or ``None`` for the
            first ones, always the same.
        trained: see :class:`ModuleExtractor`.
        device: where to put it.

    Raises:
        ValueError: no such network or weights, weights of another network, or no feature maps at
            these strides.
        OSError: the weights can be neither read nor downloaded.

    Example:
        >>> encoder = torchvision_encoder("mobilenet_v3_small", weights=None)
        >>> [tuple(level.values.shape) for level in encoder(torch.zeros(3, 64, 96))]
        [(24, 8, 12), (48, 4, 6), (576, 2, 3)]
    """
    with torch.random.fork_rng(devices=[]), cpu_by_default():  # what is loaded is drawn before
        torch.default_generator.manual_seed(0)  # torch.manual_seed seeds the GPUs', too
        stages = {stage: str(stride) for stride, stage in _stages(name).items()}
        network, mean, std = _network(name, weights)
    from torchvision.models.feature_extraction import create_feature_extractor

    return ModuleExtractor(
        create_feature_extractor(network, stages).to(device),
        trained=trained,
        mean=mean,
        std=std,
        output=tuple(str(stride) for stride in STRIDES),
    )


def _network(
    name: str, weights: str | PathLike[str] | None
) -> tuple[nn.Module, Statistics, Statistics]:
    """With its weights, and the mean and deviation of images that these expect."""
    from torchvision import models

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if weights is None:
        return models.get_model(name, weights=None).eval(), mean, std
    if Path(weights).is_file():
        network = models.get_model(name, weights=None)
        try:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except (RuntimeError, TypeError, EOFError, UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{fspath(weights)}: not a state dict of {name}: {reason}") from error
        return network.eval(), mean, std
    known = models.get_model_weights(name).__members__
    if weights not in known:
        raise ValueError(
            f"weights: expected one of {', '.join(known)} or a file, got {fspath(weights)!r}"
        )
    chosen: Any = known[str(weights)]
    try:
        network = models.get_model(name, weights=chosen)
    except OSError as error:
        raise OSError(
            f"{name}: its weights could not be downloaded from {chosen.url} ({error}); give those "
            "that you have as a file, weights=PATH, or put them into torch.hub's folder"
        ) from error
    seen = chosen.transforms()
    return network.eval(), seen.mean, seen.std


def _stages(name: str) -> dict[int, str]:
    """Stride -> the last of the network's stages, or of their parts, that has it."""
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(f"name: expected one of torchvision.models.list_models(), got {name!r}")
    found: dict[int, str] = {}

    def note(stage: str, module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            stride = _HEIGHT // output.shape[-2]
            if (stride * output.shape[-2], stride * output.shape[-1]) == (_HEIGHT, _WIDTH):
                found[stride] = stage

    # On "meta" there are shapes alone; and what cannot serve is not downloaded.
    network = models.get_model(name, weights=None).eval().to("meta")
    for stage, part in network.named_modules():
        if stage and stage.count(".") < 2:
            part.register_forward_hook(partial(note, stage))
    try:
        network(torch.zeros(1, 3, _HEIGHT, _WIDTH, device="meta"))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"name: expected a network for images of any size: {error}") from error
    if not found.keys() >= set(STRIDES):
        strides = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(
            f"name: expected a network with feature maps at strides 8, 16 and 32, got {name} with "
            f"{strides}"
        )
    return {stride: found[stride] for stride in STRIDES}
