"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from seeming_gpu import seeming_gpu


@pytest.fixture
def gpu() -> Iterator[None]:
    """``cuda`` is a device: the machine's, or one that seems to be there."""
    if torch.cuda.is_available():
        yield
        return
    with seeming_gpu():
        yield
