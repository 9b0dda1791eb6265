"""What the outputs in a folder are made with: ``manifest.json``, and nothing else goes in there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seco.common.files import write_bytes

MANIFEST = "manifest.json"
SUMMARY = "summary.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What decides how the outputs of a job look, besides its inputs.

    Args:
        job: the command or function, ``"seco refine"``.
        settings: names and values as JSON holds them, nested as you like.
        models: a hash of the weights, or a name that says as much, per model.
        versions: of the libraries, see :func:`library_versions`.

    Example:
        >>> one = Manifest("job", {"share": 0.1})
        >>> one.fingerprint == Manifest("job", {"share": 0.1}).fingerprint
        True
        >>> Manifest("job", {"share": 0.2}).differences(one)
        ['settings.share is 0.2, was 0.1']
    """

    job: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that are others if anything is another."""
        text = json.dumps(self._content(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, before: Manifest) -> list[str]:
        """What is other than in another manifest, one line per value."""
        now, then = _flat(self._content()), _flat(before._content())
        return [
            f"{name} is {now.get(name, 'not given')}, was {then.get(name, 'not given')}"
            for name in sorted(now.keys() | then.keys())
            if now.get(name) != then.get(name)
        ]

    def write(self, folder: Path) -> None:
        """Write the folder's ``manifest.json``, whole or not at all."""
        content = {"format": _FORMAT, **self._content(), "fingerprint": self.fingerprint}
        write_bytes(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read the folder's ``manifest.json``; ``None`` if there is none.

        Raises:
            ValueError: it is something else.
        """
        path = folder / MANIFEST
        try:
            given: Any = json.loads(path.read_bytes())
            if given["format"] != _FORMAT:
                raise ValueError(f"format {given['format']}, expected {_FORMAT}")
            return cls(*(given[name] for name in ("job", "settings", "models", "versions")))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected the manifest of a job, got {error!r}") from error

    def _content(self) -> dict[str, Any]:
        # Through JSON, so that what was just made equals what was read.
        content: dict[str, Any] = json.loads(json.dumps(vars(self), default=dict))
        return content


def check_folder(folder: Path, manifest: Manifest, outputs: Collection[Path]) -> None:
    """Find that a folder may be the place of a job's outputs; nothing is written.

    A folder of other settings may be if no output is left there, of this job or of the same kind:
    a file outside ``.job`` with the ending of an output.

    Args:
        folder: need not exist.
        manifest: of the job.
        outputs: every file that the job writes.

    Raises:
        ValueError: outputs made with other settings are there, or some of unknown origin.
    """
    # In this order: another process of this job writes the manifest first, then an output.
    there = next((path for path in outputs if path.exists()), None)
    before = Manifest.read(folder)
    if before is None and there is not None:
        raise ValueError(
            f"{folder}: holds outputs such as {there}, but no {MANIFEST} that tells what they "
            "were made with; --overwrite replaces them"
        )
    if before is None or before.fingerprint == manifest.fingerprint:
        return
    if there is not None or next(_alike(folder, outputs), None) is not None:
        raise ValueError(
            f"{folder}: its outputs were made otherwise: "
            f"{'; '.join(manifest.differences(before))}; choose another folder, or "
            "--overwrite to make them anew"
        )


def claim_folder(
    folder: Path, manifest: Manifest, outputs: Collection[Path], *, overwrite: bool
) -> None:
    """Make a folder the place of a job's outputs, or find that it is.

    Args:
        folder: made if it is not there.
        manifest: of the job.
        outputs: every file that the job writes.
        overwrite: take the folder over, whatever is in it.

    Raises:
        ValueError: as :func:`check_folder`, unless ``overwrite``.
        OSError: the folder cannot be written.
    """
    if not overwrite:
        check_folder(folder, manifest, outputs)
        before = Manifest.read(folder)
        if before is not None and before.fingerprint == manifest.fingerprint:
            return
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)


def left_as_they_were(folder: Path, manifest: Manifest, outputs: Collection[Path]) -> list[Path]:
    """What stays of other settings when a job takes a folder over: outputs of items not given now.

    Args:
        folder: need not exist.
        manifest: of the job.
        outputs: every file that the job writes.
    """
    try:
        before = Manifest.read(folder)
    except ValueError:  # something else, which is replaced
        before = None
    if before is None or before.fingerprint == manifest.fingerprint:
        return []
    own = {path.absolute() for path in outputs}
    return sorted(path for path in _alike(folder, outputs) if path.absolute() not in own)


def _alike(folder: Path, outputs: Collection[Path]) -> Iterator[Path]:
    """The files in a folder that end as outputs do."""
    ends = {path.suffix for path in outputs}
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in ends and path.name not in (MANIFEST, SUMMARY) and not hidden:
            yield path


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of distributions.

    Raises:
        importlib.metadata.PackageNotFoundError: one is not installed.

    Example:
        >>> sorted(library_versions("numpy", "torch"))
        ['numpy', 'torch']
    """
    return {name: version(name) for name in names}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, part in value.items():
        flat |= _flat(part, f"{prefix}.{name}" if prefix else str(name))
    return flat
