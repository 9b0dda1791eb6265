"""A denoiser and a segmenter of a few layers, to be made faster."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import sgg

SCHEDULE = (1 - torch.linspace(1e-3, 0.25, 24, dtype=torch.float64)).cumprod(0)


class Denoiser(nn.Module):
    """Layers of both kinds, a norm that autocast leaves alone, and one that leaves autocast."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.time = nn.Linear(1, 8)
        self.exact = nn.Linear(8, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x, steps):
        found = self.norm(self.first(x)) + self.time(steps[:, None] / 24)[..., None, None]
        with torch.autocast(x.device.type, enabled=False):
            found = self.exact(found.float().movedim(1, -1)).movedim(-1, 1)
        return self.last(torch.tanh(found))


class Network(nn.Module):
    """A segmenter of four classes that sees neighbours."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        return {"out": self.last(torch.tanh(self.first(x)))}


def translate(models, seed=0, **options):
    denoiser, network = models
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
    label = rng.integers(0, 3, (16, 24)).astype(np.uint8)
    # Of an array of pixels the last dimension would be that of channels already.
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()[None]
    model = sgg.CallableDiffusion(denoiser, SCHEDULE)
    options = {"num_inference_steps": 4} | options
    found = sgg.translate(pixels, torch.from_numpy(label)[None], model, network, **options)
    return found.numpy()


def own_forward(layer):
    plain = layer.forward

    def forward(x):  # as accelerate does
        return plain(x) + 1

    layer.forward = forward
    return layer
