"""Functions that are compiled once per size, however many there are."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
import torch._dynamo
from torch import nn

from seco.common import compiling
from seco.common.compiling import SIZES, compiled

TORCH_COMPILE = torch.compile


@pytest.fixture
def graphs(monkeypatch):
    """What is compiled: torch's limit at that time."""
    seen = []

    def backend(graph, inputs):
        seen.append(torch._dynamo.config.cache_size_limit)  # the older name of the same
        return graph.forward

    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, *, mode, **options: TORCH_COMPILE(function, backend=backend, **options),
    )
    torch._dynamo.reset()
    yield seen
    torch._dynamo.reset()


def double(x):
    return 2 * x


@pytest.mark.parametrize("function", [double, nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1).forward])
def test_once_for_every_size(function, graphs):
    fast = compiled(function)
    for _ in range(2):
        for size in range(1, 13):  # torch itself stops at 8
            x = torch.ones(1, 3, size, 2)
            assert torch.equal(fast(x), function(x))
    assert graphs == [SIZES] * 12


def test_the_callers_limit_stays(graphs):
    config, x = torch._dynamo.config, torch.ones(2)
    for own in (3, 2 * SIZES):
        with config.patch(cache_size_limit=own):
            compiled(lambda x, own=own: x + own)(x)
            assert config.cache_size_limit == own
            with pytest.raises(ZeroDivisionError):
                compiled(lambda x: 1 // 0)(x)
            assert config.cache_size_limit == own
    assert graphs == [SIZES, 2 * SIZES]  # a higher one holds


def test_within_what_is_compiled_around_it(graphs):
    inner = compiled(double)
    outer = TORCH_COMPILE(lambda x: inner(x) + 1, backend="eager", fullgraph=True)
    assert outer(torch.ones(2)).tolist() == [3, 3]
    assert graphs == []


def test_with_an_older_torch(monkeypatch):
    """It has the limit under another name."""
    config = SimpleNamespace(cache_size_limit=8)

    @contextmanager
    def patch(changes):
        before = {name: getattr(config, name) for name in changes}
        vars(config).update(changes)
        yield
        vars(config).update(before)

    config.patch = patch
    monkeypatch.setattr(torch._dynamo, "config", config)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    assert compiling.compiled(lambda: config.cache_size_limit)() == SIZES
    assert config.cache_size_limit == 8
