"""CamVid: labelled day frames are the source, dusk is the target.

The folder is the one that ``examples/measure_psa.py`` takes. Dusk images may all be used without
labels; the true labels of the first half train upper bounds and oracles, the last half is measured.
Segmenters are the demo's small network or, as ``camvid-imagenet``, one that knows photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.imagenet import imagenet_digest, imagenet_features, imagenet_segmenter
from measuring.samples import Frame, camvid_frames, edge_regions
from measuring.training import new_segmenter, train
from PIL import Image

import seco
from evidence.domains import Domains, ImageSet
from evidence.kept import Kept
from evidence.scales import SecoScale
from evidence.unknown import with_unknown_things
from seco.common.files import read_image, read_label
from seco.correction.extractors import ModuleExtractor
from seco.demo.segmenter import load_segmenter

BLACK_BOX = "espnetv2_0.5"
"""The network of the black-box setting, which was trained on Cityscapes."""
OPEN_SEQUENCE = "0006R0"
"""Day frames of another camera run: the open images; the source then has the other run alone."""


@dataclass(frozen=True)
class Network:
    """What segmenters of CamVid are.

    Args:
        start: seed -> the network that learns from day frames.
        new: seed -> one that has never seen day frames, for a student which starts anew.
        rate: the first learning rate of the day frames.
        scaled: a scale's sizes for this network.
        features: what a corrector sees; ``None``: the SAM's embedding.
        edges: whether labels are also refined with regions cut from edge maps; the folder then has
            edges/ beside images/.
        translates: whether the suite about translation is for it.
        made_with: what decides the weights and is not this package's.
    """

    start: Callable[[int], torch.nn.Module]
    new: Callable[[int], torch.nn.Module]
    rate: float
    scaled: Callable[[SecoScale], SecoScale] = lambda scale: scale
    features: Callable[[], ModuleExtractor] | None = None
    edges: bool = False
    translates: bool = True
    made_with: Callable[[], dict[str, str]] = dict


def camvid(
    data: str, root: Path, scale: SecoScale, seed: int, device: torch.device, kept: Kept
) -> Domains:
    """Source and target frames; a seed draws its source and open frames by lot.

    Args:
        data: of ``NETWORKS``.
        root: the folder.
        scale: sizes.
        seed: of what is drawn, and of new weights.
        device: of the models.
        kept: where the day model is kept.
    """
    network = NETWORKS[data]
    if network.edges and not (root / "edges").is_dir():
        raise SystemExit(f"--data {data}: expected {root / 'edges'}, got none")
    rng = np.random.default_rng([seed, 3])
    day = [frame for frame in camvid_frames(root, "choose") if frame.group == "day"]
    dusk = [
        frame
        for part in ("choose", "report")
        for frame in camvid_frames(root, part)
        if frame.group == "dusk"
    ]
    own = [frame for frame in day if not frame.name.startswith(OPEN_SEQUENCE)]
    other = [frame for frame in day if frame.name.startswith(OPEN_SEQUENCE)]
    chosen = _drawn(rng, dusk, scale.target)
    target = frames(root, chosen, scale.size, truth_of="choose")
    opened = _drawn(rng, other, scale.target)
    known_dusk = [frame for frame in dusk if frame.frames == "choose"]
    report = [frame for frame in dusk if frame.frames == "report"][: scale.held_out]
    key: dict[str, Any] = {
        "data": data, "seed": seed, "size": scale.size, "target": scale.target,
        "source": scale.source, "teacher": scale.teacher_steps, "crop": scale.crop,
        "batch": scale.batch,
        **network.made_with(),
    }  # fmt: skip

    def segmenter() -> torch.nn.Module:
        model = network.start(seed).to(device)

        def make() -> None:
            known = frames(root, own, scale.size)
            train(
                model,
                known.images,
                known.truth,
                crop=scale.crop,
                steps=scale.teacher_steps,
                batch=2 * scale.batch,
                rate=network.rate,
                seed=seed,
            )

        return kept.weights(f"{data}-day", key, model, make)

    return Domains(
        key=key,
        space=seco.CAMVID,
        source=frames(root, _drawn(rng, own, scale.source), scale.size),
        target=target,
        unknown=cache(lambda: with_unknown_things(target, seed)),
        open=cache(lambda: with_unknown_things(frames(root, opened, scale.size), seed)),
        held_out=frames(root, report, scale.size),
        labelled=cache(lambda: frames(root, known_dusk, scale.size)),
        segmenter=segmenter,
        new=lambda seed: network.new(seed).to(device),
        black_box=_black_box(root, chosen, scale.size),
        features=network.features,
        edges=(lambda: _edge_regions(root, chosen, scale.size)) if network.edges else None,
    )


def _demo_segmenter(seed: int) -> torch.nn.Module:
    """The demo's network, which knows generated scenes, with a head for CamVid's classes."""
    model = new_segmenter(seed, seco.CAMVID.num_classes)
    known = load_segmenter().state_dict()
    body = {name: value for name, value in known.items() if not name.startswith("head.")}
    model.load_state_dict(body, strict=False)
    return model


def _new_segmenter(seed: int) -> torch.nn.Module:
    return new_segmenter(seed, seco.CAMVID.num_classes)


def _imagenet_segmenter(seed: int) -> torch.nn.Module:
    return imagenet_segmenter(seed, seco.CAMVID.num_classes)


NETWORKS = {
    "camvid-imagenet": Network(
        _imagenet_segmenter,
        _imagenet_segmenter,
        rate=1e-3,
        # it knows much already; the students' rate was chosen of 1e-3, 3e-4 and 1e-4 with seed 10
        scaled=lambda scale: replace(scale, teacher_steps=scale.teacher_steps // 2, rate=3e-4),
        features=imagenet_features,
        edges=True,
        translates=False,  # its oracle hooks a layer of the demo's network
        made_with=lambda: {"imagenet": imagenet_digest()},
    ),
    "camvid": Network(_demo_segmenter, _new_segmenter, rate=3e-3),
}


def frames(
    root: Path, chosen: Sequence[Frame], size: tuple[int, int], truth_of: str | None = None
) -> ImageSet:
    """Frames at a size; with ``truth_of`` only frames for choosing or for reporting have truth."""
    images, truth, objects = [], [], []
    for frame in chosen:
        image = read_image(next((root / "images" / frame.split).glob(f"{frame.name}.*")))
        label = read_label(root / "labels" / frame.split / f"{frame.name}.png")
        images.append(np.asarray(Image.fromarray(image).resize(size[::-1], Image.BICUBIC)))
        label = _resized(label, size)
        objects.append(seco.connected_components(label, ignore_index=255).ids.astype(np.int32))
        known = truth_of in (None, frame.frames)
        truth.append(label if known else np.full_like(label, 255))
    return ImageSet.of(images, truth, objects)


def _drawn(rng: np.random.Generator, listed: Sequence[Frame], count: int) -> list[Frame]:
    picked = rng.permutation(len(listed))[:count]
    return [listed[index] for index in sorted(picked)]


def _black_box(root: Path, chosen: Sequence[Frame], size: tuple[int, int]) -> np.ndarray:
    folder = root / "pseudo" / BLACK_BOX
    return np.stack(
        [
            _resized(read_label(folder / frame.split / f"{frame.name}_label.png"), size)
            for frame in chosen
        ]
    )


def _edge_regions(root: Path, chosen: Sequence[Frame], size: tuple[int, int]) -> list[seco.Regions]:
    found = []
    for frame in chosen:
        edges = Image.open(root / "edges" / frame.split / f"{frame.name}.png")
        found.append(edge_regions(np.asarray(edges.resize(size[::-1], Image.BILINEAR))))
    return found


def _resized(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.NEAREST))
