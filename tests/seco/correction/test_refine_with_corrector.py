"""Aggregation and correction in one call."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from patches import SPACE, Colour, patches

from seco import (
    ConnectivityCorrector,
    LabelSpace,
    NoNoiseFoundWarning,
    PSASettings,
    Regions,
    SCCSettings,
    SegmenterExtractor,
    load_sam,
    refine_pseudo_labels,
    refine_with_details,
)
from seco.common.images import to_batch
from seco.demo import STREETS, street_scene
from seco.sam.tiny import PROPOSALS

# They are fitted to labels as they are, and judge the patches, which are the same.
pytestmark = pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")

QUICK = SCCSettings(
    iterations=60,
    batch_size=32,
    per_image=16,
    learning_rate=0.05,
    tau_cr=0.55,
    noise_adjusted=False,
)


@pytest.fixture(scope="module")
def corrector():
    data = [patches(i, wrong=0.2)[:2] for i in range(12)]
    return ConnectivityCorrector(SPACE, Colour(), settings=QUICK).fit(data)


def case(seed, wrong=0.3):
    """An image, its label with speckle in every patch, the truth, the patches as regions."""
    img, label, truth = patches(seed, wrong=wrong)
    rng = np.random.default_rng(seed)
    speckled = np.where(rng.random(label.shape) < 0.2, rng.integers(0, 3, label.shape), label)
    number = np.kron(np.arange(1, 25).reshape(4, 6), np.ones((8, 8), int))
    number[truth == 255] = 0
    return img, speckled.astype(np.uint8), truth, Regions.from_label_map(torch.from_numpy(number))


def test_both_steps_in_one_call(corrector):
    img, pl, truth, regions = case(40)
    options = {"regions": regions, "label_space": SPACE}
    aggregated = refine_pseudo_labels(img, pl, **options)
    both = refine_pseudo_labels(img, pl, corrector=corrector, **options)
    inside = truth != 255
    shares = [(label == truth)[inside].mean() for label in (pl, aggregated, both)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.95
    assert (both.dtype, both.shape) == (pl.dtype, pl.shape)


def test_the_details_fit_together(corrector):
    img, pl, _, regions = case(41)
    options = {"regions": regions, "label_space": SPACE}
    before = refine_with_details(img, pl, **options)
    after = refine_with_details(img, pl, corrector=corrector, **options)
    assert before.judgements is None
    (judged,) = after.judgements
    assert torch.equal(judged.connectivities.classes, before.connectivities[0].classes)
    direct = corrector.correct_with_details(
        img, before.labels[0].numpy(), connectivities=before.connectivities
    )
    assert torch.equal(direct.labels, after.labels)
    kept = (after.labels == before.labels) & (before.labels != 255)
    eta = torch.cat([torch.zeros(1), judged.noise_probability])[judged.connectivities.ids.long()]
    torch.testing.assert_close(
        after.scores[kept], (before.scores * (1 - eta))[kept], atol=1e-5, rtol=0
    )
    assert (after.scores[after.labels == 255] == 0).all()
    changed = after.labels != before.labels
    assert changed.any()
    left = after.connectivities[0]
    classes = torch.cat([torch.tensor([255]), left.classes])
    inside = left.ids > 0
    assert torch.equal(classes[left.ids.long()][inside], after.labels[0][inside])


@pytest.mark.parametrize(("layers", "windows"), [(0, 0), (1, 4)])
def test_an_image_passes_a_sam_once_that_refines_and_corrects(monkeypatch, layers, windows):
    sam = load_sam("tiny")
    encoder = SegmenterExtractor(sam, crop_n_layers=layers)
    scenes = [street_scene(seed, size=(64, 96)) for seed in range(2)]
    samples = [(scene.image, scene.label) for scene in scenes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        corrector = ConnectivityCorrector(STREETS, encoder, settings=SCCSettings(iterations=2))
        corrector.fit(samples)
    settings = PSASettings(proposals=replace(PROPOSALS, points_per_side=3))
    img, pl, options = *samples[0], {"label_space": STREETS, "settings": settings}
    encoded, real = [], type(sam).encode

    def encode(self, images):
        encoded.append(self)
        return real(self, images)

    monkeypatch.setattr(type(sam), "encode", encode)
    before = refine_with_details(img, pl, sam, **options)
    apart = corrector.correct_batch(
        to_batch(img), before.labels, connectivities=before.connectivities, scores=before.scores
    )
    assert len(encoded) == 2 + windows
    both = refine_with_details(img, pl, sam, corrector=corrector, **options)
    assert len(encoded) == 3 + 2 * windows
    assert torch.equal(both.labels, apart.labels)
    assert torch.equal(both.scores, apart.scores)
    assert torch.equal(both.judgements[0].losses, apart.judgements[0].losses)
    # Another SAM's embedding is not its encoder's.
    refine_with_details(img, pl, load_sam("tiny"), corrector=corrector, **options)
    assert len(encoded) == 5 + 3 * windows
    assert encoded[-1] is sam


def test_what_lies_outside_is_judged_too(corrector):
    img, label, truth = patches(42)
    pl = label.copy()
    pl[1:8, 1:8] = (truth[1, 1] + 1) % 3
    none = Regions.from_masks(torch.zeros(0, *pl.shape, dtype=torch.bool))
    options = {"regions": none, "label_space": SPACE, "outside": "keep"}
    np.testing.assert_array_equal(refine_pseudo_labels(img, pl, **options), pl)
    both = refine_pseudo_labels(img, pl, corrector=corrector, **options)
    np.testing.assert_array_equal(both, label)


def test_invalid_pixels_stay(corrector):
    img, pl, _, regions = case(43)
    valid = np.ones(pl.shape, bool)
    valid[:, 20:] = False
    found = refine_with_details(
        img, pl, regions=regions, label_space=SPACE, valid=valid, corrector=corrector
    )
    np.testing.assert_array_equal(found.labels[0][:, 20:], pl[:, 20:])
    assert (found.scores[0][:, 20:] == 1).all()
    assert not found.connectivities[0].ids[:, 20:].any()


def test_a_batch_equals_single_calls(corrector):
    cases = [case(seed) for seed in range(44, 47)]
    img = torch.from_numpy(np.stack([c[0] for c in cases])).permute(0, 3, 1, 2)
    pl = torch.from_numpy(np.stack([c[1] for c in cases]))
    options = {"label_space": SPACE, "corrector": corrector}
    together = refine_with_details(img, pl, regions=[c[3] for c in cases], **options)
    for index, (image, label, _, regions) in enumerate(cases):
        alone = refine_with_details(image, label, regions=regions, **options)
        assert torch.equal(alone.labels[0], together.labels[index])
        assert torch.equal(alone.scores[0], together.scores[index])


def test_bad_correctors(corrector):
    img, pl, _, regions = case(47)
    options = {"regions": regions, "label_space": SPACE}
    renamed = replace(SPACE, names=("road", "sky", "blue"))
    for change, message in (
        ({"corrector": "scc"}, "corrector: expected a seco.ConnectivityCorrector, got str"),
        ({"corrector": ConnectivityCorrector(SPACE)}, "expected a fitted one"),
        ({"corrector": corrector, "label_space": renamed}, "corrector: expected one for label_sp"),
        (
            {"corrector": corrector, "label_space": LabelSpace(SPACE.names, ignore_index=250)},
            "ignore_index 250, got one .* with ignore_index 255",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            refine_pseudo_labels(img, pl, **(options | change))
    with pytest.raises(ValueError, match="img: expected an image where corrector is given"):
        refine_pseudo_labels(None, pl, corrector=corrector, **options)
