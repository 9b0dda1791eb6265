"""The bundled segmenter: good on what it was trained on, plausibly wrong on the other domain."""

from __future__ import annotations

import random
from importlib.resources import files

import numpy as np
import pytest
import torch

from seco.demo import STREETS
from seco.demo.scenes import Domain, street_scene
from seco.demo.segmenter import WEIGHTS, StreetSegmenter, load_segmenter, predict

SEEDS = range(90_150, 90_158)  # of DEV_SEEDS


@pytest.fixture(scope="module")
def segmenter() -> StreetSegmenter:
    return load_segmenter()


def test_small_and_frozen(segmenter: StreetSegmenter) -> None:
    assert (files("seco.demo") / "weights" / WEIGHTS).stat().st_size <= 2e6
    assert sum(p.numel() for p in segmenter.parameters()) < 900_000
    assert not segmenter.training
    assert not any(p.requires_grad for p in segmenter.parameters())
    assert {p.dtype for p in segmenter.parameters()} == {torch.float32}


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 200)])
def test_any_size(segmenter: StreetSegmenter, size: tuple[int, int]) -> None:
    assert segmenter(torch.rand(2, 3, *size)).shape == (2, STREETS.num_classes, *size)


def _score(
    segmenter: StreetSegmenter,
    domain: Domain,
    seeds: range = SEEDS,
    size: tuple[int, int] = (256, 512),
) -> tuple[float, float, float]:
    """mIoU, and the mean confidence where right and where wrong."""
    count = STREETS.num_classes
    confusion, right, wrong = np.zeros((count, count)), [], []
    for seed in seeds:
        scene = street_scene(seed, size=size, domain=domain)
        labels, confidence = predict(segmenter, scene.image[None])
        np.add.at(confusion, (scene.label.ravel(), labels.ravel()), 1)
        good = labels[0] == scene.label
        right.append(confidence[0][good].mean())
        wrong.append(confidence[0][~good].mean())
    hit = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hit
    iou = hit[union > 0] / union[union > 0]
    return float(iou.mean()), float(np.mean(right)), float(np.mean(wrong))


def test_the_domain_gap(segmenter: StreetSegmenter) -> None:
    game, *_ = _score(segmenter, "game")
    camera, right, wrong = _score(segmenter, "camera")
    assert game > 0.7
    assert 0.35 < camera < 0.72
    assert camera < game - 0.1
    assert wrong < right - 0.1


def test_large_images(segmenter: StreetSegmenter) -> None:
    game, *_ = _score(segmenter, "game", SEEDS[:2], (512, 1024))
    assert game > 0.6


def test_tall_images_are_seen_at_two_sizes(segmenter: StreetSegmenter) -> None:
    seen = []

    def spy(image: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(image.shape[-2:]))
        return segmenter(image)

    spying = torch.nn.Module().eval()
    spying.forward = spy
    predict(spying, np.zeros((1, 384, 40, 3), np.uint8))
    labels, _ = predict(spying, np.zeros((1, 1024, 64, 3), np.uint8))
    assert labels.shape == (1, 1024, 64)
    assert seen == [(384, 40), (256, 32), (512, 32)]


def test_arrays_and_tensors_agree(segmenter: StreetSegmenter) -> None:
    images = np.stack([street_scene(s, size=(64, 128)).image for s in range(3)])
    labels, confidence = predict(segmenter, images)
    assert labels.dtype == np.uint8
    assert confidence.dtype == np.float32
    assert labels.shape == confidence.shape == (3, 64, 128)
    assert 0 < confidence.min() <= confidence.max() <= 1
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    labels2, confidence2 = predict(segmenter, tensor)
    assert labels2.dtype == torch.int64
    assert np.array_equal(labels, labels2.numpy())
    assert np.array_equal(confidence, confidence2.numpy())
    for k, image in enumerate(images):
        one, sure = predict(segmenter, [image])
        assert np.array_equal(one[0], labels[k])
        assert np.array_equal(sure[0], confidence[k])


def test_global_random_state_is_untouched() -> None:
    def state() -> tuple[object, ...]:
        kind, keys, *rest = np.random.get_state()
        return random.getstate(), kind, keys.tobytes(), rest, torch.get_rng_state().tolist()

    before = state()
    predict(load_segmenter(), np.zeros((1, 32, 32, 3), np.uint8))
    assert state() == before


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 32, 32, 3)), TypeError, "images: expected a uint8 array.*float64"),
        (np.zeros((32, 32, 3), np.uint8), ValueError, r"images: .*\(B, H, W, 3\).*\(32, 32, 3\)"),
        (np.zeros((1, 3, 32, 32), np.uint8), ValueError, r"images: .*\(1, 3, 32, 32\)"),
        ("photo.png", TypeError, "images: .*str"),
        (["photo.png"], TypeError, "images: expected uint8 arrays in a list, got str 'photo.png'"),
        ([torch.zeros(32, 32, 3)], TypeError, "images: expected uint8 arrays in a list, got Ten"),
        ([np.zeros((32, 32, 3))], TypeError, "images: expected a uint8 array.*float64"),
        ([], ValueError, "images: expected at least one image .*got no image"),
        (
            [np.zeros((32, 40, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)],
            ValueError,
            r"images: .*all of one size, got \(32, 32, 3\) and \(32, 40, 3\)",
        ),
        (np.zeros((0, 32, 32, 3), np.uint8), ValueError, r"images: .*empty side.*\(0, 32, 32, 3\)"),
        (np.zeros((1, 0, 32, 3), np.uint8), ValueError, r"images: .*empty side.*\(1, 0, 32, 3\)"),
        (torch.zeros(0, 3, 32, 32), ValueError, r"images: .*empty side.*\(0, 3, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), TypeError, "images: .*torch.uint8"),
        (torch.zeros(1, 32, 32, 3), ValueError, r"images: .*\(B, 3, H, W\).*\(1, 32, 32, 3\)"),
        (torch.full((1, 3, 32, 32), 255.0), ValueError, r"images: .*\[0, 1\].*255"),
        (torch.full((1, 3, 32, 32), torch.nan), ValueError, r"images: .*\[0, 1\].*nan"),
    ],
)
def test_bad_images(
    segmenter: StreetSegmenter, images: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        predict(segmenter, images)


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="segmenter: expected evaluation mode"):
        predict(StreetSegmenter(), torch.zeros(1, 3, 32, 32))
