"""Samples that threads read before their turn: the same fit, and nobody waits for a file."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace

import pytest
import torch
from patches import SPACE, Colour, patches

from seco import ConnectivityCorrector, ModuleExtractor, SCCSettings
from seco.correction.classifier import ConnectivityClassifier
from seco.correction.lessons import Lessons
from seco.correction.stream import SampleStream

QUICK = SCCSettings(iterations=12, batch_size=32, per_image=8, learning_rate=0.05)
DATA = [patches(seed, wrong=0.2)[:2] for seed in range(7)]


class Watched(list):
    """Samples that know which thread asked for them."""

    def __init__(self, items):
        super().__init__(items)
        self.threads = Counter()

    def __getitem__(self, index):
        self.threads[threading.current_thread() is threading.main_thread()] += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_threads_read_and_nothing_changes(trained, flip):
    def fit(readers):
        data = Watched(DATA)
        encoder = ModuleExtractor(Colour(), trained=trained)
        settings = replace(QUICK, flip=flip)
        corrector = ConnectivityCorrector(SPACE, encoder, settings=settings)
        return corrector.fit(data, readers=readers), data.threads

    (alone, own), (together, shared) = fit(0), fit(2)
    assert own[False] == 0
    assert shared[True] <= 1  # before the first step, to know how many features there are
    one, other = (found._fitted[0].state() for found in (alone, together))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert torch.equal(alone.record.losses, together.record.losses)
    assert torch.equal(alone.record.bank.features, together.record.bank.features)


def test_a_fit_goes_on_with_threads_as_without(tmp_path):
    short = ConnectivityCorrector(SPACE, Colour(), settings=QUICK)
    whole = short.fit(DATA, readers=2).record.losses

    class Stopped(list):
        left = 30

        def __getitem__(self, index):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    again = ConnectivityCorrector(SPACE, Colour(), settings=QUICK)
    state = {"checkpoint": tmp_path / "state", "checkpoint_every": 1, "feature_memory": 0}
    with pytest.raises(KeyboardInterrupt):
        again.fit(Stopped(DATA), readers=2, **state)
    assert (tmp_path / "state").exists()
    assert torch.equal(again.fit(DATA, readers=2, **state).record.losses, whole)


def test_two_are_read_at_once_and_come_in_order():
    meeting = threading.Barrier(2, timeout=20)

    class Meeting(list):
        def __getitem__(self, index):
            meeting.wait()
            return super().__getitem__(index)

    stream = SampleStream(Meeting(DATA), SPACE, QUICK, readers=2)
    order = [3, 0, 6, 1]
    found = list(stream.ahead(order))
    assert [index for index, _ in found] == order
    for index, scene in found:
        assert torch.equal(scene.image, torch.from_numpy(DATA[index][0]).permute(2, 0, 1))


def test_without_threads_it_is_the_callers_to_read():
    without_positions = dict(enumerate(DATA)).values()
    for data, readers in ((DATA, 0), (without_positions, 2)):
        stream = SampleStream(data, SPACE, QUICK, readers=readers)
        assert list(stream.ahead([2, 1])) == [(2, None), (1, None)]
        assert len(list(stream.part(0, 1))) == 7


def test_what_is_kept_is_not_read_again():
    data = Watched(DATA)
    stream = SampleStream(data, SPACE, QUICK, readers=2)
    classifier = ConnectivityClassifier(ModuleExtractor(Colour()), 3)
    lessons = Lessons(classifier, stream, 1, 2**20)
    lesson = lessons[4]
    assert lessons.wants(4, False)
    lessons.features(lesson, torch.arange(len(lesson.classes)))
    assert not lessons.wants(4, False)
    assert lessons.wants(4, False, True)
    data.threads.clear()
    read = dict(stream.ahead([4, 5], lambda index: lessons.wants(index, False)))
    assert read[4] is None
    assert data.threads.total() == 1
    assert lessons.read(4, None) is lesson
    assert torch.equal(
        lessons.read(5, read[5]).classes, Lessons(classifier, stream, 1, 0)[5].classes
    )


def test_a_bad_sample_is_named():
    data = [*DATA[:5], (DATA[5][0], DATA[5][1][:-1]), DATA[6]]
    with pytest.raises(ValueError, match=r"samples\[5\]: .*expected shape"):
        ConnectivityCorrector(SPACE, Colour(), settings=QUICK).fit(data, readers=2)
    with pytest.raises(ValueError, match="readers: expected"):
        ConnectivityCorrector(SPACE, Colour(), settings=QUICK).fit(DATA, readers=-1)


def test_every_pass_says_how_far_it_is(caplog, capsys):
    caplog.set_level(logging.INFO, "seco")
    corrector = ConnectivityCorrector(SPACE, Colour(), settings=QUICK)
    corrector.fit(DATA)
    for name in ("Counting regions", "Drawing neighbours", "Measuring losses"):
        assert f"{name}: 7 of 7 images, 00:00 passed" in caplog.messages
    assert capsys.readouterr().err == ""
    corrector.fit(DATA, progress=True)
    bars = capsys.readouterr().err
    assert all(name in bars for name in ("Counting regions", "Drawing neighbours", "Measuring"))
