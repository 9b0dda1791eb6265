"""Variances of reverse steps, and their fractions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgg.diffusion.variance import step_variance, variance_fraction

ALPHAS_CUMPROD = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)


def test_variance_of_steps_of_any_length():
    a, b, c = (float(ALPHAS_CUMPROD[t]) for t in (700, 400, 399))
    assert step_variance(0.0, a, 1.0) == 0
    assert step_variance(1.0, a, b) == pytest.approx(1 - a / b)
    between = step_variance(0.5, b, c)
    assert step_variance(0.0, b, c) < between < step_variance(1.0, b, c)
    assert step_variance(torch.tensor(0.5, dtype=torch.float64), b, c).item() == between


@settings(max_examples=30)
@given(st.integers(1, 999), st.integers(1, 999), st.floats(0, 1))
def test_a_variance_is_that_of_its_fraction(t, back, fraction):
    alphas = float(ALPHAS_CUMPROD[t]), float(ALPHAS_CUMPROD[max(t - back, 0)])
    variance = step_variance(torch.tensor(fraction, dtype=torch.float64), *alphas)
    assert variance_fraction(variance, *alphas).item() == pytest.approx(fraction, abs=1e-6)
