"""Processes of their own for a test: forked, as a new import of torch would take seconds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest
import torch

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def fork(run: Callable[[], object]) -> int:
    """Run something in another process and give its id; its status is 0 if nothing is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which idle here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)  # the pool of threads does not survive the fork
            run()
            status = 0
        finally:
            os._exit(status)
    return child
