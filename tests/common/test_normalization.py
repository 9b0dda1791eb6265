"""Mean and std, given on either scale in any form, for pixels on either scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seco.common.normalization import rgb_statistics

FORMS = (tuple, list, np.array, torch.tensor, lambda v: torch.tensor(v, dtype=torch.float64))


@given(
    mean=st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3),
    std=st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3),
    scale=st.sampled_from((1, 255)),
    high=st.sampled_from((1, 255)),
    form=st.sampled_from(FORMS),
)
def test_any_scale_to_any_other(mean, std, scale, high, form):
    said = [[scale * v for v in part] for part in (mean, std)]
    found = rgb_statistics("x", *(form(part) for part in said), high=high, instead="")
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), high * np.array([mean, std]), rtol=1e-6)


def test_what_is_on_its_scale_stays_to_the_last_digit():
    for mean, std, high in (
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 255),
    ):
        assert rgb_statistics("x", mean, std, high=high, instead="").tolist() == [[*mean], [*std]]


def test_the_default_device_is_not_asked():
    with torch.device("meta"):  # as one of "cuda", or of "mps", which has no double precision
        found = rgb_statistics("x", (0.5,) * 3, [0.2] * 3, high=1, instead="")
    assert found.tolist() == [[0.5] * 3, [0.2] * 3]


@pytest.mark.parametrize(
    ("mean", "std", "error", "said"),
    [
        (
            (0.5, 0.5),
            (0.2,) * 3,
            ValueError,
            r"expected mean of three numbers, got shape \(2,\)",
        ),
        ((0.5,) * 3, None, TypeError, "x: expected std of three numbers, got NoneType None"),
        ((0.5,) * 3, "rgb", TypeError, "x: expected std of three numbers, got str 'rgb'"),
        ((float("nan"),) * 3, (0.2,) * 3, ValueError, "x: expected finite mean >= 0 and std > 0"),
        ((0.5,) * 3, (0.0,) * 3, ValueError, "x: expected finite mean >= 0 and std > 0"),
        ((123.0,) * 3, (0.2,) * 3, ValueError, "x: expected mean and std on one scale"),
        ((0,) * 3, (1,) * 3, ValueError, "got mean 0, std 1; say so"),
    ],
)
def test_what_cannot_be_is_refused(mean, std, error, said):
    with pytest.raises(error, match=said):
        rgb_statistics("x", mean, std, high=1, instead="say so")
