"""Read the next item, work on the current one and write the previous one at the same time."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from seco.common.jobs.times import Times

T = TypeVar("T")
Read = TypeVar("Read")
Result = TypeVar("Result")
Written = TypeVar("Written")


def overlap(
    items: Iterable[T],
    read: Callable[[T], Read],
    work: Callable[[T, Read], Result],
    write: Callable[[T, Result], Written],
    *,
    readers: int = 2,
    ahead: int = 4,
    times: Times | None = None,
) -> Generator[tuple[T, Future[Written]], None, None]:
    """Take items through three steps that overlap, and give them back in their order.

    Args:
        items: what to do; taken one by one.
        read: in threads of its own, before the item's turn.
        work: in the caller's thread, one item at a time.
        write: in one thread of its own, in order.
        readers: threads that read.
        ahead: so many items at most are read and wait for work, and so many wait to be written:
            a bound of the memory.
        times: to which waiting for reading and writing is added.

    Yields:
        Every item with a finished future: what ``write`` gave, or the exception of the first step
        that raised one. Its traceback says where, but holds no variables: what failed for want of
        memory shall not keep it. If the caller stops early, what is running is waited for and the
        rest is left.

    Example:
        >>> steps = overlap("ab", str.upper, lambda item, read: item + read, lambda _, done: done)
        >>> [future.result() for _, future in steps]
        ['aA', 'bB']
    """
    reading = ThreadPoolExecutor(readers, thread_name_prefix="read")
    writing = ThreadPoolExecutor(1, thread_name_prefix="write")
    upcoming = iter(items)
    times = Times() if times is None else times
    reads: deque[tuple[T, Future[Read]]] = deque()
    writes: deque[tuple[T, Future[Written]]] = deque()

    def refill() -> None:
        for item in upcoming:
            reads.append((item, reading.submit(read, item)))
            if len(reads) == ahead:
                return

    try:
        refill()
        while reads:
            item, loaded = reads.popleft()
            with times.spending("reading"):
                wait([loaded])
            try:
                result = work(item, loaded.result())
            except Exception as error:
                _forget_variables(error)
                failed: Future[Written] = Future()
                failed.set_exception(error)
                writes.append((item, failed))
                del failed
            else:
                writes.append((item, writing.submit(write, item, result)))
                del result
            del loaded
            refill()
            while writes and (len(writes) > ahead or writes[0][1].done()):
                yield _settled(writes, times)
        while writes:
            yield _settled(writes, times)
    finally:
        reading.shutdown(cancel_futures=True)
        writing.shutdown(cancel_futures=True)


def _settled(waiting: deque[tuple[T, Future[Written]]], times: Times) -> tuple[T, Future[Written]]:
    item, future = waiting.popleft()
    with times.spending("writing"):
        error = future.exception()  # waits, and raises nothing
    if error is not None:
        _forget_variables(error)
    return item, future


def _forget_variables(error: BaseException) -> None:
    """Free what the frames of an error hold, and those of the errors it came from."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            chain += [one.__cause__, one.__context__]
