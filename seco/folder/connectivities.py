"""The regions of a refined label as a file, for the stages after it to judge these and no others.

In a label alone two cars that touch are one component, even where SAM told them apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from seco.common.array_files import read_arrays, write_arrays
from seco.common.arrays import Array
from seco.common.labels import LabelSpace
from seco.connectivities import Connectivities, check_connectivities

FORMAT = 1


def write_connectivities(path: Path, item: Connectivities) -> None:
    """Write a compressed ``.npz`` atomically, some kilobytes; its folder must exist.

    Example:
        >>> import tempfile
        >>> ids = torch.tensor([[1, 1, 0]], dtype=torch.int32)
        >>> item = Connectivities(ids, torch.tensor([7]), torch.tensor([0.9]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_connectivities(Path(folder, "a.npz"), item)
        ...     read_connectivities(Path(folder, "a.npz")).classes
        tensor([7])
    """
    arrays = {
        "ids": item.ids.cpu().numpy().astype(np.uint16 if len(item) < 1 << 16 else np.int32),
        "classes": item.classes.cpu().numpy().astype(np.int32),
        "scores": item.scores.cpu().numpy().astype(np.float32),
    }
    write_arrays(path, FORMAT, arrays)


def read_connectivities(path: Path) -> Connectivities:
    """Read what :func:`write_connectivities` wrote.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is something else.
    """
    try:
        data = read_arrays(path, FORMAT)
        ids, classes = data["ids"].astype(np.int32), data["classes"].astype(np.int64)
        scores = data["scores"].astype(np.float32)
        if ids.ndim != 2 or classes.ndim != 1 or scores.shape != classes.shape:
            raise ValueError(f"shapes {ids.shape}, {classes.shape}, {scores.shape}")
    except OSError:
        raise
    except Exception as error:  # whatever the tables hold
        raise ValueError(f"{path}: expected a label's connectivities, got {error}") from error
    return Connectivities(*(torch.from_numpy(part) for part in (ids, classes, scores)))


def connectivities_of(path: Path, label: Array, space: LabelSpace) -> Connectivities:
    """Read the connectivities of a label, and find that they are this label's.

    Args:
        path: of the connectivities.
        label: (H, W) integers, the label as it is now.
        space: the classes.

    Raises:
        OSError: they cannot be opened.
        ValueError: something else, or of another label or another version of it: every pixel of
            a connectivity has its class.
    """
    item = read_connectivities(path)
    try:
        check_connectivities(item, (label.shape[0], label.shape[1]), space)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    ids = item.ids.numpy()
    painted = np.concatenate([[space.ignore_index], item.classes.numpy()])[ids]
    others = int(((ids > 0) & (painted != label)).sum())
    if others:
        raise ValueError(
            f"{path}: expected the connectivities of this label, got those of another version of "
            f"it ({others} pixels have another class); seco refine writes both anew"
        )
    return item
