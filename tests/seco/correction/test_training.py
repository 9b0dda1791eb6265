from __future__ import annotations

import json
import random
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from patches import SPACE, Colour, patches
from safetensors.torch import load, save
from torch import nn

from seco.common.processes import ALONE
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.extractors import ModuleExtractor, SmallExtractor
from seco.correction.lessons import Lessons
from seco.correction.pooling import cell_shares, find_runs, pool_features
from seco.correction.samples import Scene, find_connectivities, read_scene
from seco.correction.schedule import choose, count_steps, steps, take_census
from seco.correction.settings import SCCSettings
from seco.correction.stream import SampleStream
from seco.correction.training import train_classifier

QUICK = SCCSettings(iterations=30, batch_size=16, per_image=8, learning_rate=0.05)


def samples(count=4, **options):
    return [patches(seed, **options)[:2] for seed in range(count)]


def train(data, settings=QUICK, *, module=None, trained=False, memory=2**30, **options):
    extractor = ModuleExtractor(Colour() if module is None else module, trained=trained)
    classifier = ConnectivityClassifier(extractor, 3)
    return classifier, learn(classifier, data, settings, memory=memory, **options)


def learn(classifier, data, settings, *, seed=0, memory=2**30, **options):
    stream = SampleStream(data, SPACE, settings)
    lessons = Lessons(classifier, stream, settings.min_area, memory)
    return train_classifier(
        classifier, lessons, stream, settings, seed=seed, processes=ALONE, **options
    )


def predictions(classifier, data):
    found = []
    for img, label in data:
        scene = read_scene(img, label, SPACE, QUICK)
        item = scene.connectivities
        with torch.no_grad():
            found.append((classifier(scene.image, item.ids, len(item)), item.classes))
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def same(one, other):
    return all(torch.equal(v, other.state()[name]) for name, v in one.state().items())


@pytest.mark.parametrize("trained", [False, True])
def test_it_learns_the_classes(trained):
    data = samples()
    classifier, steps = train(data, trained=trained)
    assert steps == 30
    logits, classes = predictions(classifier, data)
    assert len(classes) > 80
    assert (logits.argmax(1) == classes).float().mean() > 0.97


def test_the_default_network_learns_the_classes():
    settings = replace(QUICK, iterations=25, learning_rate=3e-3)
    classifier = ConnectivityClassifier(SmallExtractor(seed=0), 3)
    data = samples(3)
    learn(classifier, data, settings)
    logits, classes = predictions(classifier, data)
    assert (logits.argmax(1) == classes).float().mean() > 0.9


def test_one_pass_serves_all_regions_and_each_is_judged_alone():
    module = Colour()
    classifier, _ = train(samples(), module=module)
    scene = read_scene(*samples(1)[0], SPACE, QUICK)
    ids, count = scene.connectivities.ids, len(scene.connectivities)
    before = module.passes
    together = classifier(scene.image, ids, count)
    assert module.passes == before + 1
    for number in (1, count // 2, count):
        alone = classifier(scene.image, (ids == number).long(), 1)
        torch.testing.assert_close(alone[0], together[number - 1])


def test_a_step_is_adamw_on_the_cross_entropy_of_pooled_features():
    img, label, _ = patches(0)
    scene = read_scene(img, label, SPACE, QUICK)
    item, count = scene.connectivities, len(scene.connectivities)
    settings = replace(
        QUICK, iterations=1, batch_size=2 * count, per_image=count, flip=False, label_smoothing=0.1
    )
    classifier, _ = train([(img, label)], settings, trained=True)

    module = Colour().requires_grad_(True)
    head = nn.utils.skip_init(nn.Linear, 6, 3)
    for parameter in head.parameters():
        nn.init.constant_(parameter, 0.0)
    optimizer = torch.optim.AdamW(
        [{"params": head.parameters()}, {"params": module.parameters(), "lr": 0.005}],
        lr=0.05, weight_decay=settings.weight_decay,
    )  # fmt: skip
    mean, std = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])[..., None, None]
    features = module(((torch.from_numpy(img).permute(2, 0, 1) - mean) / std)[None])[0]
    pooled = F.layer_norm(
        pool_features(features, cell_shares(find_runs(item.ids, count), (16, 24))), (6,)
    )
    F.cross_entropy(head(pooled), item.classes, label_smoothing=0.1).backward()
    optimizer.step()
    torch.testing.assert_close(classifier.state()["head.weight"], head.weight.detach())
    torch.testing.assert_close(
        classifier.state()["extractor.mix.weight"], module.mix.weight.detach()
    )


def test_nothing_depends_on_or_touches_global_random_state():
    data = samples()
    kept = [tuple(part.copy() for part in pair) for pair in data]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first, _ = train(data, trained=True)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    again = ConnectivityClassifier(ModuleExtractor(Colour(), trained=True), 3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        learn(again, data, QUICK)
    assert same(first, again)
    assert not same(first, train(data, trained=True, seed=1)[0])
    for pair, before in zip(data, kept, strict=True):
        for part, was in zip(pair, before, strict=True):
            np.testing.assert_array_equal(part, was)


class Failing(list):
    """Raises at the n-th reading, once."""

    def __init__(self, items, fail_at):
        super().__init__(items)
        self.left = fail_at

    def __getitem__(self, index):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__getitem__(index)


@pytest.mark.parametrize("fail_at", [2, 20, 50])
@pytest.mark.parametrize("trained", [False, True])
def test_resumed_training_equals_an_undisturbed_one(tmp_path, fail_at, trained):
    whole, _ = train(samples(), trained=trained)
    path = tmp_path / "training.safetensors"
    # Without memory for features, a sample is read at every visit: two a step.
    options = {"trained": trained, "checkpoint": path, "checkpoint_every": 4, "memory": 0}
    with pytest.raises(KeyboardInterrupt):
        train(Failing(samples(), fail_at), **options)
    assert path.exists() == (fail_at > 9)
    data = Failing(samples(), 10**9)
    resumed, steps = train(data, **options)
    assert steps == 30
    assert same(whole, resumed)
    read = 10**9 - data.left
    # From the start: 4 for the census, 1 to begin with, 60 less those read twice running.
    assert read == {2: 62, 20: 50, 50: 20}[fail_at]
    finished, _ = train(data, **options)
    assert same(whole, finished)


def test_resuming_the_default_network_changes_no_bit(tmp_path):
    path = tmp_path / "training.safetensors"
    settings = replace(QUICK, iterations=6)

    def new():
        return ConnectivityClassifier(SmallExtractor(seed=0), 3)

    whole, resumed = new(), new()
    learn(whole, samples(), settings)
    with pytest.raises(KeyboardInterrupt):
        learn(new(), Failing(samples(), 14), settings, checkpoint=path, checkpoint_every=2)
    learn(resumed, samples(), settings, checkpoint=path)
    assert same(whole, resumed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    train(samples(), checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint: expected the state of this training, got one "
                                         "with other settings, seed"):  # fmt: skip
        train(samples(), replace(QUICK, flip=False), seed=1, checkpoint=path)


def without(prefix):
    """A checkpoint that lacks some tensors, its header as it was."""

    def cut(data):
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        kept = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
        return save(kept, metadata=header)

    return cut


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "expected a seco training state, got"),
        (lambda data: data[:100], "expected a seco training state, got"),
        (lambda data: data[:-1], "expected a seco training state, got"),
        (lambda data: b"\xff" * len(data), "expected a seco training state, got"),
        (without("samples."), "expected a whole seco training state, got"),
        (without("weights."), "state: expected a classifier of 3 classes, got none"),
    ],
)
def test_a_damaged_checkpoint_is_told(tmp_path, damage, message):
    path = tmp_path / "training.safetensors"
    settings = replace(QUICK, iterations=2)
    train(samples(), settings, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        train(samples(), settings, checkpoint=path)


class Streamed:
    """Any iterable: one sample at a time, and a count of those alive."""

    def __init__(self, count):
        self.count, self.alive, self.most = count, 0, 0

    def __iter__(self):
        for seed in range(self.count):
            image, label, _ = patches(seed)
            self.alive += 1
            weakref.finalize(image, self._gone)
            self.most = max(self.most, self.alive)
            yield image, label

    def _gone(self):
        self.alive -= 1


def test_samples_are_streamed():
    data = Streamed(30)
    train(data, replace(QUICK, iterations=None))
    assert data.most <= 3


def brightness(scene):
    return int(scene.image.float().mean() * 1e4)


def test_any_iterable_is_read_by_number():
    expected = [brightness(scene) for scene in stream_of(samples(9))]
    assert len(set(expected)) == 9
    streamed = stream_of(Streamed(9))
    assert [brightness(scene) for scene in streamed] == expected
    assert [brightness(streamed[index]) for index in (0, 4, 5, 5, 2, 8)] == [
        expected[index] for index in (0, 4, 5, 5, 2, 8)
    ]
    assert [(i, brightness(s)) for i, s in streamed.part(1, 3)] == [
        (i, expected[i]) for i in (1, 4, 7)
    ]


def test_only_something_with_positions_is_shuffled():
    census = take_census(stream_of(samples(9)), QUICK, 3, ALONE)
    orders = {}
    for shuffled in (False, True):
        planned = steps(census, QUICK, seed=0, shuffled=shuffled)
        visits = [visit for _ in range(30) for visit in next(planned)]
        assert all(visit.count == 8 for visit in visits)
        orders[shuffled] = [[v.index for v in visits if v.epoch == n] for n in range(3)]
    assert orders[False] == [list(range(9))] * 3
    assert all(sorted(order) == list(range(9)) for order in orders[True])
    assert len({tuple(order) for order in [*orders[True], list(range(9))]}) == 4


def stream_of(data, settings=QUICK):
    return SampleStream(data, SPACE, settings)


class Changing(list):
    """Another label, image or number of samples at the n-th reading."""

    def __init__(self, items, change_at, change):
        super().__init__(items)
        self.left, self.change = change_at, change

    def __getitem__(self, index):
        self.left -= 1
        img, label = super().__getitem__(index)
        if self.left < 0:
            return self.change(img, label)
        return img, label

    def __iter__(self):  # else list's own would be used
        return (self[index] for index in range(len(self)))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda img, label: (img, np.roll(label, 1, axis=1) * 0 + label.max()),
        lambda img, label: (img[:, ::-1].copy(), label[:, ::-1].copy()),
        lambda img, label: (255 - img, label),
        lambda img, label: (img[:-8], label[:-8]),
    ],
)
def test_samples_that_change_are_told(change, stored):
    data = Changing(samples(), 10, change)
    if not stored:
        data = type("Iterable", (), {"__iter__": lambda _, data=data: iter(data)})()
    with pytest.raises(ValueError, match=r"samples\[\d\]: expected the same image and label"):
        train(data, trained=True)


def test_samples_that_change_between_runs_are_told(tmp_path):
    path = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(Failing(samples(), 40), trained=True, checkpoint=path, checkpoint_every=4)
    with pytest.raises(ValueError, match=r"samples\[\d\]: expected the same image and label"):
        train([(255 - img, label) for img, label in samples()], trained=True, checkpoint=path)
    with pytest.raises(ValueError, match=r"samples: expected 4, as when the .* began, got 5"):
        train(samples(5), trained=True, checkpoint=path)


class Shrinking:
    """An iterable that ends earlier at its second pass."""

    def __init__(self):
        self.count = 5

    def __iter__(self):
        self.count -= 1
        return iter(samples(self.count))


def test_samples_that_vanish_are_told():
    with pytest.raises(ValueError, match="samples: expected as many at every reading, got none"):
        train(Shrinking(), trained=True)


class Broken(list):
    def __getitem__(self, index):
        raise IndexError("a bug within")


def test_an_index_error_within_a_dataset_is_not_its_end():
    with pytest.raises(IndexError, match="a bug within"):
        train(Broken(samples()))


class Endless:
    """A map-style Dataset as many are: a length, and no IndexError at its end."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return patches(index)[:2]


def test_a_dataset_without_index_error():
    assert len(list(stream_of(Endless()))) == 3
    train(Endless())


@pytest.mark.parametrize(("count", "expected"), [(4, 100), (120, 180)])
def test_the_number_of_steps_fits_the_set(count, expected):
    settings = SCCSettings(batch_size=64)
    census = take_census(stream_of(samples(count)), settings, 3, ALONE)
    regions = sum(len(s.connectivities) for s in stream_of(samples(count)))
    assert int(census.counts.sum()) == int(census.classes.sum()) == regions
    assert count_steps(census, settings) == max(100, -(-4 * regions // 64)) == expected
    assert count_steps(census, QUICK) == 30


def test_a_step_takes_a_batch_and_not_too_many_of_one_image():
    image, label, _ = patches(0)
    label[16:] = 255  # 12 patches are left
    data = [(image, label), *samples(2), (image, label * 0 + 255)]
    census = take_census(stream_of(data), QUICK, 3, ALONE)
    assert census.counts.tolist() == [12, 24, 24, 0]
    settings = replace(QUICK, batch_size=30, per_image=16)
    planned = steps(census, settings, seed=0, shuffled=False)
    found = [[(v.epoch, v.position, v.index, v.count) for v in next(planned)] for _ in range(3)]
    assert found == [
        [(0, 0, 0, 12), (0, 1, 1, 16), (0, 2, 2, 2)],
        [(1, 0, 0, 12), (1, 1, 1, 16), (1, 2, 2, 2)],
        [(2, 0, 0, 12), (2, 1, 1, 16), (2, 2, 2, 2)],
    ]


def test_a_draw_prefers_what_weighs_more():
    alike = torch.ones(64)
    weights = alike.clone()
    weights[10] = 63.0  # as much as the others together
    shares = []
    for given in (alike, weights):
        draws = [choose(given, 4, np.random.default_rng(seed)) for seed in range(200)]
        assert all(len(set(draw.tolist())) == 4 for draw in draws)
        shares.append(np.mean([10 in draw for draw in draws]))
    assert 0.02 < shares[0] < 0.12  # 4 of 64
    assert shares[1] > 0.8


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_connectivities_are_drawn_by_area_and_by_the_number_of_their_class_in_the_set(
    power, balanced, monkeypatch
):
    import seco.correction.training as module

    given = []

    def watched(weights, count, rng):
        given.append(weights)
        return choose(weights, count, rng)

    monkeypatch.setattr(module, "choose", watched)
    image, label, _ = patches(0)
    label[:16] = 2  # one region that is larger than the others
    scenes = list(stream_of([(image, label)]))
    train(
        [(image, label)],
        replace(QUICK, class_balanced=balanced, area_sampling=power, iterations=1),
    )
    classes, areas = scenes[0].connectivities.classes, scenes[0].areas
    wanted = areas.double() ** power
    if balanced:
        wanted = wanted / torch.bincount(classes)[classes]
    assert len(set(areas.tolist())) > 1
    torch.testing.assert_close(given[0], wanted.to(given[0].dtype))


def test_small_connectivities_are_not_learnt_from():
    image, label, _ = patches(0)
    with pytest.raises(ValueError, match="expected at least one connectivity of min_area=50"):
        train([(image, label)], replace(QUICK, min_area=50))  # patches have 49 pixels


@pytest.mark.parametrize("nothing", [[], [patches(0)[:2]]])
def test_nothing_to_learn_from(nothing):
    for _, label in nothing:
        label[:] = 255
    with pytest.raises(ValueError, match="samples: expected at least one connectivity"):
        train(nothing)


IMAGE, LABEL, _ = patches(0)
BAD = {
    "a dict": (lambda: dict(enumerate(samples())), TypeError, "several times, .* got dict"),
    "generator": (lambda: (pair for pair in samples()), TypeError, "several times, .*generator"),
    "number": (lambda: 5, TypeError, "samples: expected .* got int 5"),
    "no pair": (lambda: [IMAGE], TypeError, r"samples\[0\]: expected \(img, label\) or"),
    "class outside": (
        lambda: [(IMAGE, LABEL), (IMAGE, LABEL * 0 + 3)],
        ValueError, r"samples\[1\]: label: expected class ids 0\.\.2 .* got 3",
    ),
    "sizes differ": (lambda: [(IMAGE, LABEL[1:])], ValueError, r"samples\[0\]: pl: expected shape"),
    "floats": (lambda: [(IMAGE / 255.0, LABEL)], TypeError, r"samples\[0\]: img: expected a uint8"),
    "batch": (
        lambda: [(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))],
        ValueError, r"samples\[0\]: img: expected one image, got 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_bad_samples_are_named(case):
    make, error, message = BAD[case]
    with pytest.raises(error, match=message):
        train(make(), replace(QUICK, iterations=None))


def test_connectivities_are_samples_too():
    data = samples()
    given = [
        (img, find_connectivities(torch.from_numpy(label).long(), 255, QUICK))
        for img, label in data
    ]
    assert same(train(data)[0], train(given)[0])


def test_a_mirrored_scene():
    scene = read_scene(IMAGE, LABEL, SPACE, QUICK)
    mirrored = read_scene(IMAGE[:, ::-1].copy(), LABEL[:, ::-1].copy(), SPACE, QUICK)
    flipped = scene.flipped()
    assert torch.equal(flipped.image, mirrored.image)
    assert torch.equal(flipped.connectivities.ids > 0, mirrored.connectivities.ids > 0)
    classes = torch.cat([torch.tensor([255]), flipped.connectivities.classes])
    assert torch.equal(
        classes[flipped.connectivities.ids], torch.from_numpy(LABEL[:, ::-1].copy()).long()
    )
    assert torch.equal(Scene.of(flipped.image, flipped.connectivities).areas, scene.areas)


def test_labels_outside_known_connectivities_become_components():
    label = torch.tensor([[0, 0, 1, 255, 2, 2]])
    known = find_connectivities(torch.tensor([[0, 0, 255, 255, 255, 255]]), 255, QUICK)
    found = find_connectivities(label, 255, QUICK, known=known)
    assert found.ids.tolist() == [[1, 1, 2, 0, 3, 3]]
    assert found.classes.tolist() == [0, 1, 2]
    assert find_connectivities(
        label[:, :2], 255, QUICK, known=replace(known, ids=known.ids[:, :2])
    ).ids.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0), ("batch_size", 0), ("per_image", 1.5), ("class_balanced", 1),
        ("label_smoothing", 1.0), ("flip", "yes"), ("learning_rate", 0), ("weight_decay", -1),
        ("min_area", 0), ("connectivity", 6), ("mixture", "classes"), ("area_weighting", None),
        ("noise_adjusted", 1),
        ("tau_ns", 1.1), ("tau_cr", float("nan")),
    ],
)  # fmt: skip
def test_bad_settings(name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name}: expected"):
        SCCSettings(**{name: value})
