"""Label guidance against a loop over classes, finite differences and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import sgg.guidance
from sgg.guidance import global_gradient, local_gradient


def network(seed: int = 0, classes: int = 5, stride: int = 1):
    """A smooth segmenter in float64 that sees neighbours."""
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(8, 3, 3, 3, generator=rng, dtype=torch.float64) / 3
    last = torch.randn(classes, 8, 3, 3, generator=rng, dtype=torch.float64)

    def segment(images):
        hidden = torch.tanh(F.conv2d(images, first, padding=1, stride=stride))
        return F.conv2d(hidden, last, padding=1)

    return segment


def sample(seed: int, count: int = 2, size: tuple[int, int] = (5, 7), classes: int = 5):
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, *size, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, classes, (count, *size), generator=rng)
    labels[torch.rand(labels.shape, generator=rng) < 0.2] = 255
    return images, labels


def local_loss(images, labels, segment, reduction, weights, ignore):
    """The losses of all regions, one class of one image at a time."""
    total = images.new_zeros(())
    for image, label in zip(images, labels, strict=True):
        for c in set(label[label != ignore].tolist()):
            region = label == c
            logits = segment((image * region)[None])
            logits = F.interpolate(logits, region.shape, mode="bilinear")
            loss = -logits.log_softmax(1)[0, c][region]
            total = total + weights[c] * (loss.sum() if reduction == "sum" else loss.mean())
    return total


def global_loss(images, labels, segment, reduction, weights, ignore):
    total = images.new_zeros(())
    for image, label in zip(images, labels, strict=True):
        logits = F.interpolate(segment(image[None]), label.shape, mode="bilinear")
        counted = label != ignore
        scores = logits.log_softmax(1)[0].permute(1, 2, 0)[counted]
        ids = label[counted]
        loss = -scores[torch.arange(len(ids)), ids] * weights[ids]
        if len(loss):
            total = total + (loss.sum() if reduction == "sum" else loss.mean())
    return total


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    which=st.sampled_from(["local", "global"]),
    reduction=st.sampled_from(["sum", "mean"]),
    stride=st.sampled_from([1, 2]),
    max_copies=st.sampled_from([1, 3, 100]),
    ignore=st.sampled_from([255, -1, 250]),
    weighted=st.booleans(),
)
def test_equals_a_loop_over_images_and_classes(
    seed, which, reduction, stride, max_copies, ignore, weighted
):
    images, labels = sample(seed)
    labels[labels == 255] = ignore
    weights = torch.linspace(0.5, 2, 5).double() if weighted else torch.ones(5).double()
    segment = network(seed, stride=stride)
    seen = images.clone().requires_grad_(True)
    loss = {"local": local_loss, "global": global_loss}[which](
        seen, labels, segment, reduction, weights, ignore
    )
    (expected,) = torch.autograd.grad(loss, seen)
    expected = expected * (labels != ignore)[:, None]  # ignored pixels: an unguided step
    function = {"local": local_gradient, "global": global_gradient}[which]
    found = function(
        images,
        labels,
        segment,
        ignore_index=ignore,
        reduction=reduction,
        class_weights=weights.tolist() if weighted else None,
        max_copies=max_copies,
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("which", ["local", "global"])
def test_finite_differences(which):
    images, labels = sample(3, count=1, size=(4, 4))
    labels[0, 0, 0] = 255
    segment, ones = network(3), torch.ones(5).double()
    loss = {"local": local_loss, "global": global_loss}[which]
    found = {"local": local_gradient, "global": global_gradient}[which](images, labels, segment)
    step = 1e-5
    for index in range(images.numel()):
        shift = torch.zeros_like(images).flatten()
        shift[index] = step
        shift = shift.reshape(images.shape)
        up, down = (
            loss(images + sign * shift, labels, segment, "sum", ones, 255) for sign in (1, -1)
        )
        slope = (up - down) / (2 * step)
        guided = labels.expand(3, 4, 4).flatten()[index] != 255
        assert math.isclose(found.flatten()[index], slope * guided, abs_tol=1e-7)


@pytest.mark.parametrize("function", [local_gradient, global_gradient])
def test_linear_segmenter_has_a_closed_form(function):
    images, labels = sample(5)
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(5)).double()
    found = function(images, labels, lambda x: torch.einsum("kc,bchw->bkhw", weight, x))
    probabilities = torch.einsum("kc,bchw->bkhw", weight, images).softmax(1)
    target = F.one_hot(labels.clamp(max=4), 5).permute(0, 3, 1, 2)
    expected = torch.einsum("kc,bkhw->bchw", weight, probabilities - target)
    torch.testing.assert_close(found, expected * (labels != 255)[:, None])


def test_a_region_is_guided_as_if_it_were_alone():
    images, labels = sample(7)
    found = local_gradient(images, labels, network())
    outside = labels != 2
    changed = torch.where(outside[:, None], torch.randn_like(images), images)
    relabelled = torch.where(outside, 255, labels)
    alone = local_gradient(changed, relabelled, network())
    torch.testing.assert_close(alone, torch.where(outside[:, None], 0, found))
    assert not torch.allclose(found, global_gradient(images, labels, network()))


def test_chunks_bound_the_batch():
    images, labels = sample(0)
    sizes = []

    def segment(x):
        sizes.append(len(x))
        return network()(x)

    local_gradient(images, labels, segment, max_copies=4)
    assert sizes == [4, 4, 2]  # five classes in each of two images


@settings(max_examples=25)
@given(
    present=st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=5),
    max_copies=st.integers(1, 9),
)
def test_images_with_few_classes_and_with_many_fill_chunks_together(present, max_copies):
    labels = torch.full((len(present), 5, 7), 255)
    for label, ids in zip(labels, present, strict=True):
        for row, kind in enumerate(ids):
            label[row, 1:] = kind
    images = sample(0, count=len(present))[0]
    sizes = {"local": [], "global": []}
    for function, kind in ((local_gradient, "local"), (global_gradient, "global")):

        def segment(x, kind=kind):
            sizes[kind].append(len(x))
            return network()(x)

        function(images, labels, segment, max_copies=max_copies)
    copies = {"local": sum(map(len, present)), "global": sum(map(bool, present))}
    for kind, total in copies.items():
        assert len(sizes[kind]) == math.ceil(total / max_copies)
        assert sum(sizes[kind]) == total
        assert all(size == max_copies for size in sizes[kind][:-1])


def test_a_cpu_sees_fewer_large_copies_at_once(monkeypatch):
    images, _ = sample(0, count=1)
    labels = (torch.arange(5)[:, None] + torch.zeros(7, dtype=torch.int64))[None]
    expected = local_gradient(images, labels, network(), max_copies=1)
    for pixels, sizes in ((80, [2, 2, 1]), (120, [2, 2, 1]), (34, [1] * 5), (10**6, [4, 1])):
        monkeypatch.setattr(sgg.guidance, "PIXELS_ON_A_CPU", pixels)
        seen = []

        def segment(x, seen=seen):
            seen.append(len(x))
            return network()(x)

        found = local_gradient(images, labels, segment, max_copies=4)
        assert seen == sizes
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def seeing_3_pixels_far(seed: int, stride: int = 1):
    """Logits enlarged to the image depend on 2 * stride + 1 pixels around, at most 9."""
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(6, 3, 3, 3, generator=rng, dtype=torch.float64) / 3
    last = torch.randn(5, 6, 3, 3, generator=rng, dtype=torch.float64)
    return lambda images: F.conv2d(
        torch.tanh(F.conv2d(images, first, padding=1, stride=stride)), last, padding=1
    )


def blobs(seed: int, size: tuple[int, int]):
    """Boxes of four classes anywhere, one of them often at the image's edge, one in two parts."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, *size, generator=rng, dtype=torch.float64)
    labels = torch.full((2, *size), 4)
    labels[torch.rand(labels.shape, generator=rng) < 0.1] = 255
    for label in labels:
        for kind in (0, 1, 2, 3, 3):
            y, x = (int(torch.randint(-8, side, (), generator=rng)) for side in size)
            label[max(0, y) : y + 12, max(0, x) : x + 20] = kind
    return images, labels


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([(96, 160), (128, 64), (64, 256)]),
    stride=st.sampled_from([1, 2, 4]),
    max_copies=st.sampled_from([1, 8]),
    reduction=st.sampled_from(["sum", "mean"]),
)
def test_crops_with_a_margin_of_the_receptive_field_change_nothing(
    seed, size, stride, max_copies, reduction
):
    images, labels = blobs(seed, size)
    segment = seeing_3_pixels_far(seed, stride)
    seen = images.clone().requires_grad_(True)
    loss = local_loss(seen, labels, segment, reduction, torch.ones(5).double(), 255)
    (expected,) = torch.autograd.grad(loss, seen)
    options = {"reduction": reduction, "max_copies": max_copies, "crop_margin": 4 * stride}
    found = local_gradient(images, labels, segment, **options)
    torch.testing.assert_close(found, expected * (labels != 255)[:, None], rtol=0, atol=1e-10)


def test_crops_save_and_stay_within_the_memory_bound():
    images, labels = blobs(1, (128, 256))
    labels[:, 100:] = 4
    pixels = {}
    for margin in (None, 4):
        batches = []

        def segment(x, batches=batches):
            batches.append(x[:, 0].numel())
            return seeing_3_pixels_far(0)(x)

        local_gradient(images, labels, segment, max_copies=3, crop_margin=margin)
        assert max(batches) <= 3 * 128 * 256
        pixels[margin] = batches
    assert sum(pixels[4]) < 0.6 * sum(pixels[None])
    assert len(pixels[4]) < 10  # regions of one size go together


def test_a_margin_below_the_receptive_field_is_an_approximation():
    images, labels = blobs(2, (96, 160))

    def segment(x):
        return seeing_3_pixels_far(0)(F.avg_pool2d(x, 41, 1, 20))

    exact = local_gradient(images, labels, segment)
    near = local_gradient(images, labels, segment, crop_margin=0)
    assert not torch.allclose(near, exact)
    assert F.cosine_similarity(near.flatten(), exact.flatten(), 0) > 0.9
    alone = local_gradient(images[1:], labels[1:], segment, crop_margin=0)
    torch.testing.assert_close(alone, near[1:])  # not by what else is in the batch


@pytest.mark.parametrize("function", [local_gradient, global_gradient])
def test_means_over_many_pixels_survive_half_precision(function):
    images = torch.full((1, 3, 256, 256), 0.9)
    labels = torch.zeros(1, 256, 256, dtype=torch.int64)
    factors = torch.tensor([7.0, 0.0, 0.0])[:, None, None]

    def segment(x):
        return (x.half() * factors.half()).float()

    found = function(images, labels, segment, reduction="mean")
    exact = function(images, labels, lambda x: x * factors, reduction="mean")
    torch.testing.assert_close(found, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("margin", [-1, 1.5])
def test_bad_margin(margin):
    with pytest.raises((ValueError, TypeError), match="crop_margin: expected an integer"):
        local_gradient(*sample(0), network(), crop_margin=margin)


@pytest.mark.parametrize("function", [local_gradient, global_gradient])
def test_nothing_labelled_is_no_gradient_and_no_call(function):
    images, labels = sample(0)
    assert not function(images, torch.full_like(labels, 255), segment=None).any()


@pytest.mark.parametrize("function", [local_gradient, global_gradient])
def test_works_where_gradients_are_off_and_leaves_parameters_alone(function):
    images, labels = sample(0)
    layer = torch.nn.Conv2d(3, 5, 3, padding=1).double()
    with torch.no_grad():
        gradient = function(images, labels, layer)
    assert gradient.abs().sum() > 0
    assert not gradient.requires_grad
    assert layer.weight.grad is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.zeros(2, 5, 7, 3)}, ValueError, r"images: expected shape \(B, 3, H, W\)"),
        ({"images": torch.zeros(2, 3, 5, 7).byte()}, TypeError, "images: expected a floating"),
        ({"labels": torch.zeros(2, 7, 5).long()}, ValueError, r"labels: expected shape \(2, 5, 7"),
        ({"labels": torch.zeros(2, 5, 7).byte()}, TypeError, "labels: expected an int64"),
        ({"labels": torch.full((2, 5, 7), 5)}, ValueError, r"class ids 0\.\.4.*got 5"),
        ({"labels": torch.full((2, 5, 7), -1)}, ValueError, r"class ids 0\.\.4.*got -1"),
        ({"reduction": "none"}, ValueError, "reduction: expected one of 'sum', 'mean'"),
        ({"max_copies": 0}, ValueError, "max_copies: expected an integer >= 1"),
        ({"class_weights": [1.0, 2.0]}, ValueError, "class_weights: expected 5 numbers"),
        ({"segment": lambda x: x[0]}, ValueError, "segment: expected logits of shape"),
        ({"segment": lambda x: None}, TypeError, "segment: expected floating point logits"),
        ({"segment": lambda x: x.detach()}, ValueError, "segment: .*differentiable"),
    ],
)
@pytest.mark.parametrize("function", [local_gradient, global_gradient])
def test_bad_input(function, change, error, message):
    images, labels = sample(0)
    arguments = {"images": images, "labels": labels, "segment": network()} | change
    with pytest.raises(error, match=message):
        function(**arguments)


def test_a_segmenter_that_leaves_autocast_has_its_own_gradient_there():
    images, labels = sample(0)
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    def segment(x):
        with torch.autocast("cpu", enabled=False):
            return (x.permute(0, 2, 3, 1) @ weight).permute(0, 3, 1, 2)

    expected = global_gradient(images.float(), labels % 4, segment)
    with torch.autocast("cpu", torch.bfloat16):
        found = global_gradient(images.float(), labels % 4, segment)
    assert torch.equal(found, expected)
