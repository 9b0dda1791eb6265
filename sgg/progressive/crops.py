"""The crops that every step learns from: known before the first step, read when they are due.

All that is random is a function of the seed, the stage and the place in the schedule: no generator
has a state to save, none is the caller's, and the number of processes changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.files import read_image
from seco.common.images import check_pair
from seco.common.items import label_of
from sgg.progressive.protocol import FinetuneTask
from sgg.progressive.settings import FinetuneSettings

# What is drawn with the seed beside it, so that no two draws have the same numbers.
_ORDER, _VIEW = 1, 2
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as usual for saturation


@dataclass(frozen=True)
class Crop:
    """One crop of a step.

    Args:
        epoch: how often all images were gone through before.
        position: of the image in this epoch's order.
        index: of the image.
    """

    epoch: int
    position: int
    index: int


def crops_of_step(step: int, task: FinetuneTask, settings: FinetuneSettings) -> list[Crop]:
    """All crops of a step: the images in a new random order every epoch."""
    count, found = len(task.inputs.files), []
    orders: dict[int, Array] = {}
    for number in range(step * settings.batch_size, (step + 1) * settings.batch_size):
        epoch, position = divmod(number, count)
        if epoch not in orders:
            draws = np.random.default_rng([task.seed, task.stage, _ORDER, epoch])
            orders[epoch] = draws.permutation(count)
        found.append(Crop(epoch, position, int(orders[epoch][position])))
    return found


def crop_size(task: FinetuneTask, settings: FinetuneSettings) -> tuple[int, int]:
    """Height and width of all crops: as set, or as the first image has them if that is less.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    height, width = read_image(task.inputs.files[0].image).shape[:2]
    return min(height, settings.crop_height), min(width, settings.crop_width)


def read_crop(
    crop: Crop, size: tuple[int, int], task: FinetuneTask, settings: FinetuneSettings
) -> tuple[Tensor, Tensor]:
    """One crop, mirrored and jittered as its place in the schedule says.

    Args:
        crop: which.
        size: its height and width; what an image lacks is grey and unlabelled.
        task: whose images.
        settings: of the views.

    Returns:
        (3, h, w) float32 in [-1, 1] and (h, w) int64.

    Raises:
        OSError, ValueError: image or label cannot be read, or do not fit.
    """
    rng = np.random.default_rng([task.seed, task.stage, _VIEW, crop.epoch, crop.position])
    inputs = task.source if rng.random() < settings.source_share else task.inputs
    files = inputs.files[crop.index]
    image, label = read_image(files.image), label_of(files, inputs, task.label_space)
    check_pair(image, label, names=("image", "label"))
    top, left = (
        int(rng.integers(max(have - want, 0) + 1))
        for have, want in zip(label.shape, size, strict=True)
    )
    window = np.s_[top : top + size[0], left : left + size[1]]
    view = image[window].astype(np.float32) / 255
    target = label[window].astype(np.int64)
    if settings.flip and rng.random() < 0.5:
        view, target = view[:, ::-1], target[:, ::-1]
    view = _jittered(view, 1 + settings.jitter * rng.uniform(-1, 1, 3))
    lack = [(0, want - have) for want, have in zip(size, target.shape, strict=True)]
    view = np.pad(view * 2 - 1, [*lack, (0, 0)])
    target = np.pad(target, lack, constant_values=task.label_space.ignore_index)
    return torch.from_numpy(view.transpose(2, 0, 1).copy()), torch.from_numpy(target.copy())


def _jittered(view: Array, factors: Array) -> Array:
    """Brightness, contrast and saturation changed by factors; in [0, 1] as the image is."""
    brightness, contrast, saturation = factors.astype(np.float32)
    view = (view * brightness).clip(0, 1)
    mean = (view @ _GREY).mean()
    view = ((view - mean) * contrast + mean).clip(0, 1)
    grey = (view @ _GREY)[..., None]
    jittered: Array = ((view - grey) * saturation + grey).clip(0, 1)
    return jittered
