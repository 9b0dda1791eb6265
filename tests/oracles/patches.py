"""Images of coloured patches, whose class is their colour, and labels that get some wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from seco import LabelSpace

SPACE = LabelSpace(names=("red", "green", "blue"), things=("blue",))
COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 200]])


def patches(seed, *, rows=4, columns=6, side=8, wrong=0.0, open_set=0.0):
    """An image, its noisy label, the true one (3 is outside the label space).

    Neighbouring patches may have one class and then are one component; patches are separated by
    an ignored line so that they are not.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (rows, columns))
    truth[rng.random(truth.shape) < open_set] = 3
    given = np.where(truth == 3, rng.integers(0, 3, truth.shape), truth)
    other = (given + rng.integers(1, 3, truth.shape)) % 3
    given = np.where(rng.random(truth.shape) < wrong, other, given)
    truth, given = (np.kron(m, np.ones((side, side), int)) for m in (truth, given))
    line = np.zeros(truth.shape, bool)
    line[::side] = line[:, ::side] = True
    image = COLOURS[truth] + rng.normal(0, 15, (*truth.shape, 3))
    image = image.clip(0, 255).astype(np.uint8)
    return image, np.where(line, 255, given).astype(np.uint8), np.where(line, 255, truth)


class Colour(nn.Module):
    """Features that are the average colours of 2 x 2 pixels, mixed; nothing random."""

    def __init__(self):
        super().__init__()
        self.mix = nn.utils.skip_init(nn.Conv2d, 3, 6, 2, stride=2)
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(self.mix.weight, std=0.5, generator=generator)
        nn.init.zeros_(self.mix.bias)
        self.passes = 0

    def forward(self, x):
        self.passes += len(x)
        return self.mix(x).relu()
