"""Where errors came from that are told in one line: at the level DEBUG of the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOG = logging.getLogger(__name__)


def note_traceback(error: BaseException) -> None:
    """Log the lines of code that an error went through.

    Args:
        error: that is told by its message alone.
    """
    _LOG.debug("Traceback of: %s", error, exc_info=error)


@contextmanager
def shown_tracebacks() -> Iterator[None]:
    """Show on stderr what :func:`note_traceback` logs."""
    handler, level, upwards = logging.StreamHandler(sys.stderr), _LOG.level, _LOG.propagate
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.DEBUG)
    _LOG.propagate = False  # a command shows its log on stderr as well
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)
        _LOG.propagate = upwards
