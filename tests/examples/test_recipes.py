"""The training recipes: their parts against obvious versions, and runs that are cut off."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import self_train
import torch
import train_segmenter
from copy_paste import CutOut, cut_out, paste
from safetensors.torch import load_file
from torch import nn

import seco
from seco.demo import STREETS
from sgg.demo import SIZE


def test_the_teacher_is_a_mean_at_first_and_then_an_average():
    student, weights = nn.Linear(2, 1), [3.0, 5.0, 10.0]
    teacher = copy.deepcopy(student)
    for step, weight in enumerate(weights):
        nn.init.constant_(student.weight, weight)
        self_train.follow(teacher, student, step, decay=0.6)
    assert torch.allclose(teacher.weight, torch.tensor(0.6 * (3 + 5) / 2 + 0.4 * 10))


def test_the_teachers_statistics_are_the_students():
    student = nn.BatchNorm2d(2)
    teacher = copy.deepcopy(student)
    student(torch.ones(2, 2, 4, 4))
    self_train.follow(teacher, student, 5, decay=0.9)
    assert torch.equal(teacher.running_mean, student.running_mean)
    assert torch.equal(teacher.num_batches_tracked, student.num_batches_tracked)


def test_half_of_the_classes_are_pasted_with_weight_1():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.choice([0, 3, 4, 7, 8, 255], (2, 6, 9)))
    images, target = torch.rand(2, 3, 6, 9), torch.rand(2, 3, 6, 9)
    label, weight = torch.full((2, 6, 9), 99), torch.full((2, 6, 9), 0.25)
    mixed, wanted, weighed = self_train.mix_classes(
        rng, (images, labels), (target, label, weight), 255
    )
    for i in range(2):
        pasted = set(wanted[i].unique().tolist()) - {99}
        assert len(pasted) == 3  # of five, rounded up; never what is ignored
        assert 255 not in pasted
        for y in range(6):
            for x in range(9):
                over = labels[i, y, x].item() in pasted
                assert torch.equal(mixed[i, :, y, x], (images if over else target)[i, :, y, x])
                assert wanted[i, y, x] == (labels[i, y, x] if over else 99)
                assert weighed[i, y, x] == (1 if over else 0.25)
    assert (weight == 0.25).all()


def coloured(label: np.ndarray) -> np.ndarray:
    """An image whose colour tells the class, so that one can be read off the other."""
    return np.stack([label * 20, label * 20 + 5, 255 - label], -1).astype(np.uint8)


def test_only_rare_and_sure_things_are_cut_out():
    label = np.zeros((20, 30), np.uint8)
    label[2:8, 3:9], label[10:16, 3:9], label[2:8, 20:26] = 5, 5, 6
    scores = np.ones(label.shape, np.float32)
    scores[10:16, 3:9] = 0.5
    (thing,) = cut_out(coloured(label), label, scores, [5], min_score=0.9, min_area=20)
    assert (thing.class_id, thing.middle, thing.bottom, thing.mask.sum()) == (5, 6, 8, 36)
    assert not cut_out(coloured(label), label, scores, [5], min_area=37)


@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_stay_aligned(seed):
    rng = np.random.default_rng(seed)
    label = np.full((24, 40), 2, np.uint8)
    mask = rng.random((9, 7)) < 0.7
    # At the border a part of it falls outside the image.
    things = [
        CutOut(coloured(np.full(mask.shape, k, np.uint8)), mask, k, middle, bottom)
        for k, middle, bottom in ((5, 1.0, 4), (7, 20.0, 20), (9, 39.0, 24))
    ]
    image, wanted = paste(coloured(label), label, things, rng)
    assert set(np.unique(wanted)) == {2, 5, 7, 9}
    assert np.array_equal(image, coloured(wanted))
    assert (label == 2).all()
    rows = np.flatnonzero((wanted == 7).any(1))
    assert rows.max() < 20 <= rows.max() + 3  # its row is kept


def folders(tmp_path, monkeypatch):
    """Two scenes of each set and their regions, without any SAM."""

    def regions(*words):
        images, out = words[1], words[2]
        out.mkdir(parents=True, exist_ok=True)
        for path in images.glob("*.png"):
            cells = torch.arange(SIZE[0])[:, None] // 8 * 16 + torch.arange(SIZE[1]) // 8 + 1
            seco.Regions.from_label_map(cells).save(out / f"{path.stem}.npz")

    monkeypatch.setattr(self_train, "run_seco", regions)
    return ["--scenes", "2", "--steps", "4", "--crop", "32", "64", "--threshold", "0.5"]


def weights_of(out):
    return load_file(out / "student.safetensors")


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_self_training_goes_on_to_the_same_weights_and_off_is_no_call(tmp_path, monkeypatch):
    words = folders(tmp_path, monkeypatch)
    self_train.main([str(tmp_path / "whole"), *words])

    cut = [str(tmp_path / "cut"), *words, "--save-every", "2"]
    follow = self_train.follow

    def killed_at_the_third(teacher, student, step, decay):
        if step == 2:
            raise KeyboardInterrupt
        follow(teacher, student, step, decay)

    with monkeypatch.context() as patch:
        patch.setattr(self_train, "follow", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            self_train.main(cut)
    assert not (tmp_path / "cut/student.safetensors").exists()
    self_train.main(cut)
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))

    self_train.main([str(tmp_path / "off"), *words, "--seco", "off"])
    with monkeypatch.context() as patch:
        patch.setattr(seco, "refine_in_loop", lambda *given, **_: given[1:])
        self_train.main([str(tmp_path / "none"), *words])
    assert same(weights_of(tmp_path / "off"), weights_of(tmp_path / "none"))
    assert not same(weights_of(tmp_path / "off"), weights_of(tmp_path / "whole"))


def test_other_settings_in_the_same_folder_are_refused(tmp_path, monkeypatch):
    words = folders(tmp_path, monkeypatch)
    monkeypatch.setattr(self_train, "train", lambda *_: None)
    self_train.main([str(tmp_path), *words])
    with pytest.raises(SystemExit, match="another rate"):
        self_train.main([str(tmp_path), *words, "--rate", "1"])


@pytest.mark.parametrize(
    ("words", "out", "trained"),
    [([], "segmenter.safetensors", True), (["--evaluate"], None, False)],
)
def test_the_bundled_segmenter_is_not_overwritten(tmp_path, monkeypatch, words, out, trained):
    calls = []
    monkeypatch.setattr(train_segmenter, "train", lambda options: calls.append(options.out))
    monkeypatch.setattr(train_segmenter, "report", lambda weights, *_: calls.append(weights))
    train_segmenter.main(["--work", str(tmp_path), *words])
    assert calls == [out and tmp_path / out] * (1 + trained)


def test_streets_are_the_classes_of_generated_sets(tmp_path, monkeypatch):
    seen = []
    words = folders(tmp_path, monkeypatch)
    monkeypatch.setattr(self_train, "train", lambda sets, *_: seen.append(sets))
    self_train.main([str(tmp_path), *words])
    (sets,) = seen
    assert sets.space == STREETS
    assert all(files.label is None for files in sets.target.files)
    assert len(sets.source.files) == len(sets.held_out.files) == 2
