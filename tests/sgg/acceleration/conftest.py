"""The networks that are made faster."""

from __future__ import annotations

import pytest
import torch
from small_networks import Denoiser, Network


@pytest.fixture(scope="module")
def models():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(), Network()
