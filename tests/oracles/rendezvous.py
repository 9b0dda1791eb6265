"""Processes that meet as those that ``torchrun`` starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from forked import fork
from torch.distributed import TCPStore


@contextmanager
def meeting(processes: int) -> Iterator[list[dict[str, str]]]:
    """What the environments of some processes, by rank, must hold for them to meet.

    They meet at a store of this process, as those of ``torchrun`` do: a port that one of them had
    to open itself could be taken in the seconds that it takes to start.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "GLOO_SOCKET_IFNAME": next(n for _, n in socket.if_nameindex() if n.startswith("lo")),
        "WORLD_SIZE": str(processes),
    }
    yield [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def fork_together(run: Callable[[int], object], processes: int = 2) -> list[int]:
    """Run something in forked processes that meet, given their ranks; each one's status."""
    with meeting(processes) as environments:

        def share(rank: int) -> None:
            os.environ |= environments[rank]
            run(rank)

        children = [fork(lambda rank=rank: share(rank)) for rank in range(processes)]
        return [os.waitpid(child, 0)[1] for child in children]


def start_together(
    program: str, environment: Mapping[str, str], processes: int = 2, timeout: float = 900
) -> None:
    """Run a Python program in new processes that meet.

    Args:
        program: its text.
        environment: of each; its place among the others is added.
        processes: how many.
        timeout: seconds until they are killed; long, for the machine may be busy.

    Raises:
        AssertionError: one of them failed, or they took too long; says what all of them said. The
            others are killed, for they may wait for it.
    """
    command, end = [sys.executable, "-c", program], time.monotonic() + timeout
    with ExitStack() as held:
        environments = held.enter_context(meeting(processes))
        said = [held.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        running = []
        for own, to in zip(environments, said, strict=True):
            running.append(
                subprocess.Popen(command, env={**environment, **own}, stdout=to, stderr=to)
            )
            held.callback(running[-1].wait)
            held.callback(running[-1].kill)
        while None in (codes := [one.poll() for one in running]):
            if any(codes) or time.monotonic() > end:
                break
            time.sleep(0.05)
        for file in said:
            file.seek(0)
        texts = [file.read().decode(errors="replace") for file in said]
        assert codes == [0] * processes, "\n".join(
            f"process {rank} (status {code}): {text}"
            for rank, (code, text) in enumerate(zip(codes, texts, strict=True))
        )
