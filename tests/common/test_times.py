"""Where a job's time goes, and copies that do not hold it up."""

from __future__ import annotations

import json
from collections import namedtuple
from contextlib import contextmanager, nullcontext
from itertools import count

import pytest
import torch

from seco.common import device_time
from seco.common.device_time import DeviceTime, computing
from seco.common.files import write_bytes
from seco.common.jobs import Manifest, Times, overlap, run_job
from seco.common.jobs import times as times_module
from seco.common.transfers import Carrier
from seco.sam.inference import inference

CPU = torch.device("cpu")
File = namedtuple("File", "name inputs outputs")


@pytest.fixture
def ticking(monkeypatch):
    """Every look at the clock is one second later."""
    clock = count()
    for module in (device_time, times_module):
        monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))


def test_models_count_once_however_nested(ticking):
    meter = DeviceTime()
    with computing(CPU):
        pass  # nobody measures
    with meter.measuring():
        with computing(CPU), computing(CPU):
            pass
        with pytest.raises(OSError, match="bad"), computing(CPU):
            raise OSError("bad")
        with computing(CPU):
            pass
    with computing(CPU):
        pass
    assert meter.seconds() == 2  # one that failed has no end


def test_every_back_end_is_measured():
    meter = DeviceTime()
    with meter.measuring(), inference(torch.nn.Linear(1, 1)):
        pass
    assert meter.seconds() > 0


def test_what_overlapping_waits_for():
    entered = []

    class Spy(Times):
        @contextmanager
        def spending(self, on):
            entered.append(on)
            yield

    steps = overlap(range(5), lambda i: i, lambda i, _: i, lambda i, _: i, times=Spy())
    assert [future.result() for _, future in steps] == list(range(5))
    assert (entered.count("reading"), entered.count("writing")) == (5, 5)


def test_times_add_up(ticking):
    times = Times(items=1)
    with times.spending("wall"), times.spending("reading"):
        pass
    assert times == Times(items=1, wall=3, reading=1)
    total = Times.total([times, Times(items=3, wall=1, models=2, writing=1)])
    assert total == Times(items=4, processes=2, wall=4, models=2, reading=1, writing=1)
    assert Times.total([total, Times()]) == total
    assert not Times.total([Times()]).items
    assert total.describe() == {
        "items": 4, "seconds": 2, "models": 0.5, "reading": 0.25, "writing": 0.25,
    }  # fmt: skip
    assert total.line().startswith("2.0 items a second; models computed 50 % of the time, 25 % ")
    assert times.line().startswith("3.0 seconds an item; 33 % went by waiting")


def test_a_job_says_where_its_time_went(tmp_path):
    source = tmp_path / "in"
    source.write_bytes(b"text")
    items = [File(name, [source], [tmp_path / "out" / name]) for name in "abc"]

    def work(item, text):
        with computing(CPU):
            return text if item.name != "b" else 1 / int(text)  # a ValueError

    def job():
        return run_job(
            items, tmp_path / "out", Manifest("job"),
            read=lambda item: item.inputs[0].read_bytes(), work=work,
            write=lambda item, text: write_bytes(item.outputs[0], text) or {},
        )  # fmt: skip

    summary = job()
    spent = summary.times
    assert [len(summary.of(status)) for status in ("written", "failed")] == [2, 1]
    assert spent.items == 3
    assert 0 < spent.models < spent.wall
    assert 0 < spent.reading < spent.wall
    assert 0 < spent.writing < spent.wall
    said = json.loads((tmp_path / "out/summary.json").read_text())
    assert said["times"] == spent.describe()
    del items[1]
    assert job().times is None  # all is there


class Device:
    """Does in turn what it is asked for, one second each; stands for torch.cuda, with events."""

    def __init__(self):
        self.asked = self.done = 0

    def Event(self, *, enable_timing=True):
        return Event(self)

    def current_stream(self, device):
        return self


class Event:
    def __init__(self, device):
        self.device = device

    def record(self, device):
        device.asked += 1
        self.at = device.asked

    def query(self):
        return self.at <= self.device.done

    def synchronize(self):
        self.device.done = max(self.device.done, self.at)

    def elapsed_time(self, other):
        assert self.query()
        assert other.query()
        return 1000.0 * (other.at - self.at)


def test_a_gpu_is_timed_by_its_events(monkeypatch):
    device = Device()
    monkeypatch.setattr(device_time.torch, "cuda", device)
    meter, gpu = DeviceTime(), torch.device("cuda:0")
    with meter.measuring():
        for _ in range(1000):
            with computing(gpu), computing(gpu):
                pass
            device.done = max(0, device.asked - 6)  # it is three models behind
        assert len(meter._running) <= 4  # whatever has been computed is forgotten
        with pytest.raises(OSError, match="bad"), computing(gpu):
            raise OSError("bad")
    assert meter.seconds() == 1000
    assert meter.seconds() == 1000  # nothing counts twice
    assert not meter._running


def test_what_comes_does_not_wait_behind_what_leaves(monkeypatch):
    class Stream:
        def __init__(self, device=None):
            self.waits = False

        def wait_stream(self, other):
            self.waits = True

        def record_event(self):
            return self

        def synchronize(self):
            arrived.append(self.waits)

    arrived = []
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    carrier = Carrier(torch.device("cuda:0"))
    for transfer in (carrier.back(), carrier.there()):
        transfer.take()
    assert arrived == [True, False]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_carried_arrives(device):
    tensors = torch.arange(6).view(2, 3), torch.ones(2, dtype=torch.bool)
    carrier = Carrier(torch.device(device))
    there = carrier.there(*tensors).take()
    for one, other in zip(there, tensors, strict=True):
        assert (one.device.type, one.dtype, one.shape) == (device, other.dtype, other.shape)
    if device == "cpu":  # nothing is copied
        assert all(one is other for one, other in zip(there, tensors, strict=True))
        back = carrier.back(*there).take()
        assert all(one is other for one, other in zip(back, tensors, strict=True))
