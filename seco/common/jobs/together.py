"""A job of one item that all processes make together: all files in, one result out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seco.common.files import remove_leftovers
from seco.common.jobs.journal import HIDDEN, Entry, Item, Signature, hold_folder, open_journal
from seco.common.jobs.manifest import Manifest, check_folder, claim_folder
from seco.common.jobs.run import JobOptions, Outcome, stopped_when_full
from seco.common.parallel import in_each
from seco.common.processes import Processes


@dataclass(frozen=True)
class Whole:
    """The only item of a job, see :class:`seco.common.jobs.Item`.

    Args:
        name: what the user knows it by.
        inputs: all files it is made of.
        outputs: the files it becomes.
    """

    name: str
    inputs: Sequence[Path]
    outputs: Sequence[Path]


def run_together(
    item: Item,
    folder: Path,
    manifest: Manifest,
    *,
    work: Callable[[Path], Mapping[str, Any]],
    options: JobOptions,
    sign: Callable[[], Sequence[Signature]] | None = None,
) -> Outcome:
    """Make an item unless it is there already, made of the same inputs in the same way.

    Args:
        item: what to make; the same in every process. Its outputs may have other names once it is
            made.
        folder: home of the job, as of :func:`seco.common.jobs.run_job`.
        manifest: all that decides how the outputs look, besides the inputs.
        work: called in every process at once; the first writes the outputs, each with
            :func:`seco.common.files.write_bytes`. It is given a folder for a state to go on from:
            that of the same inputs and manifest, whatever a run before left there, and removed
            once the item is made. Returns facts that JSON holds, the same in every process.
        options: see :class:`seco.common.jobs.JobOptions`; ``start`` and ``report`` are ``work``'s
            to call.
        sign: for work that reads its inputs before anyway: the signatures of all inputs in their
            order, the same in every process, which calls it at once.

    Returns:
        What became of the item, the same in every process.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`.
        Exception: what ``sign`` raises, and nothing has changed; or what ``work`` raises, and the
            outputs are not there.

    Example:
        >>> import tempfile
        >>> from seco.common.files import write_bytes
        >>> with tempfile.TemporaryDirectory() as here:
        ...     source, out = Path(here, "a.txt"), Path(here, "out")
        ...     _ = source.write_bytes(b"text")
        ...     def work(state):
        ...         write_bytes(out / "b.txt", source.read_bytes().upper())
        ...         return {"length": 4}
        ...     item = Whole("text", [source], [out / "b.txt"])
        ...     for _ in range(2):
        ...         outcome = run_together(
        ...             item, out, Manifest("upper"), work=work, options=JobOptions()
        ...         )
        ...         print(outcome.status, outcome.facts)
        written {'length': 4}
        skipped {'length': 4}
    """
    processes, claimed = options.processes, options.overwrite or options.take_over
    if not claimed:
        check_folder(folder, manifest, item.outputs)  # before anything is written there
    with (
        hold_folder(folder, processes),
        open_journal(folder, manifest.fingerprint, processes.rank) as journal,
    ):
        entry = None if options.overwrite or not processes.first else journal.finished(item)
        done: Entry | None = processes.gather(entry)[0]
        if done is not None:
            claim_folder(folder, manifest, item.outputs, overwrite=claimed)
            return Outcome(item.name, "skipped", facts=done.facts)
        with stopped_when_full(item.name):
            # first, so that inputs of which nothing can be made cost no former output
            signatures = _signed(item.inputs, processes) if sign is None else tuple(sign())
            claim_folder(folder, manifest, item.outputs, overwrite=claimed)
            if processes.first:
                remove_leftovers(folder)
                for path in item.outputs:  # what was made otherwise must not be taken for this
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.unlink(missing_ok=True)
            state = _claim_state(folder, manifest, signatures, options)
            facts = work(state)
            if processes.first:
                journal.record(item, signatures, facts)
                shutil.rmtree(state)
        processes.gather(None)
        return Outcome(item.name, "written", facts=facts)


def _claim_state(
    folder: Path, manifest: Manifest, signatures: Sequence[Signature], options: JobOptions
) -> Path:
    """The folder for the state of work that is not done yet, to go on from; every process calls.

    Its name stands for the content of all inputs and the manifest: it is never that of others,
    which are removed.
    """
    content = manifest.fingerprint + "".join(one.sha256 for one in signatures)
    digest = hashlib.sha256(content.encode()).hexdigest()
    state = folder / HIDDEN / f"state-{digest[:16]}"
    if options.processes.first:
        for other in (folder / HIDDEN).glob("state-*"):
            if other != state or options.overwrite:
                shutil.rmtree(other)
        state.mkdir(exist_ok=True)
    options.processes.gather(None)  # nobody looks there before
    return state


def _signed(paths: Sequence[Path], processes: Processes) -> tuple[Signature, ...]:
    """The files' signatures; every process reads its share."""
    own = processes.share(list(range(len(paths))))
    shares = in_each(processes, lambda: {place: Signature.of(paths[place]) for place in own})
    found = {place: one for share in shares for place, one in share.items()}
    return tuple(found[place] for place in range(len(paths)))
