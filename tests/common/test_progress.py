"""Progress in logs and on terminals."""

from __future__ import annotations

import io
import logging
import sys
import warnings

import pytest
import torch
import typer

from seco.common.cli.progress import Phase, Progress
from seco.common.cli.running import job
from seco.common.jobs import Outcome
from seco.common.progress import follow


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def done(status, count=1):
    return [Outcome(str(index), status) for index in range(count)]


def told(monkeypatch, outcomes, *, seconds=10.0, terminal=False, shown=True, resumes=True):
    """What is said if every outcome takes some seconds, except those that were there before."""
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    now = 0.0
    progress = Progress(Phase("Refining", resumes), shown=shown, clock=lambda: now)
    progress.start(len(outcomes))
    bar = progress.bar
    for outcome in outcomes:
        if outcome.status != "skipped":
            now += seconds
        progress.report(outcome)
    progress.report(Outcome("of the next stage", "failed"))
    return stderr.getvalue(), bar


def test_a_log_gets_a_line_a_minute_and_one_at_the_end(monkeypatch):
    outcomes = [*done("skipped", 5), *done("written", 13), *done("failed", 2)]
    said, bar = told(monkeypatch, outcomes)
    assert bar is None
    assert said.splitlines() == [
        "Refining: 11 of 20 images, 5 finished before, 01:00 passed, about 01:30 left",
        "Refining: 17 of 20 images, 5 finished before, 02:00 passed, about 00:30 left",
        "Refining: 20 of 20 images, 5 finished before, 2 failed, 02:30 passed",
    ]


def test_slow_images_get_a_line_each_and_other_processes_none(monkeypatch):
    assert len(told(monkeypatch, done("written", 3), seconds=300)[0].splitlines()) == 3
    assert told(monkeypatch, done("written", 3), seconds=300, shown=False)[0] == ""
    assert told(monkeypatch, [])[0] == ""


def test_a_bar_has_a_name_and_leaves_out_what_was_finished_before(monkeypatch):
    outcomes = [*done("skipped", 5), *done("written", 3)]
    said, bar = told(monkeypatch, outcomes, terminal=True)
    assert "Refining: 100%" in said
    assert (bar.n, bar.initial, bar.total) == (8, 5, 8)
    # Where skipping is all there is to do, as in measuring, it counts.
    _, bar = told(monkeypatch, done("skipped", 8), terminal=True, resumes=False)
    assert (bar.n, bar.initial) == (8, 0)


def test_a_loop_logs_a_line_a_minute_and_one_at_the_end(caplog, capsys):
    caplog.set_level(logging.INFO, "seco")
    now = 0.0

    def slow(count):
        nonlocal now
        for index in range(count):
            now += 25.0
            yield index

    def clock():
        return now

    assert list(follow(slow(6), "Counting", 6, clock=clock)) == list(range(6))
    assert caplog.messages == [
        "Counting: 3 of 6 images, 01:15 passed, about 01:15 left",
        "Counting: 6 of 6 images, 02:30 passed",
    ]
    caplog.clear()
    assert len(list(follow(slow(4), "Counting", clock=clock))) == 4
    assert caplog.messages == [
        "Counting: 3 images, 01:15 passed",
        "Counting: 4 images, 01:40 passed",
    ]
    caplog.clear()
    assert len(list(follow(slow(9), "Counting", 9, log=False, clock=clock))) == 9
    assert list(follow([], "Counting", 0)) == []
    assert caplog.messages == []
    assert capsys.readouterr().err == ""
    list(follow(slow(4), "Counting", 4, bar=True))
    assert "Counting: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_library_logs_is_shown_in_logs_alone(monkeypatch, terminal):
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log = logging.getLogger("seco.anything")
    with job(overwrite=False):
        log.info("step 1 of 2")
    log.info("later")
    assert stderr.getvalue() == ("" if terminal else "step 1 of 2\n")


def test_warnings_are_told_without_the_line_of_code():
    where = (UserWarning, "some.py", 3)
    with job(overwrite=False):
        assert warnings.formatwarning("it is slow", *where) == "Warning: it is slow\n"
    assert "some.py:3" in warnings.formatwarning("it is slow", *where)


@pytest.mark.parametrize(
    "error",
    [
        FloatingPointError("loss: expected a finite number, got nan"),
        torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        MemoryError("no room"),
    ],
)
def test_what_no_file_is_to_blame_for_stops_a_job_with_3(capsys, error):
    with pytest.raises(typer.Exit) as caught, job(overwrite=False):
        raise error
    assert caught.value.exit_code == 3
    said = " ".join(str(error).split())
    assert capsys.readouterr().err == f"Stopped: {said}; what is finished is kept\n"


@pytest.mark.parametrize(
    ("before", "code"), [((), 2), (("skipped", "failed"), 2), (("skipped", "written"), 3)]
)
def test_what_is_refused_after_work_is_a_stop(capsys, before, code):
    def work():
        with job(overwrite=False) as options:
            for status in before:
                options.report(Outcome("one", status))
            raise ValueError("no labels")

    with pytest.raises(typer.Exit) as caught:
        work()
    assert caught.value.exit_code == code
    said = {2: "Error: no labels\n", 3: "Stopped: no labels; what is finished is kept\n"}
    assert capsys.readouterr().err.endswith(said[code])


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug"), typer.Exit(1)])
def test_bugs_are_seen(error):
    with pytest.raises(type(error)) as caught, job(overwrite=False):
        raise error
    assert caught.value is error
