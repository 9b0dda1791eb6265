"""Images with a real model's labels of them, and the truth to measure with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import watershed

import seco
from seco.common.files import read_confidence, read_image, read_label


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image with a real model's label of it, and the truth to measure with."""

    name: str
    group: str
    image: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    regions: dict[str, seco.Regions]


class EncodeOnce:
    """A segmenter that remembers the last image, since every arm asks about the same one."""

    def __init__(self, segmenter: seco.PromptableSegmenter) -> None:
        self.segmenter, self.key, self.device = segmenter, b"", segmenter.device
        self.decode = segmenter.decode
        self.proposal_settings = getattr(segmenter, "proposal_settings", None)

    def encode(self, images: torch.Tensor) -> Sequence[seco.Embedding]:
        """Encode, or answer from memory."""
        key = images.numpy().tobytes()
        if key != self.key:
            self.key, self.value = key, self.segmenter.encode(images)
        return self.value


def street_samples(images: int, start: int, size: tuple[int, int]) -> Iterator[Sample]:
    """Camera scenes with the labels of a segmenter that knows only the game look."""
    from seco.demo.segmenter import load_segmenter

    segmenter = load_segmenter()
    for seed in range(start, start + images):
        yield street_sample(seed, size, segmenter)


def street_sample(seed: int, size: tuple[int, int], segmenter: torch.nn.Module) -> Sample:
    """One camera scene, labelled by a segmenter."""
    from seco.demo import street_scene
    from seco.demo.segmenter import predict

    scene = street_scene(seed, size=size, domain="camera")
    label, confidence = predict(segmenter, scene.image[None])
    ideal = seco.Regions.from_label_map(torch.from_numpy(scene.instances))
    return Sample(
        str(seed), "streets", scene.image, label[0], confidence[0], scene.label, {"ideal": ideal}
    )


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where a CamVid frame is; day and dusk, frames for choosing and for reporting are apart."""

    frames: str
    group: str
    split: str
    name: str


def camvid_frames(root: Path, frames: str, every: int = 1) -> list[Frame]:
    """All frames for choosing (``"choose"``) or for reporting (``"report"``)."""
    train = sorted(path.stem for path in (root / "images/train").iterdir())
    val = sorted(path.stem for path in (root / "images/val").iterdir())
    dusk = [name for name in train if name.startswith("0001TP")]
    day = [name for name in train if not name.startswith("0001TP")]
    half = len(dusk) // 2
    parts = {
        "choose": [("day", "train", day), ("dusk", "train", dusk[:half])],
        "report": [("day", "val", val), ("dusk", "train", dusk[half:])],
    }[frames]
    return [
        Frame(frames, group, split, name)
        for group, split, names in parts
        for name in names[::every]
    ]


def camvid_sample(root: Path, frame: Frame, network: str) -> Sample:
    """One frame with a network's label of it."""
    split, name = frame.split, frame.name
    image = read_image(next((root / "images" / split).glob(f"{name}.*")))
    truth = read_label(root / "labels" / split / f"{name}.png")
    pseudo = root / "pseudo" / network / split
    edges = read_label(root / "edges" / split / f"{name}.png")
    objects = seco.connected_components(truth, ignore_index=seco.CAMVID.ignore_index)
    return Sample(
        f"{frame.frames}_{frame.group}_{name}",
        f"{frame.group} {network}",
        image,
        read_label(pseudo / f"{name}_label.png"),
        read_confidence(pseudo / f"{name}_conf.png"),
        truth,
        {
            "ideal": seco.Regions.from_label_map(torch.from_numpy(objects.ids)),
            "edges": edge_regions(edges),
        },
    )


def camvid_samples(root: Path, frames: str, network: str, every: int) -> Iterator[Sample]:
    """Frames with a network's labels of them."""
    for frame in camvid_frames(root, frames, every):
        yield camvid_sample(root, frame, network)


def edge_regions(
    edges: np.ndarray, levels: Sequence[int] = (15, 30, 50, 75, 100, 130), min_area: int = 20
) -> seco.Regions:
    """Overlapping regions: the basins of a boundary map, flooded from several levels."""
    masks = []
    for level in levels:
        markers, count = ndimage.label(edges < level)
        areas = np.bincount(markers.ravel(), minlength=count + 1)
        markers[(areas < min_area)[markers]] = 0
        basins = torch.from_numpy(watershed(edges, markers))
        masks.append(seco.Regions.from_label_map(basins).masks())
    return seco.Regions.from_masks(torch.cat(masks))
