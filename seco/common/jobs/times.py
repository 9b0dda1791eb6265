"""Where the time of a job goes: what a user would have to make faster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Literal


@dataclass
class Times:
    """Seconds of a process, or of all of them together.

    Args:
        items: that were worked on.
        processes: that worked.
        wall: from the first item to the last.
        models: of it models computed: a SAM, another frozen network, the steps of a translation.
        reading: the work stood still, for its input was not read yet.
        writing: the work stood still, for too many results waited to be written; and at the end.
    """

    items: int = 0
    processes: int = 1
    wall: float = 0.0
    models: float = 0.0
    reading: float = 0.0
    writing: float = 0.0

    @contextmanager
    def spending(self, on: Literal["wall", "reading", "writing"]) -> Iterator[None]:
        """Add the time in here.

        Example:
            >>> times = Times()
            >>> with times.spending("reading"):
            ...     time.sleep(0.01)
            >>> times.reading >= 0.01
            True
        """
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, on, getattr(self, on) + time.perf_counter() - began)

    @classmethod
    def total(cls, parts: Sequence[Times]) -> Times:
        """Those of all processes together, as far as they had something to do."""
        worked = [astuple(part) for part in parts if part.items]
        return cls(*map(sum, zip(*worked, strict=True)))

    def describe(self) -> dict[str, float]:
        """For a file: seconds by the clock, and as shares of them what they went to."""
        shares = {"models": self.models, "reading": self.reading, "writing": self.writing}
        said = {name: round(part / self.wall, 3) for name, part in shares.items()}
        return {"items": self.items, "seconds": round(self.wall / self.processes, 3), **said}

    def line(self) -> str:
        """For people.

        Example:
            >>> Times(items=20, wall=10.0, models=7.5, reading=1.0).line()
            '2.0 items a second; models computed 75 % of the time, 10 % went by waiting for \
files to be read, 0 % to be written'
        """
        models, reading, writing = (
            f"{part / self.wall:.0%}".replace("%", " %")
            for part in (self.models, self.reading, self.writing)
        )
        computed = f"models computed {models} of the time, " if self.models else ""
        pace = self.items * self.processes / self.wall
        said = f"{pace:.1f} items a second" if pace >= 1 else f"{1 / pace:.1f} seconds an item"
        return (
            f"{said}; {computed}{reading} went by waiting for files to be read, "
            f"{writing} to be written"
        )
