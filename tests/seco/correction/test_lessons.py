"""Features of a frozen extractor are kept, and keeping them changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from patches import SPACE, Colour, patches

from seco import ConnectivityCorrector, ModuleExtractor, SCCSettings, load_sam
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.lessons import Lessons
from seco.correction.samples import read_scene
from seco.correction.stream import SampleStream

QUICK = SCCSettings(iterations=20, batch_size=32, per_image=8, learning_rate=0.05)
DATA = [patches(seed, wrong=0.2)[:2] for seed in range(5)]
ONE = 24 * 6 * 4  # bytes of features of one image: 24 patches, 6 channels


def fit(encoder, *, settings=QUICK, data=DATA, **options):
    return ConnectivityCorrector(SPACE, encoder, settings=settings).fit(data, **options)


def lessons_of(extractor, *, memory=2**20, settings=QUICK):
    classifier = ConnectivityClassifier(extractor, 3)
    stream = SampleStream(DATA, SPACE, settings)
    return Lessons(classifier, stream, settings.min_area, memory), classifier


def same(one, other):
    weights = [corrector._fitted[0].state()["head.weight"] for corrector in (one, other)]
    return torch.equal(*weights) and torch.equal(one.record.losses, other.record.losses)


def test_too_little_memory_is_told_once():
    with pytest.warns(UserWarning, match="hold the features of 3 images") as told:
        fit(Colour(), feature_memory=3 * ONE + 5)
    assert len(told) == 1


@pytest.mark.filterwarnings("ignore:feature_memory")
@pytest.mark.parametrize("memory", [3 * ONE + 5, 2**30])
def test_what_is_kept_changes_no_bit(memory):
    assert same(fit(Colour(), feature_memory=0), fit(Colour(), feature_memory=memory))


def test_of_a_sam_neither():
    few = {"settings": replace(QUICK, iterations=4, batch_size=8), "data": DATA[:2]}
    assert same(fit(load_sam("tiny"), feature_memory=0, **few), fit(load_sam("tiny"), **few))


@pytest.mark.filterwarnings("ignore:feature_memory")
@pytest.mark.parametrize(
    ("memory", "flip", "most"),
    [(2**30, True, 10), (2**30, False, 5), (3 * ONE + 5, False, 3 + 2 * 20), (0, True, 200)],
)
def test_how_often_an_image_passes_the_extractor(memory, flip, most):
    module = Colour()
    settings = replace(QUICK, flip=flip)
    corrector = ConnectivityCorrector(SPACE, module, settings=settings)
    corrector.fit(DATA, feature_memory=memory)
    # 20 steps of 4 images: 16 rounds of 5, and one for the losses.
    assert module.passes <= most
    assert module.passes == most or (memory < 2**30 and module.passes > 10)


def test_a_trained_extractor_is_never_remembered():
    module = Colour()
    extractor = ModuleExtractor(module, trained=True)
    lessons, _ = lessons_of(extractor)
    first = lessons.features(lessons[0], torch.tensor([0, 2]))
    assert first.requires_grad
    with torch.no_grad():
        extractor.trained.mix.weight *= 1.5
    assert not torch.equal(lessons.features(lessons[0], torch.tensor([0, 2])), first)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_features_are_those_of_the_chosen_connectivities(trained, mirrored):
    settings = replace(QUICK, min_area=60)
    lessons, classifier = lessons_of(ModuleExtractor(Colour(), trained=trained), settings=settings)
    img, label = DATA[1]
    label = label.copy()
    label[8, 1:8] = label[7, 1:8] = label[9, 1:8]  # one connectivity is larger than the others
    lessons._stream._samples = [DATA[0], (img, label)]
    scene = read_scene(img, label, SPACE, settings)
    large = (scene.areas >= 60).nonzero()[:, 0]
    lesson = lessons[1]
    assert len(large) < len(scene.areas)
    assert torch.equal(lesson.numbers, large)
    assert torch.equal(lesson.areas, scene.areas[large])
    assert torch.equal(lesson.classes, scene.connectivities.classes[large])
    if mirrored:
        scene = scene.flipped()
    ids = scene.connectivities.ids
    for _ in range(2):
        found = lessons.features(lesson, torch.tensor([0]), mirrored=mirrored)
        (expected,) = classifier.features(scene.image, (ids == int(large[0]) + 1).long(), 1)
        torch.testing.assert_close(found[0], expected)


def test_a_mirrored_image_is_passed_itself():
    """Not the mirror image of the features: this network tells left from right."""
    lessons, _ = lessons_of(Sideways())
    lesson, all_of_it = lessons[0], torch.arange(24)
    plain = lessons.features(lesson, all_of_it)
    mirrored = lessons.features(lesson, all_of_it, mirrored=True)
    assert torch.equal(lessons.features(lesson, all_of_it), plain)
    assert (plain - mirrored).abs().max() > 0.1


class Sideways:
    """Tells in which column of its image something lies."""

    device, trained, learning_rate_factor = torch.device("cpu"), None, 0.0

    def __call__(self, image):
        from seco.correction.protocol import FeatureMap

        columns = torch.arange(image.shape[2]).float().expand(image.shape[1:])
        return [FeatureMap(torch.stack([columns, columns**2, -columns]), tuple(columns.shape))]

    def describe(self):
        return {"kind": "sideways"}
