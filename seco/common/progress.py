"""How far a long loop is: a bar on a terminal, in a log (nohup, Slurm) a line now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

EVERY = 60.0
"""Seconds between two lines in a log."""
_LOG = logging.getLogger(__name__)


def follow(
    items: Iterable[T],
    name: str,
    total: int | None = None,
    *,
    bar: bool = False,
    log: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Go through images, and tell how far it is.

    Args:
        items: one per image.
        name: of what is done with them.
        total: how many there are, if that is known.
        bar: show a bar.
        log: log a line a minute and one at the end, which the commands show where there is no
            terminal.
        clock: seconds.

    Example:
        >>> list(follow("ab", "Reading", 2))
        ['a', 'b']
    """
    from tqdm import tqdm

    began = said = clock()
    done = 0
    with tqdm(total=total, desc=name, unit="image", disable=not bar) as shown:
        for item in items:
            yield item
            done += 1
            shown.update()
            if log and done != total and clock() - said >= EVERY:
                said = clock()
                _LOG.info(progress_line(name, done, total, said - began))
    if log and done:
        _LOG.info(progress_line(name, done, total, clock() - began))


def progress_line(
    name: str,
    done: int,
    total: int | None,
    passed: float,
    *,
    before: int = 0,
    failed: int = 0,
) -> str:
    """What a log says.

    Args:
        name: of what is done; may be empty.
        done: images so far.
        total: of how many, if that is known.
        passed: seconds.
        before: of those that are done, how many an earlier run had finished.
        failed: how many could not be used.

    Example:
        >>> progress_line("Refining", 3, 9, 60.0, before=1)
        'Refining: 3 of 9 images, 1 finished before, 01:00 passed, about 03:00 left'
    """
    from tqdm import tqdm

    said = [f"{done} images" if total is None else f"{done} of {total} images"]
    if before:
        said.append(f"{before} finished before")
    if failed:
        said.append(f"{failed} failed")
    said.append(f"{tqdm.format_interval(passed)} passed")
    if total is not None and before < done < total:
        left = passed / (done - before) * (total - done)
        said.append(f"about {tqdm.format_interval(left)} left")
    return (f"{name}: " if name else "") + ", ".join(said)
