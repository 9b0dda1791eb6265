"""Locks on open files, which the system gives back when their process ends, however it ends."""

from __future__ import annotations

import sys
from typing import IO

if sys.platform == "win32":

    def try_lock(file: IO[bytes]) -> bool | None:
        """As below; files are never locked here."""
        return None

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool | None:
        """Lock an open file until it is closed or its process ends, be it by ``kill -9``.

        Returns:
            True if it is locked now, False if somebody else holds the lock, ``None`` if the
            system or the file system has no locks.

        Example:
            >>> import tempfile
            >>> with tempfile.NamedTemporaryFile() as mine, open(mine.name, "rb") as other:
            ...     try_lock(mine), try_lock(other)
            (True, False)
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
