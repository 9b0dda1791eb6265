"""A segmenter's labels of a folder, what seco makes of them, and how good a segmenter is."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from seco import LabelSpace
from seco.common.confusion import Confusion, confusion
from seco.common.files import read_image, write_confidence, write_label
from seco.common.items import label_of
from seco.folder import Inputs
from sgg import Segmenter


@torch.no_grad()
def look(segmenter: Segmenter, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) uint8 and confidences (H, W) float32 of an (H, W, 3) uint8 image."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(segmenter.device) / 127.5 - 1
    logits = F.interpolate(segmenter(pixels).float(), image.shape[:2], mode="bilinear")
    confidence, label = logits.softmax(1)[0].max(0)
    return label.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()


def label_folder(
    segmenter: Segmenter, inputs: Inputs, labels: Path, confidence: Path, space: LabelSpace
) -> None:
    """Write a segmenter's labels and confidences of images, those that are missing."""
    for files in tqdm(inputs.files, desc="labelling", unit="image"):
        paths = [folder / f"{files.name}.png" for folder in (labels, confidence)]
        if all(path.exists() for path in paths):
            continue
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        label, sure = look(segmenter, read_image(files.image))
        write_label(paths[0], label, space)
        write_confidence(paths[1], sure)


def quality(segmenter: Segmenter, inputs: Inputs | None, space: LabelSpace) -> str:
    """How a segmenter does on labelled images, to be printed."""
    if inputs is None:
        return "not measured: no --held-out"
    found = Confusion.zero(space)
    for files in inputs.files:
        label, _ = look(segmenter, read_image(files.image))
        found += confusion(label, label_of(files, inputs, space), space)
    return f"mIoU {100 * found.mean_iou:.1f}, accuracy {100 * found.accuracy:.1f}"


def sam_words(args: argparse.Namespace) -> list[str]:
    """What tells a ``seco`` command which SAM a recipe was given, see :mod:`recipes.sets`."""
    checkpoint = ["--checkpoint", args.checkpoint] if args.checkpoint else []
    return ["--sam", args.sam, *checkpoint, "--device", args.device]


def run_seco(*words: object) -> None:
    """Run a ``seco`` command in a process of its own, as a shell does; stop where it fails."""
    given = [str(word) for word in words]
    print("$", shlex.join(["seco", *given]), flush=True)
    start = [sys.executable, "-c", "from seco.cli import main; main()"]
    code = subprocess.run([*start, *given], check=False).returncode
    if code:
        raise SystemExit(f"seco {given[0]} ended with code {code}")
