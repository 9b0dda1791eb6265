"""Reading, working and writing at once: their order, how far ahead, and errors."""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from itertools import count

import numpy as np
import pytest

from seco.common.jobs import (
    overlap,
)


def test_steps_overlap_and_keep_their_order():
    """Work on an item waits until the next one is read, writing until the next is worked on."""
    read = [threading.Event() for _ in range(8)]
    begun = [threading.Event() for _ in range(8)]

    def work(index: int, _: object) -> int:
        begun[index].set()
        assert index == 7 or read[index + 1].wait(20)
        return -index

    def write(index: int, result: int) -> int:
        assert index == 7 or begun[index + 1].wait(20)
        return result

    steps = overlap(range(8), lambda index: read[index].set(), work, write)
    assert [(index, future.result()) for index, future in steps] == [(i, -i) for i in range(8)]


def test_no_more_is_read_ahead_than_asked_for():
    begun, worked = [], []

    def work(index: int, _: object) -> None:
        time.sleep(0.002)
        assert max(begun) <= index + 3
        worked.append(index)

    for _, future in overlap(range(20), begun.append, work, lambda i, done: None, ahead=3):
        future.result()
    assert worked == list(range(20))


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_error_in_a_step_is_that_items_alone(step):
    def fail_at(name: str, index: int) -> int:
        if step == name and index == 2:
            raise ValueError(name)
        return index

    results = list(
        overlap(
            range(5),
            lambda i: fail_at("read", i),
            lambda i, _: fail_at("work", i),
            lambda i, _: fail_at("write", i),
        )
    )
    assert [index for index, _ in results] == list(range(5))
    assert [str(future.exception()) for _, future in results] == [
        "None", "None", step, "None", "None",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_a_failed_item_holds_no_variables(step):
    """Those of a forward pass are gigabytes; the next item needs the room."""
    held: list[weakref.ref[np.ndarray]] = []

    def fail_at(name: str, index: int) -> int:
        if step == name and index == 0:
            activations, because = np.ones(3), np.ones(3)
            held.extend([weakref.ref(activations), weakref.ref(because)])
            try:
                raise MemoryError(because.sum())
            except MemoryError as error:
                del because
                raise ValueError("too large") from error
        return index

    alive = []

    def work(index: int, _: object) -> int:
        alive.append([one() is not None for one in held])
        return fail_at("work", index)

    kept = list(
        overlap(range(4), lambda i: fail_at("read", i), work, lambda i, _: fail_at("write", i))
    )
    error = kept[0][1].exception()
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, MemoryError)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "fail_at"
    assert [one() for one in held] == [None, None]
    if step != "write":  # which is still going on meanwhile
        assert alive[-1] == [False, False]


def test_a_caller_that_stops_early_ends_the_threads():
    before = threading.active_count()
    written = []
    steps = overlap(count(), lambda i: i, lambda i, _: i, lambda i, _: written.append(i))
    next(steps)
    steps.close()
    assert threading.active_count() == before
    assert 1 <= len(written) < 10
