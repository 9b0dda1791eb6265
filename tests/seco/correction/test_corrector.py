"""The public class: what it finds on coloured patches, and what it promises on anything."""

from __future__ import annotations

import json
import random
import warnings
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from patches import SPACE, Colour, patches

from seco import Connectivities, LabelSpace, SegmenterExtractor, load_sam
from seco.correction.corrector import ConnectivityCorrector
from seco.correction.decision import CORRECT, DROP, KEEP
from seco.correction.extractors import ModuleExtractor
from seco.correction.mixture import NoNoiseFoundWarning
from seco.correction.settings import SCCSettings

# A classifier that learns from labels of which a fifth is wrong is right to be sure of four fifths.
QUICK = SCCSettings(
    iterations=60,
    batch_size=32,
    per_image=16,
    learning_rate=0.05,
    tau_cr=0.55,
    noise_adjusted=False,
)


def make(count=12, *, settings=QUICK, encoder=None, seed=0, wrong=0.2, **options):
    data = [patches(i, wrong=wrong)[:2] for i in range(count)]
    encoder = Colour() if encoder is None else encoder
    return ConnectivityCorrector(SPACE, encoder, settings=settings, seed=seed).fit(data, **options)


@pytest.fixture(scope="module")
def fitted():
    return make()


CORNER = np.s_[1::8, 1::8]  # one pixel of every patch


def patch_classes(corrector, seeds, **options):
    """Given, true and new class of every patch of some images."""
    rows = []
    for seed in seeds:
        img, label, truth = patches(seed, **options)
        new = corrector.correct(img, label)
        rows.append(np.stack([label[CORNER], truth[CORNER], new[CORNER]]).reshape(3, -1))
    return np.concatenate(rows, axis=1)


def test_wrong_classes_are_found_and_repaired(fitted):
    given, truth, new = patch_classes(fitted, range(50, 60), wrong=0.3)
    wrong = given != truth
    assert 40 < wrong.sum() < 110
    assert (new[wrong] == truth[wrong]).mean() > 0.9
    assert (new[~wrong] == truth[~wrong]).mean() > 0.97


def test_under_random_noise_adjusted_probabilities_reach_the_papers_threshold():
    repaired = {}
    for adjusted in (False, True):
        settings = replace(QUICK, iterations=150, tau_cr=0.95, noise_adjusted=adjusted)
        corrector = make(settings=settings)
        given, truth, new = patch_classes(corrector, range(50, 56), wrong=0.2)
        repaired[adjusted] = (new == truth)[given != truth].mean()
        assert (new == truth)[given == truth].mean() > 0.97
    assert repaired[False] < 0.1
    assert repaired[True] > 0.6


def test_noise_probability_belongs_to_the_wrong_ones(fitted):
    img, label, truth = patches(70, wrong=0.3)
    noise = fitted.noise_probability(img, label)
    losses = fitted.losses(img, label)
    wrong = torch.from_numpy((label != truth)[CORNER].ravel())
    assert noise.shape == losses.shape == wrong.shape
    assert (noise[wrong] > 0.6).float().mean() > 0.9
    assert (noise[~wrong] < 0.6).float().mean() > 0.95
    assert losses[wrong].min() > losses[~wrong].median()


def test_open_set_regions_drop_out():
    """Grey is of no class: whatever it is called, the classifier is not sure of it."""
    data = [patches(i, wrong=0.1, open_set=0.2)[:2] for i in range(12)]
    settings = replace(QUICK, tau_cr=0.8)
    corrector = ConnectivityCorrector(SPACE, Colour(), settings=settings).fit(data)
    _, truth, new = patch_classes(corrector, range(50, 56), open_set=0.2)
    assert (new[truth == 3] == 255).mean() > 0.7
    assert (new == truth)[truth < 3].mean() > 0.95


def test_labels_and_scores_follow_the_decisions(fitted):
    img, label, _ = patches(3, wrong=0.5, open_set=0.2)
    found = fitted.correct_with_details(img, label)
    (judged,) = found.judgements
    item, decided = judged.connectivities, judged.decisions
    assert {KEEP, CORRECT} <= set(decided.actions.tolist())
    for number in range(len(item)):
        inside = item.ids == number + 1
        action = int(decided.actions[number])
        new, score = found.labels[0][inside].unique(), found.scores[0][inside].unique()
        assert len(new) == len(score) == 1
        if action == KEEP:
            expected = item.classes[number], 1 - judged.noise_probability[number]
        elif action == CORRECT:
            expected = judged.predictions[number], judged.prediction_probability[number]
        else:
            expected = 255, 0
        assert [new.item(), score.item()] == pytest.approx([float(e) for e in expected], abs=1e-6)
    outside = item.ids == 0
    assert (found.labels[0][outside] == 255).all()
    assert (found.scores[0][outside] == 0).all()
    left = judged.corrected()
    classes = torch.cat([torch.tensor([255]), left.classes])
    assert torch.equal(classes[left.ids.long()], found.labels[0])


def test_a_dropped_connectivity_leaves_the_list(fitted):
    img, label, _ = patches(3, wrong=0.5)
    never = replace(fitted.settings, tau_cr=1.0)
    strict = make(settings=never)
    (judged,) = strict.correct_with_details(img, label).judgements
    dropped = int((judged.decisions.actions == DROP).sum())
    assert dropped > 0
    left = judged.corrected()
    assert len(left) == len(judged.connectivities) - dropped
    assert sorted(set(left.ids.unique().tolist()) - {0}) == list(range(1, len(left) + 1))


def test_kinds_shapes_and_batches(fitted):
    pairs = [patches(seed, wrong=0.3)[:2] for seed in range(3)]
    single = [fitted.correct(img, label) for img, label in pairs]
    for (_, label), new in zip(pairs, single, strict=True):
        assert isinstance(new, np.ndarray)
        assert (new.dtype, new.shape) == (label.dtype, label.shape)
    imgs = torch.from_numpy(np.stack([img for img, _ in pairs])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label for _, label in pairs])).long()
    together = fitted.correct(imgs, labels)
    assert together.dtype == torch.int64
    assert torch.equal(together, torch.from_numpy(np.stack(single)).long())
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    normalised = (imgs - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    again = fitted.correct(normalised, labels, normalization=(mean, std))
    assert torch.equal(again, together)


def test_one_extractor_pass_per_image_and_none_for_nothing():
    module = Colour()
    corrector = make(4, encoder=module)
    img, label, _ = patches(9)
    before = module.passes
    corrector.correct(img, label)
    assert module.passes == before + 1
    nothing = corrector.correct(img, np.full_like(label, 255))
    assert (nothing == 255).all()
    assert module.passes == before + 1


def test_invalid_pixels_neither_speak_nor_change(fitted):
    img, label, _ = patches(4, wrong=0.3)
    valid = np.ones(label.shape, bool)
    valid[:, 24:] = False
    new = fitted.correct_with_details(img, label, valid=valid)
    np.testing.assert_array_equal(new.labels[0][:, 24:], label[:, 24:])
    assert (new.scores[0][:, 24:] == 1).all()
    nonsense = np.where(valid, label, (label + 1) % 3).astype(np.uint8)
    again = fitted.correct_with_details(img, nonsense, valid=valid)
    assert torch.equal(new.labels[0][:, :24], again.labels[0][:, :24])
    assert torch.equal(new.scores[0][:, :24], again.scores[0][:, :24])


@pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")
def test_given_connectivities_are_judged_as_they_are(fitted):
    img, label, truth = patches(5)
    ids = torch.zeros(label.shape, dtype=torch.int32)
    ids[1:8, 1:8], ids[9:16, 1:8] = 1, 2
    wrong = (int(truth[1, 1]) + 1) % 3
    given = Connectivities(ids, torch.tensor([wrong, int(truth[9, 1])]), torch.ones(2))
    found = fitted.correct_with_details(img, label, connectivities=given)
    (judged,) = found.judgements
    assert judged.decisions.actions[:2].tolist() == [CORRECT, KEEP]
    assert int(found.labels[0, 1, 1]) == int(truth[1, 1])
    assert len(judged.connectivities) == 24  # the other 22 patches as components
    alone = fitted.losses(img, np.full_like(label, 255), connectivities=given)
    torch.testing.assert_close(alone, judged.losses[:2])


def test_renumbering_classes_renumbers_the_correction(fitted):
    order = np.array([2, 0, 1])
    renumber = np.full(256, 255)
    renumber[:3] = order
    space = LabelSpace(names=tuple(SPACE.names[i] for i in np.argsort(order)))
    data = [patches(i, wrong=0.2)[:2] for i in range(12)]
    renamed = [(img, renumber[label]) for img, label in data]
    other = ConnectivityCorrector(space, Colour(), settings=QUICK).fit(renamed)
    img, label, _ = patches(60, wrong=0.3)
    np.testing.assert_array_equal(
        other.correct(img, renumber[label]), renumber[fitted.correct(img, label)]
    )


def test_fitting_is_reproducible_and_leaves_the_global_state_alone(fitted):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    again = make()
    img, label, _ = patches(8, wrong=0.3)
    losses = again.losses(img, label)
    assert torch.equal(losses, fitted.losses(img, label))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(again.losses(img, label), losses)


def test_features_that_are_not_finite_are_told(fitted):
    module = Colour()
    corrector = make(4, encoder=module)
    img, label, _ = patches(8)
    with torch.no_grad():
        module.mix.bias[0] = torch.nan
    with pytest.raises(FloatingPointError, match="encoder: expected finite features"):
        corrector.correct(img, label)


def test_fitting_again_starts_anew():
    encoder = ModuleExtractor(Colour(), trained=True)
    settings = replace(QUICK, iterations=20)
    corrector = make(4, encoder=encoder, settings=settings)
    img, label, _ = patches(8, wrong=0.3)
    first = corrector.losses(img, label)
    corrector.fit([patches(i, wrong=0.2)[:2] for i in range(4)])
    assert torch.equal(corrector.losses(img, label), first)
    assert torch.equal(make(4, encoder=encoder, settings=settings).losses(img, label), first)


def test_the_record_holds_every_connectivity(fitted):
    record = fitted.record
    expected = [fitted.losses(*patches(i, wrong=0.2)[:2]) for i in range(12)]
    torch.testing.assert_close(record.losses, torch.cat(expected))
    assert record.iterations == 60
    assert (record.areas == 49).all()
    assert record.noise_model.overall.supported


def test_clean_labels_are_left_alone_and_the_caller_is_told():
    """One loss for all: a classifier that has learnt nothing."""
    data = [patches(i)[:2] for i in range(3)]
    blind = replace(QUICK, iterations=1, learning_rate=1e-12, neighbours=0)
    corrector = ConnectivityCorrector(SPACE, Colour(), settings=blind)
    with pytest.warns(NoNoiseFoundWarning, match="do not support two components"):
        corrector.fit(data)
    for img, label in data:
        np.testing.assert_array_equal(corrector.correct(img, label), label)


def quietly(corrector, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        return corrector.fit(data)


ENCODERS = {
    "small": lambda: None,
    "frozen": Colour,
    "trained": lambda: ModuleExtractor(Colour(), trained=True),
    "sam": lambda: load_sam("tiny"),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_save_and_load(tmp_path, kind):
    settings = replace(QUICK, iterations=3, mixture="per_class")
    data = [patches(i, wrong=0.2)[:2] for i in range(2)]
    corrector = quietly(
        ConnectivityCorrector(SPACE, ENCODERS[kind](), settings=settings, seed=5), data
    )
    corrector.save(tmp_path / "new" / "scc")
    loaded = ConnectivityCorrector.load(tmp_path / "new" / "scc", encoder=ENCODERS[kind]())
    assert (loaded.label_space, loaded.settings, loaded.seed) == (SPACE, settings, 5)
    img, label, _ = patches(7, wrong=0.3)
    one, other = (c.correct_with_details(img, label) for c in (corrector, loaded))
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.scores, other.scores)
    assert torch.equal(one.judgements[0].losses, other.judgements[0].losses)
    assert loaded.record.noise_model == corrector.record.noise_model
    assert torch.equal(loaded.record.losses, corrector.record.losses)


def test_saving_over_an_older_one(tmp_path, fitted):
    fitted.save(tmp_path)
    make(4, seed=1).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert ConnectivityCorrector.load(tmp_path, encoder=Colour()).seed == 1


def test_a_save_that_breaks_off_leaves_the_old_one(tmp_path, fitted, monkeypatch):
    fitted.save(tmp_path)
    from seco.correction import storage

    def fail_at_json(path, data):
        if path.suffix == ".json":
            raise OSError("No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(storage, "write_bytes", fail_at_json)
    with pytest.raises(OSError, match="No space"):
        make(4, seed=1).save(tmp_path)
    assert ConnectivityCorrector.load(tmp_path, encoder=Colour()).seed == 0


def test_another_encoder_is_refused(tmp_path, fitted):
    fitted.save(tmp_path)
    other = Colour()
    with torch.no_grad():
        other.mix.weight += 1
    with pytest.raises(ValueError, match=r"encoder: expected the one .* with other weights"):
        ConnectivityCorrector.load(tmp_path, encoder=other)
    with pytest.raises(ValueError, match=r"expected the network of your own .* give encoder=netw"):
        ConnectivityCorrector.load(tmp_path)
    with pytest.raises(ValueError, match=r"encoder: expected the one .*\(module, segmenter\)"):
        ConnectivityCorrector.load(tmp_path, encoder=load_sam("tiny"))


@pytest.mark.parametrize(
    ("layers", "hint"),
    [(0, "encoder=sam$"), (1, r"encoder=seco\.SegmenterExtractor\(sam, crop_n_layers=1\)$")],
)
def test_a_sam_that_is_missing_is_asked_for(tmp_path, layers, hint):
    encoder = SegmenterExtractor(load_sam("tiny"), crop_n_layers=layers)
    settings = replace(QUICK, iterations=1)
    corrector = ConnectivityCorrector(SPACE, encoder, settings=settings)
    quietly(corrector, [patches(i, wrong=0.2)[:2] for i in range(2)]).save(tmp_path)
    with pytest.raises(ValueError, match=rf"encoder: expected the SAM .*, got None; give {hint}"):
        ConnectivityCorrector.load(tmp_path)


def test_damaged_files_are_told(tmp_path, fitted):
    with pytest.raises(FileNotFoundError):
        ConnectivityCorrector.load(tmp_path)
    fitted.save(tmp_path)
    (tensors,) = tmp_path.glob("*.safetensors")
    path = tmp_path / "corrector.json"
    whole, said = tensors.read_bytes(), path.read_text()
    tensors.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"corrector\.json: expected a whole seco corrector, got"):
        ConnectivityCorrector.load(tmp_path, encoder=Colour())
    tensors.write_bytes(whole)
    for text, message in {
        "{": "expected a seco corrector, got",
        "[1]": "expected a seco corrector, got other JSON",
        json.dumps(json.loads(said) | {"version": 1}): "expected version 2, got 1",
        json.dumps(json.loads(said) | {"settings": {"x": 1}}): "expected a whole seco corrector",
        json.dumps(json.loads(said) | {"encoder": None}): "got one without its encoder",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            ConnectivityCorrector.load(tmp_path, encoder=Colour())


def test_before_fitting(tmp_path):
    corrector = ConnectivityCorrector(SPACE, Colour())
    img, label, _ = patches(0)
    for call in (
        lambda: corrector.correct(img, label),
        lambda: corrector.losses(img, label),
        lambda: corrector.save(tmp_path),
        lambda: corrector.record,
    ):
        with pytest.raises(ValueError, match=r"expected a fitted one, got one before fit"):
            call()


IMG, LABEL, _ = patches(0)
FIT = Connectivities(
    torch.zeros(LABEL.shape, dtype=torch.int32), torch.zeros(0).long(), torch.zeros(0)
)
BAD = {
    "label of another size": ({"pl": LABEL[1:]}, "pl: expected shape"),
    "class outside": ({"pl": LABEL + 3}, r"pl: expected class ids 0\.\.2"),
    "float image": ({"img": IMG / 255.0}, "img: expected a uint8 array"),
    "mask": ({"valid": LABEL * 1.0}, "valid: expected bool"),
    "two for one": ({"connectivities": [FIT, FIT]}, "connectivities: expected one per image, 1"),
    "masks": ({"connectivities": [LABEL]}, "connectivities: expected seco.Connectivities"),
    "a number": ({"connectivities": 3}, "connectivities: expected seco.Connectivities, got int 3"),
    "classes that are no ids": (
        {"connectivities": replace(FIT, classes=torch.tensor([1.0]))},
        "connectivities: expected classes to be a tensor of integer dtype, got Tensor of shape",
    ),
    "arrays": (
        {"connectivities": replace(FIT, ids=FIT.ids.numpy())},
        "connectivities: expected ids to be a tensor of integer dtype, got ndarray of shape",
    ),
    "of another size": (
        {"connectivities": replace(FIT, ids=FIT.ids[1:])},
        r"connectivities: expected the size \(32, 48\)",
    ),
    "numbers without a connectivity": (
        {"connectivities": replace(FIT, ids=FIT.ids + 1)},
        r"connectivities: expected ids 0\.\.0, got 1 to 1",
    ),
    "of another space": (
        {"connectivities": replace(FIT, classes=torch.tensor([3]))},
        r"connectivities: expected classes 0\.\.2, got 3 to 3",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_bad_input_names_argument_expectation_and_value(fitted, case):
    change, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        fitted.correct(**({"img": IMG, "pl": LABEL} | change))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("streets",), {}, "label_space: expected a LabelSpace, got str"),
        ((SPACE, "resnet"), {}, "encoder: expected "),
        ((SPACE,), {"settings": {}}, "settings: expected a SCCSettings, got dict"),
        ((SPACE,), {"seed": -1}, "seed: expected an integer >= 0, got -1"),
    ],
)
def test_bad_construction(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ConnectivityCorrector(*arguments, **options)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_odd_sizes(size):
    img, label = np.full((*size, 3), 40, np.uint8), np.zeros(size, np.uint8)
    settings = replace(QUICK, iterations=1, min_area=1)
    corrector = quietly(ConnectivityCorrector(SPACE, settings=settings), [(img, label)])
    np.testing.assert_array_equal(corrector.correct(img, label), label)


@pytest.mark.parametrize("classes", [2, 150])
def test_few_and_many_classes(classes):
    space = LabelSpace(names=tuple(f"class {number}" for number in range(classes)))
    rng = np.random.default_rng(0)
    data = []
    for _ in range(3):
        kinds = rng.integers(0, classes, (4, 6))
        image = rng.integers(0, 256, (classes, 3))[kinds].astype(np.uint8)
        data.append((image.repeat(8, 0).repeat(8, 1), kinds.repeat(8, 0).repeat(8, 1)))
    corrector = quietly(
        ConnectivityCorrector(space, Colour(), settings=replace(QUICK, iterations=5)), data
    )
    found = corrector.correct_with_details(*data[0])
    assert set(found.labels.unique().tolist()) <= {*range(classes), 255}
    assert corrector.noise_probability(*data[0]).shape == found.judgements[0].losses.shape


def speckle(label):
    """Only connectivities of one pixel."""
    new = np.full_like(label, 255)
    new[::3, ::3] = 1
    return new


def test_images_with_nothing_to_learn_from_are_judged_all_the_same(fitted):
    img, label, _ = patches(0)
    dots, nothing = speckle(label), np.full_like(label, 255)
    found = fitted.correct_with_details(img, dots)
    assert len(found.judgements[0].losses) == (dots == 1).sum() > 100
    assert (found.labels[0].numpy()[dots == 255] == 255).all()
    np.testing.assert_array_equal(fitted.correct(img, nothing), nothing)
    data = [patches(i, wrong=0.2)[:2] for i in range(12)]
    more = ConnectivityCorrector(SPACE, Colour(), settings=QUICK)
    more.fit([*data, (img, dots), (img, nothing)])
    assert len(more.record.losses) == len(fitted.record.losses)


def test_scores_are_what_speaks_for_each_label(fitted):
    """Loss weights: how sure it was before times what correction found, in all three cases."""
    img, label, _ = patches(3, wrong=0.5, open_set=0.2)
    settings = replace(QUICK, tau_cr=0.8)
    corrector = make(settings=settings)
    before = torch.linspace(0.2, 1, label.size).reshape(1, *label.shape)
    labels = torch.from_numpy(label).long()[None]
    images = torch.from_numpy(img).permute(2, 0, 1)[None]
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, :, :9] = False
    found = corrector.correct_batch(images, labels, scores=before, valid=valid)
    (judged,) = found.judgements
    ids, actions = judged.connectivities.ids, judged.decisions.actions
    assert {KEEP, CORRECT, DROP} == set(actions.tolist())
    for number, action in enumerate(actions.tolist()):
        inside = ids == number + 1
        given, score = before[0][inside], found.scores[0][inside]
        clean = 1 - judged.noise_probability
        confirmed = judged.noise_probability[number] >= settings.tau_ns
        expected = {
            KEEP: given * (judged.prediction_probability if confirmed else clean)[number],
            CORRECT: torch.full_like(given, judged.prediction_probability[number].item()),
            DROP: torch.zeros_like(given),
        }[action]
        torch.testing.assert_close(score, expected)
    assert torch.equal(found.scores[~valid], before[~valid])
    assert (found.scores[valid & (found.labels == 255) & (labels != 255)] == 0).all()


@pytest.mark.parametrize("setting", ["dtype", "device", "inference", "autocast", "errors"])
def test_what_the_caller_has_set_for_all_of_torch_changes_nothing(setting, tmp_path):
    def run(folder):
        settings = SCCSettings(iterations=2, batch_size=8)
        data = [patches(i, wrong=0.2)[:2] for i in range(2)]
        quietly(ConnectivityCorrector(SPACE, settings=settings), data).save(folder)
        corrector = ConnectivityCorrector.load(folder)
        return corrector.correct_with_details(*data[0]), corrector.noise_probability(
            data[0][0], np.full_like(data[0][1], 255)
        )

    expected, _ = run(tmp_path / "plain")
    before = torch.get_default_dtype()
    try:
        if setting == "dtype":
            torch.set_default_dtype(torch.bfloat16)
        if setting == "device":
            torch.set_default_device("meta")  # as "cuda": not the device of anything here
        around = {
            "inference": torch.inference_mode(),
            "autocast": torch.autocast("cpu", torch.bfloat16),
            "errors": np.errstate(all="raise"),
        }
        with around.get(setting, nullcontext()):
            found, nothing = run(tmp_path / "set")
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.judgements[0].losses, expected.judgements[0].losses)
    assert found.judgements[0].connectivities.scores.dtype == torch.float32
    assert (nothing.dtype, len(nothing)) == (torch.float32, 0)
