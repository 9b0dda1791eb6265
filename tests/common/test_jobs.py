"""Folder jobs: killed, resumed, shared by processes, with bad files, changed inputs, full disks.

The work is fake and takes milliseconds; what is tested is which of it is done, and what remains.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from forked import fork, forking
from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes import statuses
from rendezvous import fork_together

import seco.common.files as files
from seco.common.files import write_bytes
from seco.common.jobs import (
    JobOptions,
    JobStopped,
    Manifest,
    Signature,
    Summary,
    run_job,
    run_share,
)
from seco.common.jobs.journal import read_journal
from seco.common.locks import try_lock
from seco.common.processes import Processes, local_device

MANIFEST = Manifest("upper", {"share": 0.1, "deep": {"a": 1}}, {"sam": "abc"}, {"torch": "2"})


TRUNCATED = b"truncated"


@dataclass(frozen=True)
class File:
    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


@dataclass
class Job:
    """Texts in, the same in capitals and their lengths out; every start of work is written down."""

    here: Path
    manifest: Manifest = MANIFEST
    seconds: float = 0.0

    def items(self) -> list[File]:
        sources = sorted((self.here / "in").rglob("*.txt"))
        names = [path.relative_to(self.here / "in").with_suffix("").as_posix() for path in sources]
        return [
            File(
                name,
                (source,),
                (self.here / "out" / f"{name}.txt", self.here / "lengths" / f"{name}.json"),
            )
            for name, source in zip(names, sources, strict=True)
        ]

    def read(self, item: File) -> bytes:
        text = item.inputs[0].read_bytes()
        if text == TRUNCATED:
            raise ValueError(f"{item.inputs[0]}: expected a whole\n text")
        return text

    def work(self, item: File, text: bytes) -> bytes:
        with open(self.here / "worked", "ab") as log:
            log.write(f"{item.name}\n".encode())
        time.sleep(self.seconds)
        return text.upper()

    def write(self, item: File, text: bytes) -> dict[str, int]:
        write_bytes(item.outputs[1], json.dumps(len(text)).encode())
        write_bytes(item.outputs[0], text)
        return {"length": len(text)}

    def run(self, **options: object) -> Summary:
        return run_job(
            self.items(), self.here / "out", self.manifest,
            read=self.read, work=self.work, write=self.write, options=JobOptions(**options),
        )  # fmt: skip

    def share(self, rank: int, size: int) -> list[str]:
        outcomes = run_share(
            self.items(), self.here / "out", self.manifest, read=self.read, work=self.work,
            write=self.write, options=JobOptions(processes=Processes(rank, size)),
        )  # fmt: skip
        return [outcome.status for outcome in outcomes]

    def worked(self) -> Counter[str]:
        """How often work on each item was begun since this was asked last."""
        log = self.here / "worked"
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return Counter(lines)

    def outputs(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.here).as_posix(): path.read_bytes()
            for folder in ("out", "lengths")
            for path in sorted((self.here / folder).rglob("*"))
            if path.is_file()
            and ".job" not in path.parts
            and path.name not in ("manifest.json", "summary.json")
        }

    def expected(self) -> dict[str, bytes]:
        found = {}
        for item in self.items():
            text = item.inputs[0].read_bytes()
            if text != TRUNCATED:
                found[item.outputs[0].relative_to(self.here).as_posix()] = text.upper()
                found[item.outputs[1].relative_to(self.here).as_posix()] = b"%d" % len(text)
        return found


@pytest.fixture
def job(tmp_path):
    return filled(tmp_path, 6)


def filled(here: Path, number: int) -> Job:
    for index in range(number):
        path = here / "in" / f"part{index % 2}" / f"{index:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"text {index} ".encode() * (index + 1))
    return Job(here)


def test_a_job_is_done_once_and_says_so(job):
    seen = []
    summary = job.run(report=seen.append, start=seen.append)
    assert seen == [6, *summary.outcomes]
    assert statuses(summary) == {"written": 6}
    assert job.outputs() == job.expected()
    assert job.worked() == Counter(item.name for item in job.items())
    again = job.run()
    assert statuses(again) == {"skipped": 6}
    assert again.facts() == summary.facts() == {
        item.name: {"length": item.inputs[0].stat().st_size} for item in job.items()
    }  # fmt: skip
    assert not job.worked()
    said = json.loads((job.here / "out/summary.json").read_text())
    assert said == {
        "job": "upper", "fingerprint": MANIFEST.fingerprint, "processes": 1,
        "written": 0, "skipped": 6, "failed": 0, "failures": {},
    }  # fmt: skip
    assert statuses(job.run(overwrite=True)) == {"written": 6}
    assert sum(job.worked().values()) == 6


def test_bad_items_are_reported_and_the_rest_goes_on(job):
    path = job.items()[2].inputs[0]
    whole = path.read_bytes()
    path.write_bytes(TRUNCATED)
    summary = job.run()
    (bad,) = summary.of("failed")
    assert (bad.name, bad.reason) == (job.items()[2].name, f"{path}: expected a whole text")
    assert [outcome.status for outcome in summary.outcomes].index("failed") == 2
    assert job.outputs() == job.expected()
    said = json.loads((job.here / "out/summary.json").read_text())
    assert (said["written"], said["failures"]) == (5, {bad.name: bad.reason})
    path.write_bytes(whole)
    assert statuses(job.run()) == {"skipped": 5, "written": 1}
    path.write_bytes(TRUNCATED)  # what was made of the whole file is not left to be taken for this
    assert statuses(job.run()) == {"skipped": 5, "failed": 1}
    assert job.outputs() == job.expected()


def test_a_bug_is_no_failure_of_an_item(job):
    job.work = lambda item, text: {}[item.name]
    with pytest.raises(KeyError):
        job.run()


def test_what_became_of_the_files_decides_what_is_done_again(job):
    job.run()
    items = job.items()
    items[0].inputs[0].write_bytes(b"other")  # another content
    items[1].outputs[0].unlink()
    items[2].outputs[1].write_bytes(b"7" * items[2].outputs[1].stat().st_size)
    os.utime(items[3].inputs[0], ns=(1, 1))  # the same content: copied, say
    same = items[4].inputs[0]
    before = same.stat()
    same.write_bytes(same.read_bytes()[::-1])  # of the same size
    assert same.stat().st_mtime_ns != before.st_mtime_ns
    job.worked()
    assert statuses(job.run()) == {"written": 4, "skipped": 2}
    assert set(job.worked()) == {items[index].name for index in (0, 1, 2, 4)}
    assert job.outputs() == job.expected()


def test_a_file_with_another_time_is_read_once_only(job, monkeypatch):
    job.run()
    os.utime(job.items()[0].inputs[0], ns=(1, 1))
    read = []
    original = Signature.of.__func__
    monkeypatch.setattr(
        Signature, "of", classmethod(lambda cls, path: read.append(path) or original(cls, path))
    )
    assert statuses(job.run()) == {"skipped": 6}
    assert read == [job.items()[0].inputs[0]]
    assert statuses(job.run()) == {"skipped": 6}
    assert len(read) == 1


def test_an_input_that_is_gone_is_a_failure(job):
    job.run()
    items = job.items()
    items[1].inputs[0].unlink()
    job.items = lambda: items
    summary = job.run()
    assert [outcome.name for outcome in summary.of("failed")] == [items[1].name]
    assert "No such file" in summary.of("failed")[0].reason


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(MANIFEST, settings={"share": 0.2, "deep": {"a": 1}}),
         "settings.share is 0.2, was 0.1;"),
        (replace(MANIFEST, settings={"share": 0.1, "deep": {"b": 1}}),
         "settings.deep.a is not given, was 1; settings.deep.b is 1, was not given;"),
        (replace(MANIFEST, models={"sam": "abd"}), "models.sam is abd, was abc;"),
        (replace(MANIFEST, versions={"torch": "3"}), "versions.torch is 3, was 2;"),
        (replace(MANIFEST, job="lower"), "job is lower, was upper;"),
    ],
)  # fmt: skip
def test_outputs_made_otherwise_are_never_taken(job, other, said):
    job.run()
    before = job.outputs()
    job.manifest = other
    job.worked()
    with pytest.raises(ValueError, match="its outputs were made otherwise: ") as error:
        job.run()
    assert said in str(error.value)
    assert not job.worked()
    assert statuses(job.run(overwrite=True)) == {"written": 6}
    assert statuses(job.run()) == {"skipped": 6}
    assert job.outputs() == before
    job.manifest = MANIFEST
    with pytest.raises(ValueError, match="made otherwise"):
        job.run()


def test_what_stays_of_other_settings_is_told(job):
    job.run()
    items, other = job.items(), replace(MANIFEST, settings={})
    job.items, job.manifest = lambda: items[:4], other
    with pytest.warns(
        UserWarning, match=r"out: outputs of other settings stay .*: 003.txt and 1 more"
    ):
        assert statuses(job.run(overwrite=True)) == {"written": 4}
    assert statuses(job.run(overwrite=True)) == {"written": 4}  # of these settings now, no warning
    known = read_journal(job.here / "out", other.fingerprint)
    assert [known.is_made_otherwise(item) for item in items] == [False] * 4 + [True] * 2
    job.items, job.manifest = lambda: items, MANIFEST
    job.run(take_over=True)
    known = read_journal(job.here / "out", MANIFEST.fingerprint)
    assert not any(known.is_made_otherwise(item) for item in items)


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError("a disk that comes and goes")])
def test_a_failure_costs_no_output_that_is_right_already(job, error):
    job.run()
    before = job.outputs()
    job.items()[0].inputs[0].write_bytes(b"another text")

    def fail(item: File, text: bytes) -> bytes:
        raise error

    job.work = fail
    summary = job.run(overwrite=True)
    assert statuses(summary) == {"failed": 6}
    gone = {path.relative_to(job.here).as_posix() for path in job.items()[0].outputs}
    assert before.keys() - job.outputs().keys() == gone  # what was made of the former text
    assert job.outputs().items() <= before.items()
    del job.work
    assert statuses(job.run()) == {"skipped": 5, "written": 1}


def test_going_back_and_forth_between_settings_mixes_nothing(job):
    """A run that replaces everything is killed half-way; the first settings come back."""
    job.run()
    other = Job(job.here, replace(MANIFEST, settings={}))
    other.work = lambda item, text: text.title()
    steps = run_share(
        other.items(), job.here / "out", other.manifest, read=other.read, work=other.work,
        write=other.write, options=JobOptions(overwrite=True),
    )  # fmt: skip
    for _ in range(2):
        next(steps)
    steps.close()
    MANIFEST.write(job.here / "out")  # as a run with --overwrite does, killed at once
    assert statuses(job.run())["written"] >= 2
    assert job.outputs() == job.expected()


@pytest.mark.parametrize("content", [None, b"{}", b"[1", b'{"format": 9}'])
def test_outputs_of_unknown_origin_are_refused(job, content):
    job.run()
    path = job.here / "out" / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json|manifest of a job"):
        job.run()
    assert statuses(job.run(overwrite=True)) == {"written": 6}


def test_items_that_would_write_the_same_file_are_refused(job):
    items = job.items()
    for wrong in ([*items, items[0]], [*items, replace(items[0], name="new")]):
        job.items = lambda wrong=wrong: wrong
        with pytest.raises(ValueError, match=r"expected every (name|output) once"):
            job.run()
    assert not (job.here / "out").exists()


def test_two_runs_do_not_work_in_one_folder_at_once(job):
    entered, leave = threading.Event(), threading.Event()

    def wait(item: File, text: bytes) -> bytes:
        entered.set()
        assert leave.wait(20)
        return text.upper()

    job.work = wait
    first = threading.Thread(target=job.run)
    first.start()
    assert entered.wait(20)
    for manifest in (MANIFEST, replace(MANIFEST, settings={})):  # no output is there yet
        for options in ({}, {"overwrite": True}):
            with pytest.raises(ValueError, match="another process is at work here"):
                Job(job.here, manifest).run(**options)
    assert Manifest.read(job.here / "out").fingerprint == MANIFEST.fingerprint
    leave.set()
    first.join()
    assert statuses(Job(job.here).run()) == {"skipped": 6}


def test_a_living_process_of_any_rank_keeps_other_runs_out(job):
    job.run()
    with open(job.here / "out/.job/done-3.jsonl", "ab") as held:
        assert try_lock(held)
        with pytest.raises(ValueError, match="another process is at work here"):
            job.run()
    assert statuses(job.run()) == {"skipped": 6}


def test_the_folder_is_held_until_all_processes_are_done(job):
    tried = []

    class Slow(Processes):
        def gather(self, value):
            if isinstance(value, tuple):
                with pytest.raises(ValueError, match="another process is at work here"):
                    Job(job.here).run()
                tried.append(value)
            return [value]

    job.run(processes=Slow(0, 1))
    assert len(tried) == 1


def test_a_folder_without_outputs_is_taken_over(job):
    wholes = {item.inputs[0]: item.inputs[0].read_bytes() for item in job.items()}
    for path in wholes:
        path.write_bytes(TRUNCATED)
    assert statuses(job.run()) == {"failed": 6}
    job.manifest = replace(MANIFEST, settings={})
    for path, whole in wholes.items():
        path.write_bytes(whole)
    assert statuses(job.run()) == {"written": 6}
    assert Manifest.read(job.here / "out").fingerprint == job.manifest.fingerprint
    # What was made of items that are not given now is not to be mixed either.
    job.manifest, (last,) = MANIFEST, job.items()[-1:]
    job.items = lambda: [last]
    for path in last.outputs:
        path.unlink()
    with pytest.raises(ValueError, match="made otherwise"):
        job.run()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_or_read_only_disk_stops_the_job_and_loses_nothing(job, monkeypatch, code):
    calls = count()
    real = os.fsync

    def fsync(file: int) -> None:
        if next(calls) >= 10:
            raise OSError(code, os.strerror(code))
        real(file)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(JobStopped, match=f"{os.strerror(code)}.* what is finished is kept"):
        job.run()
    monkeypatch.setattr(files.os, "fsync", real)
    kept = job.outputs()
    assert 0 < len(kept) < len(job.expected())
    assert kept.items() <= job.expected().items()
    assert not list(job.here.rglob("*.tmp"))
    summary = job.run()
    assert summary.of("skipped")
    assert job.outputs() == job.expected()


def test_a_place_that_cannot_be_written_is_refused_before_the_work(job):
    (job.here / "out").write_bytes(b"a file")
    with pytest.raises(OSError, match="out"):
        job.run()
    assert not job.worked()


def test_an_output_that_cannot_be_written_fails_its_item(job):
    job.items()[0].outputs[1].parent.parent.mkdir()
    job.items()[0].outputs[1].parent.write_bytes(b"a file where a folder is needed")
    assert statuses(job.run()) == {"failed": 3, "written": 3}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_processes_do_every_item_exactly_once(job, size):
    for rank in reversed(range(size)):
        assert set(job.share(rank, size)) <= {"written"}
    assert job.worked() == Counter(item.name for item in job.items())
    assert job.outputs() == job.expected()


def test_another_number_of_processes_goes_on(job):
    assert job.share(1, 3) == ["written"] * 2
    assert sorted(job.share(0, 2)) == ["skipped", "written", "written"]
    assert Counter(job.share(0, 1)) == {"skipped": 4, "written": 2}
    assert job.worked() == Counter(item.name for item in job.items())
    assert job.outputs() == job.expected()


def test_a_torn_line_counts_for_nothing_and_spoils_no_other(job):
    job.run()
    (journal,) = (job.here / "out/.job").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])
    assert statuses(job.run()) == {"skipped": 3, "written": 3}
    assert statuses(job.run()) == {"skipped": 6}


RUNS = st.tuples(
    st.just("run"), st.integers(0, 2), st.integers(1, 3), st.integers(0, 5), st.booleans()
)


CHANGES = st.tuples(
    st.sampled_from(["replace", "touch", "lose an output", "spoil an output", "tear"]),
    st.integers(0, 3),
)


@settings(max_examples=20)
@given(st.lists(st.one_of(RUNS, CHANGES), max_size=8))
def test_whatever_happens_the_next_run_puts_it_right(tmp_path_factory, happenings):
    """Runs that end early, of any number of processes and two settings, between any changes."""
    job = filled(tmp_path_factory.mktemp("job"), 4)
    for number, (what, which, *more) in enumerate(happenings):
        item = job.items()[which % 4]
        if what == "run":
            size, steps, other = more
            manifest = replace(MANIFEST, settings={}) if other else MANIFEST
            outcomes = run_share(
                job.items(), job.here / "out", manifest, read=job.read,
                work=lambda one, text, other=other: text.title() if other else text.upper(),
                write=job.write,
                options=JobOptions(overwrite=True, processes=Processes(which % size, size))
                if steps % 2
                else JobOptions(processes=Processes(which % size, size)),
            )  # fmt: skip
            with suppress(ValueError):  # outputs made otherwise
                for _ in zip(range(steps), outcomes, strict=False):
                    pass
            outcomes.close()
        elif what == "replace":
            item.inputs[0].write_bytes(b"new %d" % number)
        elif what == "touch":
            os.utime(item.inputs[0], ns=(number, number))
        elif what == "tear":
            for journal in (job.here / "out").glob(".job/*.jsonl"):
                os.truncate(journal, journal.stat().st_size * which // 4)
        elif item.outputs[0].exists():
            spoil = what == "spoil an output"
            item.outputs[0].write_bytes(b"x") if spoil else item.outputs[0].unlink()
    try:
        job.run()
    except ValueError:
        job.run(overwrite=True)
    assert job.outputs() == job.expected()
    assert statuses(job.run()) == {"skipped": 4}


@forking
@pytest.mark.parametrize("processes", [1, 2])
def test_kills_lose_nothing_and_leave_nothing(tmp_path, processes):
    job = filled(tmp_path, 40)
    job.seconds = 0.003
    rng = np.random.default_rng(processes)
    for _ in range(6):
        children = [fork(lambda rank=rank: job.share(rank, processes)) for rank in range(processes)]
        time.sleep(rng.uniform(0.0, 0.08))
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        whole = {path: data for path, data in job.outputs().items() if not path.endswith(".tmp")}
        assert whole.items() <= job.expected().items()
    before = sum(job.worked().values())
    children = [fork(lambda rank=rank: job.share(rank, processes)) for rank in range(processes)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * processes
    # At most what was on its way between reading and the journal is done twice.
    assert before + sum(job.worked().values()) <= 40 + 6 * processes * 12
    assert job.outputs() == job.expected()
    assert not list(tmp_path.rglob("*.tmp"))
    assert statuses(job.run()) == {"skipped": 40}


@forking
def test_processes_meet_and_report_together(job, monkeypatch):
    """Two processes as torchrun starts them; the one with a bad file does not end before."""
    job.items()[0].inputs[0].write_bytes(TRUNCATED)

    def run(rank: int) -> None:
        processes = Processes.join()
        assert processes == Processes(rank, 2)
        assert local_device("cuda") == f"cuda:{rank}"
        time.sleep(0.2 * (1 - rank))  # the other one is no other run, however early
        summary = job.run(processes=processes)
        assert statuses(summary) == {"failed": 1, "written": 5}
        assert [one.name for one in summary.outcomes] == [item.name for item in job.items()]

    assert fork_together(run) == [0, 0]
    said = json.loads((job.here / "out/summary.json").read_text())
    assert (said["processes"], said["written"], said["failed"]) == (2, 5, 1)
    assert said["times"]["items"] == 6


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert Processes.join() == Processes()
    assert local_device("cuda") == "cuda"


@pytest.mark.parametrize("ahead", [1, 3])
def test_so_many_items_are_read_ahead(tmp_path, ahead):
    (tmp_path / "in").mkdir()
    for name in "abcdefgh":
        (tmp_path / "in" / f"{name}.txt").write_text(name)
    read: list[str] = []
    enough = threading.Event()

    class Slow(Job):
        def read(self, item: File) -> bytes:
            read.append(item.name)
            if len(read) == ahead:
                enough.set()
            return super().read(item)

        def work(self, item: File, text: bytes) -> bytes:
            if item.name == "a":  # while it is worked on, as many are read as may be, and no more
                assert enough.wait(10)
                time.sleep(0.05)
                assert len(read) == ahead
            return super().work(item, text)

    assert len(Slow(tmp_path).run(ahead=ahead).of("written")) == 8
    with pytest.raises(ValueError, match="ahead: expected an integer >= 1"):
        JobOptions(ahead=0)
