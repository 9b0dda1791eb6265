"""The recipes that label, refine with ``seco run`` and train: what is handed on, and going on."""

from __future__ import annotations

from pathlib import Path

import generalise
import numpy as np
import pytest
import torch
import train_in_rounds
from recipes.labelling import look
from safetensors.torch import load_file
from typer.main import get_command

from seco.cli import app
from seco.common.files import read_image, read_label, write_label
from seco.common.items import label_of
from seco.demo import STREETS
from sgg.demo import SIZE
from sgg.folder import load_segmenter
from sgg.progressive import training

WORDS = ["--scenes", "2", "--steps", "2", "--batch", "2", "--crop", "32", "64"]


@pytest.fixture
def commands(monkeypatch):
    """The words of the recipes' commands; instead of refining they ignore the upper quarter.

    And all of the labels whose names are in ``commands.spoilt``.
    """

    class Commands(list):
        spoilt: tuple[str, ...] = ()

        def options(self, number):
            """Those of a ``seco run``."""
            return dict(zip(self[number][4::2], self[number][5::2], strict=True))

    called = Commands()

    def run(*given):
        name, *words = map(str, given)
        get_command(app).commands[name].make_context(name, list(words))  # it is one
        called.append([name, *words])
        if name == "run":
            _, labels, out = map(Path, words[:3])
            (out / "labels").mkdir(parents=True, exist_ok=True)
            for path in labels.glob("*.png"):
                label = read_label(path)
                label[: None if path.stem in called.spoilt else len(label) // 4] = 255
                write_label(out / "labels" / path.name, label, STREETS)

    monkeypatch.setattr(train_in_rounds, "run_seco", run)
    monkeypatch.setattr(generalise, "run_seco", run)
    return called


@pytest.fixture
def steps(monkeypatch):
    """The steps of training that begin; they are cut off at the one that ``steps.last`` says."""

    class Steps(list):
        last = 0

    begun, add_loss = Steps(), training._add_loss

    def counting(*given):
        begun.append(1)
        if len(begun) == begun.last:
            raise KeyboardInterrupt
        return add_loss(*given)

    monkeypatch.setattr(training, "_add_loss", counting)
    return begun


def same(one, other):
    one, other = load_file(one), load_file(other)
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_every_round_goes_on_from_the_student_of_the_one_before(tmp_path, commands, steps):
    out, student = tmp_path / "whole", "round-{}/student.safetensors".format
    train_in_rounds.main([str(out), *WORDS])
    assert [words[0] for words in commands] == ["regions", "run", "run"]
    for number in (1, 2):
        folder, given = out / f"round-{number}", commands.options(number)
        assert commands[number][2:4] == [str(folder / "predicted"), str(folder / "seco")]
        assert given["--confidence"] == str(folder / "confidence")
        assert given["--regions"] == commands[0][2]
        assert given["--outside"] == "keep"
    first = load_segmenter(f"demo@{out / student(1)}")
    for path in (out / "streets/target/images").glob("*.png"):
        label, _ = look(first, read_image(path))
        assert np.array_equal(read_label(out / "round-2/predicted" / path.name), label)
    assert not same(out / student(1), out / student(2))

    cut, steps.last = tmp_path / "cut", len(steps) + 4
    with pytest.raises(KeyboardInterrupt):  # in the last step
        train_in_rounds.main([str(cut), *WORDS])
    assert (cut / student(1)).exists()
    assert not (cut / student(2)).exists()
    steps.clear()
    train_in_rounds.main([str(cut), *WORDS])
    assert len(steps) == 2  # the first round is not done again
    assert same(out / student(1), cut / student(1))
    assert same(out / student(2), cut / student(2))


def test_a_black_box_gives_labels_and_nothing_else(tmp_path, commands):
    train_in_rounds.main([str(tmp_path / "new"), *WORDS, "--rounds", "0"])
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (tmp_path / "new/streets/target/images").glob("*.png"):
        write_label(labels / path.name, np.full(SIZE, 3, np.uint8), STREETS)
    commands.clear()
    more = ["--first-labels", str(labels), "--rounds", "1", "--outside", "ignore"]
    train_in_rounds.main([str(tmp_path / "out"), *WORDS, *more])
    assert commands[1][2] == str(labels)
    assert "--confidence" not in commands[1]
    assert commands.options(1)["--outside"] == "ignore"
    assert not (tmp_path / "out/round-1/predicted").exists()


def test_open_images_count_where_they_are_labelled(tmp_path, commands, steps, monkeypatch):
    learnt, finetune = [], generalise.finetune

    def watched(segmenter, inputs, *given, **options):
        learnt.append(inputs)
        finetune(segmenter, inputs, *given, **options)

    monkeypatch.setattr(generalise, "finetune", watched)
    spoilt, kept = map(str, generalise.TRAIN_SEEDS[-2:])
    commands.spoilt = (spoilt,)
    for name in ("one", "other"):
        generalise.main([str(tmp_path / name), *WORDS])
    assert commands.options(0)["--outside"] == "ignore"
    assert commands.options(0)["--confidence"] == str(tmp_path / "one/confidence")
    (source, other, opened), streets = learnt[0].files, tmp_path / "one/streets"
    assert {source.image.parent, other.image.parent} == {streets / "source/images"}
    assert opened.image == streets / f"open/{kept}.png"
    label = label_of(opened, learnt[0], STREETS)
    assert (label[:16] == 255).all()
    seen, _ = look(load_segmenter("demo"), read_image(opened.image))
    assert np.array_equal(label[16:], seen[16:])

    weights = [tmp_path / name / "student.safetensors" for name in ("one", "other")]
    assert same(*weights)
    assert len(steps) == 4
    generalise.main([str(tmp_path / "one"), *WORDS])
    assert len(steps) == 4


def test_open_scenes_show_what_no_class_names(monkeypatch):
    shown = generalise.open_scene(7)
    assert np.array_equal(shown, generalise.open_scene(7))
    monkeypatch.setattr(generalise, "paste_unknown_things", lambda image, rng: (image, None))
    empty = generalise.open_scene(7)
    assert 0.01 < (shown != empty).any(-1).mean() < 0.9
