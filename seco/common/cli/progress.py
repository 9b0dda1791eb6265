"""Progress of a job, phase by phase."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from tqdm import tqdm

from seco.common.jobs import Outcome
from seco.common.progress import EVERY, progress_line


@dataclass
class Phase:
    """What a job is at; a command of several phases changes it between them.

    Args:
        name: what to call it.
        resumes: whether what it reports as skipped was finished by an earlier run.
    """

    name: str = ""
    resumes: bool = False


class Progress:
    """How far a phase is, on standard error.

    Args:
        phase: what is begun next.
        shown: say nothing if not, as in all processes but one.
        clock: seconds.
    """

    def __init__(
        self, phase: Phase, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._phase, self._shown, self._clock = phase, shown, clock
        self._total, self._name, self._resumes = 0, "", False
        self._counts: Counter[str] = Counter()
        self._began = self._said = 0.0
        self.bar: Any = None

    def start(self, count: int) -> None:
        """Begin a phase of so many items."""
        self.close()
        self._total, self._counts = count, Counter()
        self._name, self._resumes = self._phase.name, self._phase.resumes
        self._began = self._said = self._clock()
        if self._shown and count and sys.stderr.isatty():
            self.bar = tqdm(total=count, desc=self._name or None, unit="image")

    def report(self, outcome: Outcome) -> None:
        """Count one outcome; of files that make no item, which come before a phase, not."""
        if not self._shown or self._counts.total() == self._total:
            return
        before = self._resumes and outcome.status == "skipped"
        self._counts["before" if before else outcome.status] += 1
        over = self._counts.total() == self._total
        if self.bar is not None:
            if before:  # took no time, and says nothing about how long the rest will take
                self.bar.n += 1
                self.bar.initial += 1
                self.bar.last_print_n += 1
            self.bar.update(0 if before else 1)
            if over:
                self.close()
        elif over or self._clock() - self._said >= EVERY:
            self._said = self._clock()
            line = progress_line(
                self._name,
                self._counts.total(),
                self._total,
                self._said - self._began,
                before=self._counts["before"],
                failed=self._counts["failed"],
            )
            typer.echo(line, err=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@contextmanager
def library_log(*, shown: bool) -> Iterator[None]:
    """Show what the library logs, such as the steps of a training, where there is no terminal."""
    if not shown or sys.stderr.isatty():
        yield
        return
    logs = [logging.getLogger(package) for package in ("seco", "sgg")]
    handler, levels = logging.StreamHandler(sys.stderr), [log.level for log in logs]
    for log in logs:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)
