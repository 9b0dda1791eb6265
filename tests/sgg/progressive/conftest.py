"""A source set and a whole run, for all tests of progressive translation."""

from __future__ import annotations

import pytest
from progressive_world import (
    results,
    run,
    write_source,
)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("progressive") / "game")


@pytest.fixture(scope="session")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(source, out)
    return results(out)
