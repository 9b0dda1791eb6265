"""What cells share is made once and kept on disk; a killed process leaves nothing half-written."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seco
from seco.common.files import write_bytes
from seco.common.locks import try_lock

Arrays = dict[str, np.ndarray]


def digest(key: Mapping[str, Any]) -> str:
    """A short name of all that decides a result."""
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def only_here(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold ``path`` among processes; without ``wait``, False if another one has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        held = try_lock(file)
        while held is False and wait:
            time.sleep(0.5)
            held = try_lock(file)
        yield held is not False


@dataclass(frozen=True)
class Kept:
    """A folder of things that are named by what they are made of.

    Args:
        root: the folder.
    """

    root: Path

    def arrays(self, kind: str, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """Arrays by name: read, or made and written."""

        def write(path: Path) -> None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **make())
            write_bytes(path, buffer.getvalue())

        with np.load(self._made(kind, key, ".npz", write)) as file:
            return dict(file)

    def weights(
        self, kind: str, key: Mapping[str, Any], model: torch.nn.Module, make: Callable[[], Any]
    ) -> torch.nn.Module:
        """Load the weights into a model, which is given back; ``make`` trains that very model."""
        from safetensors.torch import load_file, save

        def write(path: Path) -> None:
            make()
            state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
            write_bytes(path, save(state))

        model.load_state_dict(load_file(self._made(kind, key, ".safetensors", write)))
        return model.eval().requires_grad_(False)

    def regions(
        self, key: Mapping[str, Any], make: Callable[[], list[seco.Regions]]
    ) -> list[seco.Regions]:
        """Regions of several images."""

        def write(path: Path) -> None:
            parts = path.with_suffix("")
            parts.mkdir(exist_ok=True)
            found = make()
            for index, one in enumerate(found):
                one.save(parts / f"{index:04}.npz")
            write_bytes(path, json.dumps(len(found)).encode())

        path = self._made("regions", key, ".json", write)
        count = json.loads(path.read_bytes())
        return [
            seco.Regions.load(path.with_suffix("") / f"{index:04}.npz") for index in range(count)
        ]

    def _made(
        self, kind: str, key: Mapping[str, Any], ending: str, write: Callable[[Path], None]
    ) -> Path:
        path = self.root / f"{kind}-{digest(key)}{ending}"
        if not path.exists():
            with only_here(path.with_name(f".{path.name}.lock")):
                if not path.exists():
                    write(path)
        return path
