"""From what a user writes on a command line to models, and what provenance says of them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seco.common.checks import describe
from seco.common.functions import call_function, names_function
from seco.common.modules import fingerprint
from seco.common.normalization import Normalization
from sgg.diffusion.latent import overflows_in_half
from sgg.diffusion.loading import as_diffusion
from sgg.diffusion.protocol import DiffusionModel
from sgg.folder.stored import stored_dtype, variant_in
from sgg.segmenter import IMAGENET, Segmenter, as_segmenter


def load_diffusion(spec: str | Path, *, device: str = "cpu") -> DiffusionModel:
    """Load a diffusion model of target images.

    Args:
        spec: a diffusers folder with ``unet`` and ``scheduler`` and, in latent space, ``vae`` or
            ``vqvae``; ``package.module:function``, called without arguments for whatever
            :func:`sgg.as_diffusion` takes (guided-diffusion's pair, conditioned models); or
            ``"demo"`` for the bundled one. A folder's networks have the precision that they are
            stored in; on the CPU, which computes in half precision slowly or not at all, float32.
        device: where to put it: of a function's model, the modules that it holds.

    Raises:
        OSError, ValueError, TypeError: nothing of that kind is there, or a kind that is not
            supported; or a function's model cannot be put on the device.
        RuntimeError: there is no such device.
        ModuleNotFoundError: diffusers is not installed.
    """
    text, place = str(spec), torch.device(device)
    if text == "demo":
        from sgg.demo import load_diffusion as load_demo

        return _placed(load_demo(), place)
    if Path(spec).is_dir():
        return _placed(_diffusers_parts(Path(spec), place), place)
    if names_function(text):
        return _placed(call_function(text), place)
    raise ValueError(
        f"diffusion: expected a diffusers folder, package.module:function or demo, got {text}"
    )


def load_segmenter(
    spec: str | Path,
    *,
    normalization: Normalization | Literal["own"] | None = "own",
    device: str = "cpu",
) -> Segmenter:
    """Load a segmentation model.

    Args:
        spec: a transformers folder of a model for semantic segmentation, in float32 however it
            is stored, as it may be trained further and measure; a TorchScript file;
            ``package.module:function``, called without arguments for whatever
            :class:`sgg.Segmenter` takes, or for a ``Segmenter``; or ``"demo"`` for the bundled
            one that guides, ``"demo-oracle"`` for the one that measures. ``SPEC@FILE.safetensors``
            is one of these with other weights, such as those of a stage of
            :func:`sgg.progressive_translation`.
        normalization: see :class:`sgg.Segmenter`. ``"own"``: what a transformers folder, a bundled
            model or a ``Segmenter`` says itself; ImageNet's of other models.
        device: where to put it.

    Raises:
        OSError, ValueError, TypeError: nothing of that kind is there.
        ValueError: the model says itself that it takes another normalization.
        RuntimeError: there is no such device.
        ModuleNotFoundError: transformers is not installed.
    """
    loaded = _loaded_segmenter(spec, IMAGENET if normalization == "own" else normalization, device)
    if normalization != "own" and not loaded.takes(normalization):
        raise ValueError(
            f"segmenter: {spec} says itself what RGB it takes, expected no other normalization, "
            f"got {normalization}"
        )
    return loaded


def _loaded_segmenter(
    spec: str | Path, normalization: Normalization | None, device: str
) -> Segmenter:
    """With its own normalization, or this one if it has none."""
    text, place = str(spec), torch.device(device)
    base, _, weights = text.rpartition("@")
    if base and weights.endswith(".safetensors") and not Path(spec).exists():
        segmenter = _loaded_segmenter(base, normalization, device)
        _load_weights(segmenter, Path(weights))
        return segmenter
    if text in ("demo", "demo-oracle"):
        from sgg import demo

        load = demo.load_segmenter if text == "demo" else demo.load_oracle
        return _moved_segmenter(as_segmenter(load(), normalization=None), place)
    if Path(spec).is_dir():
        model, normalization = _transformers_model(Path(spec))
        return Segmenter(_moved(model, place), normalization=normalization)
    if Path(spec).is_file():
        return Segmenter(_script(text, place), normalization=normalization)
    if names_function(text):
        made = as_segmenter(call_function(text), normalization=normalization)
        return _moved_segmenter(made, place)
    raise ValueError(
        "segmenter: expected a transformers folder, a TorchScript file, package.module:function, "
        f"demo or demo-oracle, got {text}"
    )


def describe_model(model: object) -> str | None:
    """Kind of a model and a hash of its weights and settings; ``None`` of ``None``.

    Functions count by their name, a method also by its module; objects of other libraries by name,
    and by the modules and tensors that they hold.

    Example:
        >>> describe_model(Segmenter(nn.Conv2d(3, 2, 1), normalization=None))[:22]
        'Segmenter Conv2d sha25'
        >>> one, other = (Segmenter(abs, normalization=n) for n in (None, IMAGENET))
        >>> describe_model(one) == describe_model(other)
        False
    """
    if model is None:
        return None
    digest = hashlib.sha256()
    for part in _parts(model):
        digest.update(part.encode() + b"\0")
    held = getattr(model, "__dict__", {}).values()
    inner = [type(part).__name__ for part in held if isinstance(part, nn.Module)]
    return " ".join([type(model).__name__, *dict.fromkeys(inner), f"sha256 {digest.hexdigest()}"])


def _parts(value: Any) -> Iterator[str]:
    """What tells a model from another, as texts."""
    if isinstance(value, nn.Module):
        yield f"{type(value).__name__} {fingerprint(value)}"
    elif isinstance(value, (Tensor, np.ndarray)):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        yield f"{array.dtype} {array.shape} {content}"
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value)
    elif isinstance(value, Mapping):
        for key, item in sorted(value.items()):
            yield str(key)
            yield from _parts(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _parts(item)
    elif type(value).__module__.partition(".")[0] == "sgg":
        yield type(value).__name__
        yield from _parts(vars(value))
    else:
        kind = value if hasattr(value, "__qualname__") else type(value)
        yield f"{kind.__module__}.{kind.__qualname__}"
        held = {**getattr(value, "__dict__", {}), "__self__": getattr(value, "__self__", None)}
        for name, part in sorted(held.items()):
            if isinstance(part, (nn.Module, Tensor, np.ndarray)):
                yield name
                yield from _parts(part)


def _load_weights(segmenter: Segmenter, path: Path) -> None:
    """Replace the weights of a segmenter's model by those of a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not isinstance(segmenter.model, nn.Module):
        raise TypeError(f"{path}: expected a module to load weights into, got a function")
    try:
        segmenter.model.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: expected weights of that model, got {reason}") from error


def _script(path: str, device: torch.device) -> nn.Module:
    """The module in a TorchScript file."""
    load: Any = torch.jit.load  # torch declares no types for it
    with warnings.catch_warnings():
        # Deprecated in torch, but the files are there, and still the way to do without sources.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            script: nn.Module = load(path, map_location=device)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}: expected a TorchScript file, got {reason}") from error
    return script


def _placed(model: Any, device: torch.device) -> DiffusionModel:
    """A diffusion model on a device.

    Raises:
        TypeError, ValueError: as :func:`sgg.as_diffusion`, or it stays elsewhere.
    """
    placed = as_diffusion(_moved(model, device))
    there = torch.device(placed.device)
    if there.type != device.type or device.index not in (None, there.index):
        raise ValueError(
            f"diffusion: expected a model that can be put on {device}, got "
            f"{type(placed).__name__}, which stays on {there}; give it a method to(device), or "
            f"choose {there} as the device"
        )
    return placed


def _moved(model: Any, device: torch.device) -> Any:
    """Modules, pipelines and what else can move, alone, in a tuple or held, on a device."""
    if isinstance(model, (tuple, list)):
        return tuple(_moved(part, device) for part in model)
    if isinstance(model, (type, Tensor)):
        return model  # a condition goes where the samples are, and schedules stay on the CPU
    if callable(getattr(model, "to", None)):
        moved = model.to(device)
        return model if moved is None else moved
    owner = getattr(model, "__self__", None)
    if isinstance(owner, nn.Module):  # of a method, such as network.forward
        owner.to(device)
    elif isinstance(model, DiffusionModel):
        for part in getattr(model, "__dict__", {}).values():
            _moved(part, device)
    return model


def _moved_segmenter(segmenter: Segmenter, device: torch.device) -> Segmenter:
    _moved(segmenter.model, device)
    return segmenter


def _diffusers_parts(folder: Path, device: torch.device) -> tuple[Any, ...]:
    """Network, scheduler and, where there is one, autoencoder of a diffusers folder.

    On the CPU, but in the precision that they shall have on the device.
    """
    names = ["unet", "scheduler"]
    if not all((folder / name).is_dir() for name in names):
        found = sorted(path.name for path in folder.iterdir())
        raise ValueError(
            f"{folder}: expected a diffusers folder with unet and scheduler in it, got "
            f"{', '.join(found[:8]) or 'an empty one'}"
        )
    names += [name for name in ("vae", "vqvae") if (folder / name).is_dir()][:1]
    try:
        import diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{folder} needs diffusers: pip install 'seco-sgg[diffusers]'"
        ) from error
    parts = []
    for name in names:
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        kind = json.loads((folder / name / file).read_text(encoding="utf-8")).get("_class_name")
        loader = getattr(diffusers, str(kind), None)
        if loader is None:
            raise ValueError(f"{folder / name}: expected a class of diffusers, got {kind}")
        if name == "scheduler":
            parts.append(loader.from_pretrained(folder / name, local_files_only=True))
            continue
        with _own_randomness():
            part = loader.from_pretrained(
                folder / name, local_files_only=True, variant=variant_in(folder / name)
            )
        dtype = torch.float32 if device.type == "cpu" else stored_dtype(folder / name)
        if dtype == torch.float16 and overflows_in_half(part):
            dtype = torch.float32
        parts.append(part.to(dtype))
    return tuple(parts)


def _transformers_model(folder: Path) -> tuple[Any, Normalization | None]:
    """A model for semantic segmentation, and the normalization that its folder says."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: expected a transformers folder with config.json in it")
    try:
        from transformers import AutoModelForSemanticSegmentation
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{folder} needs transformers: pip install 'seco-sgg[transformers]'"
        ) from error
    with _own_randomness():
        model = AutoModelForSemanticSegmentation.from_pretrained(
            folder, local_files_only=True, variant=variant_in(folder)
        )
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return model.float(), IMAGENET
    said: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not said.get("do_normalize", True):
        return model.float(), None
    mean, std = (said.get(f"image_{name}", IMAGENET[k]) for k, name in enumerate(("mean", "std")))
    if not isinstance(mean, (list, tuple)) or not isinstance(std, (list, tuple)):
        raise ValueError(f"{path}: expected image_mean and image_std, got {describe(mean)}")
    # as it is, which sgg.Segmenter takes no mean 0 and std 1 for: they say no scale
    as_it_is = set(mean) == {0} and set(std) == {1}
    return model.float(), None if as_it_is else (mean, std)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Libraries initialise weights before they replace them: the caller's generator stays."""
    with torch.random.fork_rng(devices=[]):
        yield
