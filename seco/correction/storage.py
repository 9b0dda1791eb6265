"""A fitted corrector on disk: corrector.json, and the safetensors file that it names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seco.common.files import PathLike, write_bytes
from seco.common.labels import LabelSpace
from seco.common.tensor_files import pack_tensors
from seco.correction.fitting import FitRecord
from seco.correction.mixture import NoiseModel
from seco.correction.neighbours import NeighbourBank
from seco.correction.settings import SCCSettings

VERSION = 2
CORRECTOR_FILE = "corrector.json"
_KIND = "seco corrector"
_STATE, _RECORD, _BANK = "state.", "record.", "neighbours."


@dataclass(frozen=True)
class SavedCorrector:
    """All that a corrector consists of; ``encoder`` is what its encoder is recognised by."""

    label_space: LabelSpace
    settings: SCCSettings
    seed: int
    encoder: dict[str, str]
    state: dict[str, Tensor]
    record: FitRecord

    def check_encoder(self, given: dict[str, str]) -> None:
        """Raise ``ValueError`` unless this is the encoder that the corrector was fitted with."""
        if given.get("kind") == "small" and self.encoder.get("kind") != "small":
            fitted, hint = self._encoder_in_words()
            raise ValueError(
                f"encoder: expected {fitted} that the corrector was fitted with, got None; "
                f"give {hint}"
            )
        names = sorted(given.keys() | self.encoder.keys())
        other = [name for name in names if given.get(name) != self.encoder.get(name)]
        if other:
            raise ValueError(
                "encoder: expected the one that the corrector was fitted with, got one with other "
                f"{', '.join(other)} ({self.encoder.get(other[0])}, {given.get(other[0])})"
            )

    def _encoder_in_words(self) -> tuple[str, str]:
        """What it was, and how to give it."""
        if self.encoder.get("kind") != "segmenter":
            return "the network of your own", "encoder=network, or the extractor around it"
        layers = self.encoder.get("crop_n_layers")
        if layers is None:
            return "the SAM", "encoder=sam"
        return "the SAM", f"encoder=seco.SegmenterExtractor(sam, crop_n_layers={layers})"


def write_corrector(
    directory: PathLike,
    *,
    label_space: LabelSpace,
    settings: SCCSettings,
    seed: int,
    encoder: dict[str, str],
    state: dict[str, Tensor],
    record: FitRecord,
) -> None:
    """Write tensors under a name of their own, then the JSON that names them, in one step."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {_STATE + name: value for name, value in state.items()}
    measured = {"losses": record.losses, "classes": record.classes, "areas": record.areas}
    tensors |= {_RECORD + name: value for name, value in measured.items()}
    if record.bank is not None:  # half precision is all that it has
        kept = {"features": record.bank.features.half(), "classes": record.bank.classes}
        tensors |= {_BANK + name: value for name, value in kept.items()}
    data = pack_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    name = f"corrector-{digest[:16]}.safetensors"
    write_bytes(folder / name, data)
    said = {
        "kind": _KIND,
        "version": VERSION,
        "tensors": name,
        "sha256": digest,
        "label_space": json.loads(label_space.to_json()),
        "settings": asdict(settings),
        "seed": seed,
        "encoder": encoder,
        "iterations": record.iterations,
        "noise_model": record.noise_model.to_json(),
        "confident": record.confident,
        "regions": record.regions,
    }
    write_bytes(folder / CORRECTOR_FILE, json.dumps(said, indent=1).encode())
    for other in folder.glob("corrector-*.safetensors"):
        if other.name != name:
            other.unlink(missing_ok=True)


def read_header(directory: PathLike) -> dict[str, Any]:
    """Read the JSON of what :func:`write_corrector` wrote, without the tensors.

    Returns:
        What it says, ``encoder`` among it.

    Raises:
        OSError: it cannot be opened.
        ValueError: something else, or another version.
    """
    path = Path(directory) / CORRECTOR_FILE
    try:
        said: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected a {_KIND}, got {error}") from error
    if not isinstance(said, dict) or said.get("kind") != _KIND:
        raise ValueError(f"{path}: expected a {_KIND}, got other JSON")
    if said.get("version") != VERSION:
        raise ValueError(f"{path}: expected version {VERSION}, got {said.get('version')}")
    if not isinstance(said.get("encoder"), dict):
        raise ValueError(f"{path}: expected a whole {_KIND}, got one without its encoder")
    return said


def read_corrector(directory: PathLike) -> SavedCorrector:
    """Read what :func:`write_corrector` wrote.

    Raises:
        OSError: a file cannot be opened.
        ValueError: something else, another version, or damaged.
    """
    from safetensors.torch import load

    path = Path(directory) / CORRECTOR_FILE
    said = read_header(directory)
    try:
        data = (Path(directory) / Path(said["tensors"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != said["sha256"]:
            raise ValueError(f"{said['tensors']} is damaged (its SHA-256 differs)")
        tensors = load(data)
        bank = _part(tensors, _BANK)
        return SavedCorrector(
            label_space=LabelSpace.from_json(json.dumps(said["label_space"])),
            settings=SCCSettings(**said["settings"]),
            seed=said["seed"],
            encoder=said["encoder"],
            state=_part(tensors, _STATE),
            record=FitRecord(
                said["iterations"],
                **_part(tensors, _RECORD),
                noise_model=NoiseModel.from_json(said["noise_model"]),
                bank=NeighbourBank(bank["features"].float(), bank["classes"]) if bank else None,
                confident=said.get("confident", False),  # as all were that do not say
                regions=said.get("regions"),
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a whole {_KIND}, got {error!r}") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n[len(prefix) :]: value for n, value in tensors.items() if n.startswith(prefix)}
