"""The bundled models for street scenes of 64 x 128: target diffusion, source segmenter, oracle.

``examples/train_diffusion.py`` and ``examples/train_segmenter.py`` train them. All are float32, on
the CPU, in evaluation mode, and read from the package: no download.
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seco.demo.segmenter import StreetSegmenter
from seco.demo.segmenter import load_segmenter as load_street_segmenter
from sgg.segmenter import Segmenter

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DModel

SIZE = (64, 128)
"""Height and width of the scenes that the models were trained on."""


def load_diffusion() -> tuple[UNet2DModel, DDPMScheduler]:
    """The diffusion model of camera scenes: what ``diffusion`` of :func:`sgg.translate` takes.

    It has never seen a label, nor a scene with the game look. Only the first four fifths of its
    chain were trained: it is for a ``strength`` of at most 0.8.

    Raises:
        ModuleNotFoundError: diffusers is not installed.

    Example:
        >>> unet, scheduler = load_diffusion()
        >>> scheduler.config.prediction_type
        'v_prediction'
    """
    try:
        from diffusers import DDPMScheduler, UNet2DModel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the bundled diffusion model needs diffusers: pip install 'seco-sgg[diffusers]'"
        ) from error
    from safetensors.torch import load_file

    folder = files("sgg.demo") / "weights" / "diffusion"

    def config(part: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / part).read_text(encoding="utf-8"))
        return found

    networks: Any = UNet2DModel  # whose from_config has no types, like the scheduler's
    schedulers: Any = DDPMScheduler
    with torch.device("meta"):  # no random initialisation: the global generator is the caller's
        unet = networks.from_config(config("unet/config.json"))
    with as_file(folder / "unet" / "diffusion_pytorch_model.safetensors") as path:
        state = {name: value.float() for name, value in load_file(path).items()}
    unet.load_state_dict(state, assign=True)
    return unet.eval().requires_grad_(False), schedulers.from_config(
        config("scheduler/scheduler_config.json")
    )


def load_segmenter() -> Segmenter:
    """A segmenter trained on labelled game scenes: what guides, as ``seg_model``.

    Like every source segmenter it is unsure of the target look.

    Example:
        >>> load_segmenter()(torch.zeros(1, 3, 64, 128)).shape
        torch.Size([1, 13, 64, 128])
    """
    return Segmenter(_street_segmenter("segmenter.safetensors"), normalization=None)


def load_oracle() -> StreetSegmenter:
    """A segmenter trained on labelled *camera* scenes, for measuring and nothing else.

    It shares no weights and no initialisation with :func:`load_segmenter`, so that what fools the
    one need not fool the other. It takes images in [0, 1].

    Example:
        >>> load_oracle()(torch.zeros(1, 3, 64, 128)).shape
        torch.Size([1, 13, 64, 128])
    """
    return _street_segmenter("oracle.safetensors")


def street_batch(scenes: Any) -> tuple[Tensor, Tensor]:
    """Scenes as tensors: images (B, 3, H, W) uint8 and labels (B, H, W) uint8."""
    images = torch.stack([torch.from_numpy(scene.image) for scene in scenes])
    labels = torch.stack([torch.from_numpy(scene.label) for scene in scenes])
    return images.permute(0, 3, 1, 2).contiguous(), labels


def _street_segmenter(name: str) -> StreetSegmenter:
    with as_file(files("sgg.demo") / "weights" / name) as path:
        return load_street_segmenter(path)
