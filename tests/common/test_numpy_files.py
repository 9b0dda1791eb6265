from __future__ import annotations

import gc
import io
import pickle
import sys
import threading
from unittest import mock

import numpy as np
import pytest

from seco.common.files import read_confidence
from seco.common.numpy_files import load_numpy


def saved(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def threads_change_often():
    """Python's parser is left in the middle, too: by its garbage collector."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


class Finalised:
    def __init__(self) -> None:
        self.me = self  # for the garbage collector

    def __del__(self) -> None:
        sum(range(50))


def test_threads_read_at_once(threads_change_often):
    arrays = {"a": np.arange(6), "b": np.zeros((3, 4), np.float32)}
    content, wrong = saved(**arrays), []

    def read() -> None:
        for _ in range(300):
            Finalised()
            try:
                found = load_numpy(content)
                assert all(np.array_equal(found[name], one) for name, one in arrays.items())
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_that_stays_is_raised():
    with (
        mock.patch("numpy.load", side_effect=SystemError("always")),
        pytest.raises(SystemError, match="always"),
    ):
        load_numpy(b"\x93NUMPY")


def test_one_that_passes_is_not():
    error = SystemError("AST constructor recursion depth mismatch (before=27, after=26)")
    with mock.patch("numpy.load", side_effect=[error, error, np.arange(3)]):
        assert load_numpy(b"\x93NUMPY").tolist() == [0, 1, 2]


def test_nobody_is_told_to_unpickle():
    for content in (b"", b"junk", pickle.dumps([1]), saved(a=np.zeros(2))[4:]):
        with pytest.raises(ValueError, match="file of numpy expected, got") as said:
            load_numpy(content)
        assert "pickle" not in str(said.value)


def test_arrays_by_name_are_no_confidence(tmp_path):
    (tmp_path / "a.npy").write_bytes(saved(a=np.zeros((2, 2))))
    with pytest.raises(ValueError, match=r"a\.npy: expected a readable \.npy file, got an \.npz"):
        read_confidence(tmp_path / "a.npy")
