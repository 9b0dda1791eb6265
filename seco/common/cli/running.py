"""How a command runs: its device, its progress, what is said, exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from seco.common.cli.progress import Phase, Progress, library_log
from seco.common.jobs import JobOptions, JobStopped, Outcome, Summary
from seco.common.jobs.run import failure, is_about_file, stopped_when_full
from seco.common.processes import Processes, local_device
from seco.common.tracebacks import note_traceback


def stop(message: str) -> NoReturn:
    """Say why nothing was done; exit code 2, as for a wrong option."""
    error = sys.exc_info()[1]
    if error is not None:
        note_traceback(error)
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)


@contextmanager
def refused() -> Iterator[None]:
    """End the command with exit code 2 and the reason where its options cannot work."""
    try:
        yield
    except (OSError, TypeError, ValueError, ModuleNotFoundError) as error:
        stop(str(error))
    except (RuntimeError, AssertionError) as error:  # torch's about a device that is not there
        if isinstance(error, typer.Exit):
            raise
        stop(str(error))


def place_for_json(file: Path | None) -> None:
    """Make the folder of a ``--json`` file, before hours of measuring and not after them.

    Raises:
        ValueError: it is a folder.
        OSError: its folder cannot be made.
    """
    if file is None:
        return
    if file.is_dir():
        raise ValueError(f"--json: expected a file, got the folder {file}")
    file.parent.mkdir(parents=True, exist_ok=True)


def device_named(device: str | None) -> str:
    """The device of ``--device``: ``cuda`` if there is one, and under ``torchrun`` one's own."""
    import torch

    return local_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def job(*, overwrite: bool, phase: Phase | None = None) -> Iterator[JobOptions]:
    """Show a job's progress and failures, and end the command where the job cannot go on.

    Exit code 2 if it was refused before anything was done, 3 if it had to stop on the way: nothing
    more can be written, a training is too large for the memory or overflows, or a stage cannot
    work with what the stages before it have written.
    Under ``torchrun`` the processes meet here, and the first one shows its share's progress.

    Args:
        overwrite: see :class:`seco.common.jobs.JobOptions`.
        phase: what the job is at, to be shown with its progress.
    """
    from tqdm import tqdm

    processes = Processes.join()
    progress = Progress(phase or Phase(), shown=processes.first)
    written = False

    def report(outcome: Outcome) -> None:
        nonlocal written
        written = written or outcome.status == "written"
        if outcome.status == "failed":
            tqdm.write(f"failed: {outcome.name}: {outcome.reason}", file=sys.stderr)
        progress.report(outcome)

    try:
        with stopped_when_full("the results"):
            try:
                with library_log(shown=processes.first), plain_warnings():
                    yield JobOptions(
                        overwrite=overwrite,
                        processes=processes,
                        report=report,
                        start=progress.start,
                    )
            finally:
                progress.close()
            # torchrun ends all processes once one has failed: not before the first has written.
            processes.gather(None)
    except JobStopped as error:
        typer.echo(f"Stopped: {error}", err=True)
        raise typer.Exit(3) from error
    except (FloatingPointError, MemoryError, RuntimeError) as error:
        if not is_about_file(error):  # a bug, or an exit
            raise
        _stopped(error)
    except (OSError, TypeError, ValueError) as error:
        if written:
            _stopped(error)
        stop(str(error))


def _stopped(error: Exception) -> NoReturn:
    """Say why a job went no further; exit code 3."""
    typer.echo(f"Stopped: {failure('', error).reason}; what is finished is kept", err=True)
    raise typer.Exit(3) from error


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings as they read, without the line of the library that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *where, **line: f"Warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def conclude(summary: Summary, done: str, out: Path, options: JobOptions) -> None:
    """Say what became of the files; exit code 1 if one of them failed."""
    skipped = summary.of("skipped")
    failed = len(summary.of("failed"))
    if options.processes.first:
        why = " that were finished before (--overwrite makes them anew)" if skipped else ""
        typer.echo(
            f"{len(summary.of('written'))} {done}, {len(skipped)} skipped{why}, {failed} failed; "
            f"results in {out}"
        )
        if summary.times is not None:
            typer.echo(summary.times.line())
    if failed:
        raise typer.Exit(1)
