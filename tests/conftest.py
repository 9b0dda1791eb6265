"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from seeming_gpu import seeming_gpu

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def gpu() -> Iterator[None]:
    """``cuda`` is a device: the machine's, or one that seems to be there."""
    if torch.cuda.is_available():
        yield
        return
    with seeming_gpu():
        yield
