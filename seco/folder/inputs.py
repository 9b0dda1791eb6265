"""Refine files: pair images with labels by name, refine each pair, write the results whole."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from seco.common.arrays import Array
from seco.common.checks import check_choice
from seco.common.files import read_confidence, read_image, read_label, write_bytes, write_label
from seco.common.images import restore
from seco.common.labels import LabelSpace
from seco.refine import Refinement

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
CONFIDENCE_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")

# What a bad file, one too large for the memory, or one on which the model overflows raises;
# anything else is a bug and shall be seen.
FILE_ERRORS = (
    *(OSError, TypeError, ValueError, MemoryError, FloatingPointError),
    torch.cuda.OutOfMemoryError,
)
# Out of the CPU's memory, torch raises a plain RuntimeError.
CPU_MEMORY = re.compile(r"DefaultCPUAllocator|allocate memory")


@dataclass(frozen=True)
class Task:
    """One image to refine.

    Args:
        name: what the user knows it by, for messages.
        image: RGB image.
        label: label map; see :func:`seco.common.files.read_label`.
        confidence: of the label, or ``None``.
        output: PNG to write the refined label to.
        scores: PNG to write the loss weights to, or ``None``.
    """

    name: str
    image: Path
    label: Path
    confidence: Path | None
    output: Path
    scores: Path | None


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        name: of the task, or of a file that has no partner.
        status: ``"written"``, ``"skipped"`` (the output exists) or ``"failed"``.
        reason: of a failure.
    """

    name: str
    status: Literal["written", "skipped", "failed"]
    reason: str = ""


def match_files(
    images: Path,
    labels: Path,
    output: Path,
    *,
    confidence: Path | None = None,
    scores: Path | None = None,
    match: Literal["path", "name"] = "path",
    image_suffix: str = "",
    label_suffix: str = "",
    confidence_suffix: str = "",
) -> tuple[list[Task], list[Outcome]]:
    """Pair the files of folders, subfolders included; or take single files as one pair.

    Args:
        images: an image, or a folder of images in the formats of ``IMAGE_SUFFIXES``. The other
            paths are files or folders as this one is.
        labels: label maps.
        output: results; in a folder each is called as its label, ending in ``.png``.
        confidence: confidences, images or ``.npy``.
        scores: loss weights.
        match: files belong together whose ``"path"`` within their folders, or whose ``"name"``
            alone, is the same but for the format.
        image_suffix: end of the images' names that labels do not share (``_leftImg8bit``); files
            that do not end so are left alone. Likewise the other two.
        label_suffix: of the labels.
        confidence_suffix: of the confidences.

    Returns:
        The tasks in the order of their names, and a failure for every image or label without
        exactly one partner.

    Raises:
        FileNotFoundError: nothing at ``images``, ``labels`` or ``confidence``.
        ValueError: files and folders mixed, an output that is, holds or lies in something that is
            read, an output file that is no PNG, or folders without any pair.
    """
    check_choice("match", match, ("path", "name"))
    inputs = [path for path in (images, labels, confidence) if path is not None]
    outputs = [path for path in (output, scores) if path is not None]
    _check_paths(inputs, outputs)
    if not images.is_dir():
        return [Task(images.name, images, labels, confidence, output, scores)], []
    found_images = _files_by_key(images, IMAGE_SUFFIXES, image_suffix, match)
    found_labels = _files_by_key(labels, IMAGE_SUFFIXES, label_suffix, match)
    found_confidences = (
        {}
        if confidence is None
        else _files_by_key(confidence, CONFIDENCE_SUFFIXES, confidence_suffix, match)
    )
    if not found_images.keys() & found_labels.keys():
        raise ValueError(
            f"expected images and labels with the same names, got {_some(found_images)} in "
            f"{images} and {_some(found_labels)} in {labels}"
        )
    tasks, failures = [], []
    for key in sorted(found_images.keys() | found_labels.keys()):
        parts = [("image", found_images.get(key, [])), ("label", found_labels.get(key, []))]
        if confidence is not None:
            parts.append(("confidence", found_confidences.get(key, [])))
        wrong = [_complaint(kind, files) for kind, files in parts if len(files) != 1]
        if wrong:
            failures.append(Outcome(key, "failed", "; ".join(wrong)))
            continue
        label = parts[1][1][0]
        place = label.relative_to(labels).with_suffix(".png")
        tasks.append(
            Task(
                name=key,
                image=parts[0][1][0],
                label=label,
                confidence=parts[2][1][0] if confidence is not None else None,
                output=output / place,
                scores=None if scores is None else scores / place,
            )
        )
    return tasks, failures


def refine_files(
    tasks: Iterable[Task],
    refine: Callable[..., Refinement],
    label_space: LabelSpace,
    *,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Refine file by file; one that fails, or is too large for the memory, does not stop the rest.

    An output that exists is taken as it is, whatever it was made with, unless ``overwrite``.
    Every file is written whole or not at all, the label after its scores.

    Args:
        tasks: what to do.
        refine: ``refine(image, label, confidence=...)``; :func:`seco.refine_with_details` with
            its other arguments given.
        label_space: of the labels.
        overwrite: whether to replace outputs that exist.

    Yields:
        The outcome of each task, in their order.
    """
    for task in tasks:
        try:
            yield Outcome(task.name, _refine_file(task, refine, label_space, overwrite))
        except Exception as error:
            if not _is_about_file(error):
                raise
            reason = str(error) or type(error).__name__
            yield Outcome(task.name, "failed", " ".join(reason.split()))


def _is_about_file(error: Exception) -> bool:
    out_of_memory = isinstance(error, RuntimeError) and CPU_MEMORY.search(str(error)) is not None
    return out_of_memory or isinstance(error, FILE_ERRORS)


def _refine_file(
    task: Task, refine: Callable[..., Refinement], space: LabelSpace, overwrite: bool
) -> Literal["written", "skipped"]:
    if task.output.exists() and not overwrite:
        if task.scores is not None and not task.scores.exists():
            raise ValueError(f"{task.output}: exists already, but not its scores {task.scores}")
        return "skipped"
    label = read_label(task.label)
    confidence = None if task.confidence is None else read_confidence(task.confidence)
    found = refine(read_image(task.image), label, confidence=confidence)
    if task.scores is not None:
        task.scores.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(task.scores, _grey_png(found.scores[0].cpu().numpy()))
    task.output.parent.mkdir(parents=True, exist_ok=True)
    write_label(task.output, restore(found.labels, like=label), space)
    return "written"


def _grey_png(scores: Array) -> bytes:
    """8-bit grey, 255 for 1: as confidences are read."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(scores * 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _files_by_key(
    folder: Path, formats: tuple[str, ...], suffix: str, match: str
) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in sorted(names):
            path = Path(parent, name)
            usable = not name.startswith(".") and path.suffix.lower() in formats
            if usable and path.stem.endswith(suffix):
                stem = path.stem.removesuffix(suffix)
                place = path.relative_to(folder).parent
                key = stem if match == "name" else (place / stem).as_posix()
                found.setdefault(key, []).append(path)
    return found


def _complaint(kind: str, files: list[Path]) -> str:
    if not files:
        return f"no {kind} of that name"
    return f"more than one {kind} of that name: {', '.join(sorted(map(str, files)))}"


def _some(found: dict[str, list[Path]]) -> str:
    names = sorted(found)
    return "none" if not names else ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")


def _check_paths(inputs: list[Path], outputs: list[Path]) -> None:
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    folders = inputs[0].is_dir()
    kind = "a folder" if folders else "a file"
    for path in (*inputs, *outputs):
        if path.exists() and path.is_dir() != folders:
            raise ValueError(f"{path}: expected {kind} as {inputs[0]} is one")
    for position, output in enumerate(outputs):
        if not folders and output.suffix.lower() != ".png":
            raise ValueError(f"{output}: expected a file name ending in .png")
        # Outputs among the inputs would be taken for inputs in the next run, or replace them.
        for other in (*inputs, *outputs[:position]):
            a, b = output.resolve(), other.resolve()
            if a == b or a in b.parents or b in a.parents:
                raise ValueError(f"{output}: expected a place apart from {other}")
