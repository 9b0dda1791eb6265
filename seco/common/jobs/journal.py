"""How a finished file is recognised.

A file is finished if a line in a journal says so and every file that the line names is still what
it was: the same inputs, the same outputs. The journals are ``.job/done-<rank>.jsonl`` in the
output folder, one per process, so that no two write to the same one. A line is appended once all
outputs of a file are in their places; a kill before that means that the file is done again, which
gives the same outputs. Torn lines, and lines of runs with other settings, do not count.

"Still what it was" is decided as git does it: size and time of change are the same, or else the
content is (SHA-256). So a replaced label is noticed, and a copied data set is not done again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from seco.common.locks import try_lock
from seco.common.processes import Processes

HIDDEN = ".job"


class Item(Protocol):
    """One unit of a job: what is done as a whole or not at all."""

    @property
    def name(self) -> str:
        """What the user knows it by; no two of a job have the same."""
        ...

    @property
    def inputs(self) -> Sequence[Path]:
        """The files it is made of."""
        ...

    @property
    def outputs(self) -> Sequence[Path]:
        """The files it becomes."""
        ...


@dataclass(frozen=True)
class Signature:
    """What a file is recognised by.

    Args:
        size: bytes.
        changed: time of its last change, in nanoseconds.
        sha256: of its content.
    """

    size: int
    changed: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Signature:
        """Read a file's.

        Raises:
            OSError: it cannot be read.
        """
        status = path.stat()  # before reading: a change meanwhile is then noticed next time
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())

    def again(self, path: Path) -> Signature | None:
        """The signature a file has now if its content is still this one's, else ``None``."""
        try:
            status = path.stat()
            if status.st_size != self.size:
                return None
            if status.st_mtime_ns == self.changed:
                return self
            found = Signature.of(path)
        except OSError:
            return None
        return found if found.sha256 == self.sha256 else None


@dataclass(frozen=True)
class Entry:
    """A line of a journal.

    Args:
        inputs: signatures, in the item's order.
        outputs: likewise.
        facts: what the job said about the item.
    """

    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    facts: Mapping[str, Any]

    def again(self, item: Item) -> Entry | None:
        """The entry as of now if all files are still what they were, else ``None``."""
        inputs = _again(self.inputs, item.inputs)
        outputs = None if inputs is None else _again(self.outputs, item.outputs)
        if inputs is None or outputs is None:
            return None
        return Entry(inputs, outputs, self.facts)


@contextmanager
def hold_folder(folder: Path, processes: Processes) -> Iterator[None]:
    """Keep other runs out of an output folder; every process of a run calls this at once.

    The first process looks whether any list of what is finished is held, of whatever rank, before
    the others of its run hold theirs: so the lists that are held are those of other runs.

    Args:
        folder: the output folder; made if it is not there.
        processes: of this run.

    Raises:
        ValueError: a process of another run is at work here; raised in every process.
        OSError: the folder cannot be written.
    """
    hidden = folder / HIDDEN
    hidden.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:

        def is_free(path: Path, stack: ExitStack) -> bool:
            return try_lock(stack.enter_context(open(path, "ab"))) is not False

        own = _list_of(hidden, processes.rank)
        free = True
        if processes.first:
            # Its own first: of two runs that start at once, one gets no further than this.
            free = is_free(own, held)
            with ExitStack() as looking:
                others = (path for path in sorted(hidden.glob("done-*.jsonl")) if path != own)
                free = free and all(is_free(path, looking) for path in others)
        free = processes.gather(free)[0]
        if free and not processes.first:
            free = is_free(own, held)
        if not free:
            raise ValueError(f"{folder}: another process is at work here; wait for it or stop it")
        yield


@contextmanager
def open_journal(folder: Path, fingerprint: str, rank: int = 0) -> Iterator[Journal]:
    """Read what is finished in an output folder, and open this process's list of it.

    Args:
        folder: the output folder, see :func:`hold_folder`.
        fingerprint: of the job's manifest; lines of others do not count.
        rank: of this process.

    Raises:
        OSError: it cannot be written.
    """
    hidden = folder / HIDDEN
    hidden.mkdir(exist_ok=True)
    with open(_list_of(hidden, rank), "ab", buffering=0) as file:
        journal = Journal(file, fingerprint)
        journal.read_all(hidden)
        # A kill may have torn the last line off; the next one must not continue it.
        if file.tell():
            journal.append(b"\n")
        yield journal


def read_journal(folder: Path, fingerprint: str) -> Journal:
    """What is finished in an output folder, to look up alone: nothing is written there.

    Args:
        folder: the output folder.
        fingerprint: of the manifest its outputs were made with.

    Raises:
        OSError: a list cannot be read.
    """
    journal = Journal(None, fingerprint)
    journal.read_all(folder / HIDDEN)
    return journal


class Journal:
    """What is finished, and the open list of it that this process writes, if it does."""

    def __init__(self, file: IO[bytes] | None, fingerprint: str) -> None:
        self._file, self._fingerprint = file, fingerprint
        self._entries: dict[str, list[Entry]] = {}
        self._made_otherwise: set[str] = set()

    def read_all(self, hidden: Path) -> None:
        """Learn from all lists in an output folder's ``.job``."""
        for path in sorted(hidden.glob("done-*.jsonl")):
            self.read(path)

    def read(self, path: Path) -> None:
        """Learn from a list, whoever wrote or is writing it."""
        for line in path.read_bytes().split(b"\n"):
            try:
                said: Any = json.loads(line)
                if said["job"] != self._fingerprint:
                    self._made_otherwise.add(said["name"])
                else:
                    parts = [tuple(Signature(*one) for one in said[p]) for p in ("in", "out")]
                    entry = Entry(parts[0], parts[1], said["facts"])
                    self._entries.setdefault(said["name"], []).append(entry)
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill

    def append(self, data: bytes) -> None:
        """Write to the end of the list, through to the disk."""
        file = self._file
        if file is None:
            raise ValueError("journal: expected one that is written, got one to look up in")
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
        os.fsync(file.fileno())

    def finished(self, item: Item) -> Entry | None:
        """The entry of an item that need not be done again, else ``None``."""
        for entry in reversed(self._entries.get(item.name, [])):
            now = entry.again(item)
            if now is not None:
                # The same content with another time: next time no reading.
                if now != entry and self._file is not None:
                    self._write(item, now)
                return now
        return None

    def is_of_others(self, item: Item) -> bool:
        """Whether an item is known as finished, but never of the inputs that are there now."""
        entries = self._entries.get(item.name, [])
        return bool(entries) and all(_again(one.inputs, item.inputs) is None for one in entries)

    def is_made_otherwise(self, item: Item) -> bool:
        """Whether the outputs of an item are known from runs with other settings alone."""
        return item.name in self._made_otherwise and self.finished(item) is None

    def record(self, item: Item, inputs: tuple[Signature, ...], facts: Mapping[str, Any]) -> None:
        """Note an item as finished; its outputs are in their places.

        Args:
            item: the item.
            inputs: their signatures, taken before they were read.
            facts: what JSON holds, to be told again when the item is skipped.
        """
        self._write(item, Entry(inputs, tuple(Signature.of(path) for path in item.outputs), facts))

    def _write(self, item: Item, entry: Entry) -> None:
        line = {
            "name": item.name,
            "job": self._fingerprint,
            "in": [list(vars(one).values()) for one in entry.inputs],
            "out": [list(vars(one).values()) for one in entry.outputs],
            "facts": entry.facts,
        }
        self.append(json.dumps(line).encode() + b"\n")


def _list_of(hidden: Path, rank: int) -> Path:
    return hidden / f"done-{rank}.jsonl"


def _again(before: Sequence[Signature], paths: Sequence[Path]) -> tuple[Signature, ...] | None:
    if len(before) != len(paths):
        return None
    now = []
    for signature, path in zip(before, paths, strict=True):
        found = signature.again(path)
        if found is None:
            return None
        now.append(found)
    return tuple(now)
