from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seco.common.images import (
    check_pair,
    confidence_to_batch,
    labels_to_batch,
    mask_to_batch,
    restore,
    to_batch,
)

MEAN_255, STD_255 = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
MEAN_1, STD_1 = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABEL_DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64"]


def picture(height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_kind_of_image_becomes_the_same_batch():
    array = picture()
    expected = torch.from_numpy(array).permute(2, 0, 1)[None]
    planes = expected[0]
    assert torch.equal(to_batch(array), expected)
    assert torch.equal(to_batch(planes), expected)
    assert torch.equal(to_batch(planes[None].repeat(2, 1, 1, 1)), expected.repeat(2, 1, 1, 1))
    unit = planes.double() / 255
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.float32, 1e-4), (torch.float16, 0.2)):
        batch = to_batch(unit.to(dtype))
        assert batch.dtype == torch.float32
        assert torch.allclose(batch, expected.float(), atol=tolerance)


@pytest.mark.parametrize(
    ("mean", "std", "factor"),
    [
        (MEAN_255, STD_255, 1),
        (MEAN_1, STD_1, 255),
        ((0.5,) * 3, (0.5,) * 3, 255),
        ((127.5,) * 3, (127.5,) * 3, 1),
        ((0.0,) * 3, (255.0,) * 3, 1),
        ((104.0, 117.0, 123.0), (1.0,) * 3, 1),
        ((0.485, 0.456, 0.406), (1.0,) * 3, 255),
    ],
)
@pytest.mark.parametrize("form", ["tuple", "vector", "column", "batch"])
def test_normalization_is_undone(mean, std, factor, form):
    pixels = to_batch(picture()).float().repeat(2, 1, 1, 1)
    as_tensor = [torch.tensor(value).view(1, 3, 1, 1) for value in (mean, std)]
    normalised = (pixels / factor - as_tensor[0]) / as_tensor[1]
    given = {
        "tuple": (mean, std),
        "vector": (torch.tensor(mean), np.array(std)),
        "column": tuple(value[0] for value in as_tensor),
        "batch": tuple(value.repeat(2, 1, 1, 1) for value in as_tensor),
    }[form]
    before = normalised.clone()
    batch = to_batch(normalised, normalization=given)
    assert torch.allclose(batch, pixels, atol=1e-2)
    assert batch.min() >= 0
    assert batch.max() <= 255
    assert torch.equal(normalised, before)


def test_each_image_of_a_batch_may_have_its_own_normalization():
    mean = torch.tensor([[10.0] * 3, [20.0] * 3]).view(2, 3, 1, 1)
    batch = to_batch(torch.zeros(2, 3, 4, 4), normalization=(mean, torch.full_like(mean, 50)))
    assert batch[:, 0, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0,) * 3, (1,) * 3, "tell 0-1 from 0-255"),
        (MEAN_255, STD_1, "on one scale"),
        (MEAN_1, STD_255, "on one scale"),
        (MEAN_1, (0.2, 0.0, 0.2), "std > 0"),
        ((-1.0, 0.5, 0.5), STD_1, "mean >= 0"),
        ((0.5, 0.5), STD_1, "mean of shape"),
        (MEAN_1, torch.ones(3, 3, 1, 1), "std of shape"),
        (MEAN_1, (0.2, float("nan"), 0.2), "finite"),
    ],
)
def test_unusable_normalization(mean, std, message):
    with pytest.raises(ValueError, match=f"normalization: .*{message}"):
        to_batch(torch.zeros(1, 3, 4, 4), normalization=(mean, std))


def test_normalization_that_was_not_applied_is_noticed():
    with pytest.raises(ValueError, match="is normalization="):
        to_batch(torch.full((3, 4, 4), 200.0), normalization=(MEAN_255, STD_255))
    with pytest.raises(ValueError, match="expected None with a uint8 image"):
        to_batch(picture(), normalization=(MEAN_255, STD_255))
    with pytest.raises(TypeError, match=r"expected \(mean, std\)"):
        to_batch(torch.zeros(3, 4, 4), normalization=0.5)
    for std in ("imagenet", [[1], [2, 3]], None):
        with pytest.raises(TypeError, match="normalization: expected std of three numbers, got"):
            to_batch(torch.zeros(3, 4, 4), normalization=(MEAN_1, std))


def test_floats_outside_0_1_are_refused_with_advice():
    for image in (torch.full((3, 4, 4), 200.0), torch.full((3, 4, 4), -1.0)):
        with pytest.raises(ValueError, match=r"img: expected floats in 0-1, got .*divide 0-255"):
            to_batch(image)
    rounded = torch.tensor([-1e-6, 1 + 1e-6, 0.5]).view(3, 1, 1)
    assert to_batch(rounded).flatten().tolist() == [0, 255, 127.5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("normalization", [None, (MEAN_255, STD_255)])
def test_one_bad_pixel_is_noticed(value, normalization):
    image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    image[1, 2, 3, 3] = value
    with pytest.raises(ValueError, match="img: expected finite values, got"):
        to_batch(image, normalization=normalization)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((4, 4, 3)), TypeError),
        (np.zeros((4, 4), np.uint8), ValueError),
        (np.zeros((4, 4, 4), np.uint8), ValueError),
        (np.zeros((3, 4, 5), np.uint8), ValueError),
        (np.zeros((0, 4, 3), np.uint8), ValueError),
        (torch.zeros(3, 4, 4, dtype=torch.int64), TypeError),
        (torch.zeros(4, 4, 3), ValueError),
        (torch.zeros(4, 4), ValueError),
        (torch.zeros(0, 3, 4, 4), ValueError),
        (torch.zeros(1, 1, 3, 4, 4), ValueError),
        (torch.zeros(3, 4, 4).to_sparse(), TypeError),
        (torch.zeros(3, 4, 4, device="meta"), TypeError),
        ([[1, 2, 3]], TypeError),
        (None, TypeError),
    ],
)
def test_other_things_are_no_images(image, error):
    with pytest.raises(error, match=r"^img: expected .*got"):
        to_batch(image)


def test_images_are_not_copied_needlessly_and_never_written():
    tensor = torch.zeros(3, 4, 6, dtype=torch.uint8)
    assert to_batch(tensor).data_ptr() == tensor.data_ptr()
    array = picture()
    assert np.shares_memory(to_batch(array).numpy(), array)
    array.flags.writeable = False
    flipped = picture()[:, ::-1]
    assert torch.equal(to_batch(array).flip(-1), to_batch(flipped))
    assert not to_batch(torch.zeros(3, 2, 2, requires_grad=True)).requires_grad


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_labels_come_back_as_they_were(dtype, shape, kind):
    label = kind(np.random.default_rng(0).integers(0, 2, shape).astype(dtype))
    batch = labels_to_batch(label)
    assert batch.dtype == torch.int64
    assert batch.shape == (shape[0] if len(shape) == 3 else 1, *shape[-2:])
    back = restore(batch, like=label)
    assert type(back) is type(label)
    assert back.dtype == label.dtype
    assert back.shape == label.shape
    assert (back == label).all()
    back[...] = 1 - back[...] if dtype != "bool" else ~back
    assert (back != label).all(), "the result must not share memory with the input"


def test_labels_of_odd_memory_layout():
    label = np.arange(12, dtype=np.int64).reshape(3, 4)
    for view in (label[::-1], label[:, ::-1], label.T, label.astype(">i4")):
        assert np.array_equal(labels_to_batch(view)[0].numpy(), view)
    label.flags.writeable = False
    assert np.array_equal(labels_to_batch(label)[0].numpy(), label)
    ignored = np.full((2, 2), -1, np.int16)
    assert restore(labels_to_batch(ignored), like=ignored).tolist() == [[-1, -1], [-1, -1]]


def test_restore_refuses_another_size():
    for like in (np.zeros((2, 3), np.uint8), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match=r"as many pixels as \(2, 3\), got \(1, 2, 2\)"):
            restore(torch.zeros(1, 2, 2, dtype=torch.int64), like=like)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_masks(kind):
    like = torch.zeros(1, 2, 2, dtype=torch.int64)
    values = np.array([[0, 1], [1, 0]])
    for dtype in ("bool", "uint8", "int64"):
        for shape in ((2, 2), (1, 2, 2), (1, 1, 2, 2)):
            mask = mask_to_batch("valid", kind(values.astype(dtype).reshape(shape)), like)
            assert mask.dtype == torch.bool
            assert mask.tolist() == [[[False, True], [True, False]]]
    with pytest.raises(ValueError, match=r"valid: expected only 0 and 1, got 0 to 255"):
        mask_to_batch("valid", kind(values * 255), like)
    with pytest.raises(TypeError, match="valid: expected bool or 0 and 1"):
        mask_to_batch("valid", kind(values * 1.0), like)
    for shape in ((4,), (1, 4), (2, 2, 1), (2, 1, 2, 2)):
        with pytest.raises(ValueError, match=r"valid: expected shape \(2, 2\) as the labels have"):
            mask_to_batch("valid", kind(np.zeros(shape, bool)), like)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_confidences(kind, dtype):
    like = torch.zeros(2, 1, 2, dtype=torch.int64)
    values = np.array([[[0, 0.5]], [[1, 0.25]]], dtype)
    batch = confidence_to_batch("confidence", kind(values), like)
    assert batch.dtype == torch.float32
    assert batch.tolist() == values.tolist()
    with pytest.raises(ValueError, match=r"confidence: expected shape \(2, 1, 2\)"):
        confidence_to_batch("confidence", kind(values[0]), like)
    for wrong in (-0.5, 1.5):
        with pytest.raises(ValueError, match="confidence: expected values in 0-1"):
            confidence_to_batch("confidence", kind(values + np.array(wrong, dtype)), like)
    values[1, 0, 1] = np.nan
    with pytest.raises(ValueError, match="confidence: expected finite values"):
        confidence_to_batch("confidence", kind(values), like)
    with pytest.raises(TypeError, match="confidence: expected floating point in 0-1, got int64"):
        confidence_to_batch("confidence", kind(np.zeros((2, 1, 2), np.int64)), like)


@pytest.mark.parametrize("dtype", [">f4", np.longdouble])
def test_confidence_in_a_dtype_that_torch_does_not_know(dtype):
    values = np.array([[0.25, 0.5]], dtype)
    batch = confidence_to_batch("confidence", values, torch.zeros(1, 1, 2, dtype=torch.int64))
    assert batch.tolist() == [[[0.25, 0.5]]]


def test_confidence_is_clamped_after_rounding_only():
    like = torch.zeros(1, 1, 2, dtype=torch.int64)
    batch = confidence_to_batch("confidence", torch.tensor([[1 + 1e-6, -1e-6]]), like)
    assert batch.tolist() == [[[1, 0]]]


def test_pairs():
    check_pair(picture(), np.zeros((5, 7), np.uint8))
    check_pair(torch.zeros(3, 5, 7), torch.zeros(5, 7))
    check_pair(torch.zeros(2, 3, 5, 7), torch.zeros(2, 5, 7))
    with pytest.raises(TypeError, match="pl: expected the same kind of array as img"):
        check_pair(picture(), torch.zeros(5, 7))
    with pytest.raises(TypeError, match="img: expected a numpy array or a torch tensor, got str"):
        check_pair("street.png", torch.zeros(5, 7))
    for image, label in (
        (torch.zeros(3, 5, 7), torch.zeros(1, 5, 7)),
        (torch.zeros(2, 3, 5, 7), torch.zeros(5, 7)),
        (torch.zeros(2, 3, 5, 7), torch.zeros(3, 5, 7)),
        (picture(), np.zeros((7, 5))),
    ):
        with pytest.raises(ValueError, match=r"pl: expected shape .* as img has"):
            check_pair(image, label)


@given(
    shape=st.lists(st.integers(0, 4), max_size=5).map(tuple),
    dtype=st.sampled_from(["bool", "uint8", "int8", "int64", "float16", "float32", "complex64"]),
    fill=st.sampled_from([0, 1, -1, 200, float("nan")]),
    tensor=st.booleans(),
)
def test_any_array_is_taken_or_refused_by_name(shape, dtype, fill, tensor):
    with np.errstate(invalid="ignore"):
        array = np.full(shape, 0, dtype)
        if not (np.isnan(fill) and array.dtype.kind not in "fc") and not (
            array.dtype.kind == "u" and fill < 0
        ):
            array[...] = np.array(fill).astype(dtype)
    value = torch.from_numpy(array) if tensor else array
    for function, name in ((to_batch, "img"), (labels_to_batch, "pl")):
        message, batch = "", None
        try:
            batch = function(value)
        except (TypeError, ValueError) as error:
            message = str(error)
        if batch is None:
            assert message.startswith(f"{name}: expected")
        else:
            assert batch.ndim == (4 if name == "img" else 3)
