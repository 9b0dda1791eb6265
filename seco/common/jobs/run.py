"""A folder job from its start to its summary."""

from __future__ import annotations

import errno
import json
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from seco.common.checks import check_integer
from seco.common.device_time import DeviceTime
from seco.common.files import remove_leftovers, write_bytes
from seco.common.jobs.journal import (
    HIDDEN,
    Item,
    Journal,
    Signature,
    hold_folder,
    open_journal,
)
from seco.common.jobs.manifest import (
    SUMMARY,
    Manifest,
    check_folder,
    claim_folder,
    left_as_they_were,
)
from seco.common.jobs.overlap import overlap
from seco.common.jobs.times import Times
from seco.common.processes import ALONE, Processes
from seco.common.tracebacks import note_traceback

Unit = TypeVar("Unit", bound=Item)
Read = TypeVar("Read")
Result = TypeVar("Result")

# What a bad file, one too large for the memory, or one on which the model overflows raises;
# anything else is a bug and shall be seen.
_FILE_ERRORS = (OSError, TypeError, ValueError, FloatingPointError)
# Out of the CPU's memory, torch raises a plain RuntimeError.
_CPU_MEMORY = re.compile(r"DefaultCPUAllocator|allocate memory")
# After these, writing anything else fails as well.
_NO_MORE_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class JobStopped(RuntimeError):
    """Nothing more can be written, as when the disk is full; what is finished is kept."""


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Args:
        name: of the item, or of a file that makes none.
        status: ``"written"``, ``"skipped"`` (it was finished before) or ``"failed"``.
        reason: of a failure, one line.
        facts: what the job said about a written or skipped item.
    """

    name: str
    status: Literal["written", "skipped", "failed"]
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What became of all items of a job, in all processes.

    Args:
        outcomes: in the order of the items, after those of files that make none.
        times: where the time went, of all processes together, if items were worked on.
    """

    outcomes: tuple[Outcome, ...]
    times: Times | None = field(default=None, compare=False)

    def of(self, status: Literal["written", "skipped", "failed"]) -> list[Outcome]:
        """The outcomes with this status."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """What is known of every finished item, by its name."""
        return {one.name: one.facts for one in self.outcomes if one.status != "failed"}


@dataclass(frozen=True)
class JobOptions:
    """How a job is run; none of it changes an output.

    Args:
        overwrite: make every output anew and take the folder over, whatever it holds.
        processes: who shares the items.
        report: called with every outcome of this process, as it comes.
        start: called once with the number of this process's items.
        take_over: take the folder over, whatever it holds, and make anew what was made otherwise;
            what was made as now, of the same inputs, stays.
        ahead: items that are read and wait for their turn, at most, and results that wait to be
            written; bounds memory.

    Raises:
        TypeError, ValueError: ``ahead`` is no integer, or less than 1.
    """

    overwrite: bool = False
    processes: Processes = ALONE
    report: Callable[[Outcome], None] = lambda outcome: None
    start: Callable[[int], None] = lambda count: None
    take_over: bool = False
    ahead: int = 4

    def __post_init__(self) -> None:
        check_integer("ahead", self.ahead, low=1)


def run_job(
    items: Sequence[Unit],
    folder: Path,
    manifest: Manifest,
    *,
    read: Callable[[Unit], Read],
    work: Callable[[Unit, Read], Result],
    write: Callable[[Unit, Result], Mapping[str, Any]],
    failures: Sequence[Outcome] = (),
    options: JobOptions = JobOptions(),
) -> Summary:
    """Do what is not done yet; whatever ends a run, the next one goes on.

    Every process takes its share of the items; reading, working and writing overlap. An item that
    cannot be read, worked on or written is reported, leaves no outputs but those that an earlier
    run made of the same inputs in the same way, and the rest goes on. In ``folder`` remain
    ``manifest.json`` (what the outputs were made with), ``summary.json`` (counts and failures of
    all processes, written at the end) and ``.job`` (what is finished, see
    :mod:`seco.common.jobs.journal`).

    Args:
        items: what to do, the same in every process.
        folder: home of the job; its outputs lie in it or beside it.
        manifest: all that decides how outputs look, besides the inputs.
        read: an item's inputs, in a thread.
        work: on what was read; here alone models run.
        write: the item's outputs, each with :func:`seco.common.files.write_bytes`, in a thread;
            returns facts about the item that JSON holds (``{}`` if there are none).
        failures: of files that make no item; they are in the summary and reported first.
        options: see :class:`JobOptions`.

    Raises:
        ValueError: the folder holds outputs that were made otherwise, another process is at work
            in it, or two items have a name or an output in common.
        OSError: the folder cannot be written.
        JobStopped: the disk is full or read-only.
        Exception: a bug in ``read``, ``work`` or ``write``.

    Warns:
        UserWarning: a folder of other settings is taken over, and outputs stay there that are not
            among those of this job.

    Example:
        >>> import tempfile
        >>> from collections import namedtuple
        >>> File = namedtuple("File", "name inputs outputs")
        >>> with tempfile.TemporaryDirectory() as here:
        ...     source, out = Path(here, "a.txt"), Path(here, "out")
        ...     _ = source.write_bytes(b"text")
        ...     def write(item, text):
        ...         write_bytes(item.outputs[0], text)
        ...         return {"length": len(text)}
        ...     for _ in range(2):
        ...         summary = run_job(
        ...             [File("a", [source], [out / "a.txt"])], out, Manifest("upper"),
        ...             read=lambda item: item.inputs[0].read_bytes(),
        ...             work=lambda item, text: text.upper(), write=write,
        ...         )
        ...         print(summary.outcomes[0].status, summary.outcomes[0].facts)
        written {'length': 4}
        skipped {'length': 4}
    """
    processes = options.processes
    outputs = _outputs_of(items)
    if not (options.overwrite or options.take_over):
        check_folder(folder, manifest, outputs)  # before anything is written there
    rest = left_as_they_were(folder, manifest, outputs) if processes.first else []
    with hold_folder(folder, processes):
        if rest:
            warnings.warn(
                f"{folder}: outputs of other settings stay there beside those of this run: "
                f"{rest[0].name}{f' and {len(rest) - 1} more' if rest[1:] else ''}",
                stacklevel=2,
            )
        for outcome in failures if processes.first else ():
            options.report(outcome)
        own, times = [], Times()
        for outcome in run_share(
            items, folder, manifest, read=read, work=work, write=write, options=options, times=times
        ):
            options.report(outcome)
            own.append(outcome)
        place = {item.name: index for index, item in enumerate(items)}
        shares = processes.gather((own, times))
        done = [outcome for share, _ in shares for outcome in share]
        done.sort(key=lambda outcome: place[outcome.name])
        total = Times.total([spent for _, spent in shares])
        summary = Summary((*failures, *done), total if total.items else None)
        if processes.first:
            write_summary(summary, folder, manifest, processes.count)
    return summary


def run_share(
    items: Sequence[Unit],
    folder: Path,
    manifest: Manifest,
    *,
    read: Callable[[Unit], Read],
    work: Callable[[Unit, Read], Result],
    write: Callable[[Unit, Result], Mapping[str, Any]],
    options: JobOptions = JobOptions(),
    times: Times | None = None,
) -> Generator[Outcome, None, None]:
    """This process's part of :func:`run_job`, which has the same arguments and errors.

    :func:`run_job` holds the folder meanwhile; called alone, this keeps no other run out. Where
    the time went is added to ``times``.

    Yields:
        The outcome of each item, in their order; those that are finished already come first.
    """
    outputs = _outputs_of(items)
    claim_folder(folder, manifest, outputs, overwrite=options.overwrite or options.take_over)
    with open_journal(folder, manifest.fingerprint, options.processes.rank) as journal:
        folders = {folder, folder / HIDDEN, *(path.parent for path in outputs)}
        for place in folders:
            remove_leftovers(place)
        waiting, finished = [], []
        for item in options.processes.share(list(items)):
            entry = None if options.overwrite else journal.finished(item)
            if entry is None:
                waiting.append(item)
            else:
                finished.append(Outcome(item.name, "skipped", facts=entry.facts))
        options.start(len(waiting) + len(finished))
        yield from finished
        if not waiting:
            return
        times, meter = Times() if times is None else times, DeviceTime()
        times.items += len(waiting)

        def read_signed(item: Unit) -> tuple[tuple[Signature, ...], Read]:
            return tuple(Signature.of(path) for path in item.inputs), read(item)

        def work_signed(
            item: Unit, given: tuple[tuple[Signature, ...], Read]
        ) -> tuple[tuple[Signature, ...], Result]:
            with meter.measuring():
                return given[0], work(item, given[1])

        def write_signed(
            item: Unit, given: tuple[tuple[Signature, ...], Result]
        ) -> Mapping[str, Any]:
            with stopped_when_full(item.name):
                for path in item.outputs:
                    path.parent.mkdir(parents=True, exist_ok=True)
                facts = write(item, given[1])
                journal.record(item, given[0], facts)
            return facts

        with (
            times.spending("wall"),
            closing(
                overlap(
                    waiting,
                    read_signed,
                    work_signed,
                    write_signed,
                    ahead=options.ahead,
                    times=times,
                )
            ) as steps,
        ):
            for item, future in steps:
                error = future.exception()
                if error is None:
                    yield Outcome(item.name, "written", facts=future.result())
                elif is_about_file(error):
                    _remove_stale(item, journal)
                    yield failure(item.name, error)
                else:
                    raise error
            times.models += meter.seconds()


def _remove_stale(item: Item, journal: Journal) -> None:
    """Remove the outputs of a failed item, unless an earlier run made them as this one would have.

    What was made of other inputs, or otherwise, would be taken for this run's.
    """
    with suppress(OSError):
        if journal.finished(item) is not None:  # made anew, without need, on an occupied GPU
            return
    for path in item.outputs:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def stopped_when_full(name: str) -> Iterator[None]:
    """Raise :class:`JobStopped` where writing fails as all further writing would."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_MORE_WRITING:
            mended = "it can be written" if error.errno == errno.EROFS else "there is room"
            raise JobStopped(
                f"{error}, while writing {name}; what is finished is kept: start again once "
                f"{mended}, and only the rest is done"
            ) from error
        raise


def is_about_file(error: BaseException) -> bool:
    """Whether an error says that a file is bad or too large, and not that the code is."""
    return is_out_of_memory(error) or isinstance(error, _FILE_ERRORS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, a GPU's or the CPU's, is too small."""
    if isinstance(error, RuntimeError) and _CPU_MEMORY.search(str(error)) is not None:
        return True
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))


def failure(name: str, error: BaseException) -> Outcome:
    """The outcome of an item that raised an error; where that came from is logged."""
    note_traceback(error)
    reason = str(error) or type(error).__name__
    return Outcome(name, "failed", " ".join(reason.split()))


def _outputs_of(items: Sequence[Item]) -> list[Path]:
    """Every file that a job writes.

    Raises:
        ValueError: two items have a name or an output in common.
    """
    outputs = [path for item in items for path in item.outputs]
    _check_unique("name", [item.name for item in items])
    _check_unique("output", outputs)
    return outputs


def _check_unique(what: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        counts: dict[object, int] = {}
        for value in values:
            counts[value] = counts.get(value, 0) + 1
        twice = next(value for value, count in counts.items() if count > 1)
        raise ValueError(f"items: expected every {what} once, got {twice} more than once")


def write_summary(summary: Summary, folder: Path, manifest: Manifest, processes: int) -> None:
    """Write counts, failures and where the time went as the folder's ``summary.json``."""
    statuses: tuple[Literal["written", "skipped", "failed"], ...] = ("written", "skipped", "failed")
    said: dict[str, Any] = {
        "job": manifest.job,
        "fingerprint": manifest.fingerprint,
        "processes": processes,
    }
    said |= {status: len(summary.of(status)) for status in statuses}
    said["failures"] = {outcome.name: outcome.reason for outcome in summary.of("failed")}
    if summary.times is not None:
        said["times"] = summary.times.describe()
    write_bytes(folder / SUMMARY, (json.dumps(said, indent=1) + "\n").encode())
