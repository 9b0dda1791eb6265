"""Meta's SAM checkpoints: where they are, whether they are whole, and reading them."""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

_SITE = "https://dl.fbaipublicfiles.com/segment_anything/"

META_URLS = {
    "vit_b": _SITE + "sam_vit_b_01ec64.pth",
    "vit_l": _SITE + "sam_vit_l_0b3195.pth",
    "vit_h": _SITE + "sam_vit_h_4b8939.pth",
}

# The six digits in Meta's file names begin the MD5, not the SHA-256 that torch.hub looks for.
META_SHA256 = {
    "sam_vit_b_01ec64.pth": "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    "sam_vit_l_0b3195.pth": "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    "sam_vit_h_4b8939.pth": "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
}


def locate_checkpoint(name: str, checkpoint: str | os.PathLike[str] | None) -> Path:
    """Return the path of a checkpoint file, downloading it first where that is needed.

    A download goes to ``torch.hub``'s checkpoint folder, under a temporary name until it is
    complete and verified: by the full SHA-256 if the file has one of Meta's names, otherwise by
    the digits in a name such as ``sam-1a2b3c4d.pth``, if there are any. Meta's files are verified
    again when they are found there, for they may have been put there by hand.

    Args:
        name: ``vit_b``, ``vit_l`` or ``vit_h``.
        checkpoint: a path, a URL, or ``None`` for Meta's own.

    Raises:
        FileNotFoundError: no file at the given path.
        ConnectionError: the download failed; the message says how to go on without internet.
        ValueError: the file's SHA-256 is not the published one.
    """
    source = META_URLS[name] if checkpoint is None else os.fspath(checkpoint)
    if "://" not in source:
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"checkpoint: expected a file or a URL, got {source!r}")
        return path
    file_name = PurePosixPath(urlparse(source).path).name
    if not file_name:
        raise ValueError(f"checkpoint: expected the URL of a file, got {source!r}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if not path.is_file():
        _download(name, source, path)
    elif file_name in META_SHA256:
        _verify(path, META_SHA256[file_name])
    return path


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file may carry.

    Raises:
        ValueError: not a file of ``torch.save``, or one that holds more than named tensors.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        # Not torch's text, which recommends to run what the file may carry.
        raise ValueError(
            f"checkpoint: expected a file of tensors written by torch.save, got {path} of "
            f"{path.stat().st_size} bytes, which is damaged or holds other things, too"
        ) from error
    if not (isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())):
        kind = f"keys {sorted(map(str, state))[:5]}" if isinstance(state, dict) else type(state)
        raise ValueError(f"checkpoint: expected a state dict of tensors in {path}, got {kind}")
    return state


def _download(name: str, url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    digits = META_SHA256.get(path.name, named and named[1])
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits, progress=True)
    except RuntimeError as error:  # the digest is wrong; nothing is kept
        raise ValueError(f"checkpoint: expected another SHA-256 from {url} ({error})") from error
    except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"checkpoint: could not download {url} ({error}). Without internet, fetch the file "
            f"elsewhere and either pass load_sam({name!r}, checkpoint='/path/to/{path.name}') or "
            f"put it at {path}"
        ) from error


def _verify(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise ValueError(
            f"checkpoint: expected SHA-256 {expected}, got {digest.hexdigest()} for {path}; "
            "delete the file to have it downloaded again, or pass your own weights as checkpoint="
        )
