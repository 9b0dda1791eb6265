"""A target domain that is a formula, so that denoising an image takes milliseconds."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass

import torch

from sgg import CallableDiffusion

SCHEDULE = (1 - torch.linspace(1e-3, 0.3, 12, dtype=torch.float64)).cumprod(0)


@dataclass
class Denoiser:
    """Of a domain in which every value is N(0.3, 0.16); counts its calls, may kill its process."""

    calls: int = 0
    kill_at: int | None = None

    def __call__(self, x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        a = SCHEDULE[int(steps[0])].item()
        gain = 0.16 * math.sqrt(a) / (0.16 * a + 1 - a)
        return 0.3 + gain * (x_t - math.sqrt(a) * 0.3)


def target_domain(denoiser: Denoiser | None = None) -> CallableDiffusion:
    return CallableDiffusion(denoiser or Denoiser(), SCHEDULE, prediction_type="sample")
