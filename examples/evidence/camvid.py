"""CamVid: labelled day frames are the source, dusk is the target.

The folder is the one that ``examples/measure_psa.py`` takes. Dusk images may all be used without
labels; the true labels of the first half train upper bounds and oracles, the last half is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring.samples import Frame, camvid_frames
from measuring.training import new_segmenter, train
from PIL import Image

import seco
from evidence.domains import Domains, ImageSet
from evidence.kept import Kept
from evidence.scales import SecoScale
from evidence.unknown import with_unknown_things
from seco.common.files import read_image, read_label
from seco.demo.segmenter import load_segmenter

BLACK_BOX = "espnetv2_0.5"
"""The network of the black-box setting, which was trained on Cityscapes."""
OPEN_SEQUENCE = "0006R0"
"""Day frames of another camera run: the open images; the source then has the other run alone."""


def camvid(root: Path, scale: SecoScale, seed: int, device: torch.device, kept: Kept) -> Domains:
    """Source and target frames; a seed draws its source and open frames by lot."""
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
        "data": "camvid", "seed": seed, "size": scale.size, "target": scale.target,
        "source": scale.source, "teacher": scale.teacher_steps, "crop": scale.crop,
        "batch": scale.batch,
    }  # fmt: skip

    def segmenter() -> torch.nn.Module:
        model = day_segmenter(seed).to(device)

        def make() -> None:
            known = frames(root, own, scale.size)
            train(
                model,
                known.images,
                known.truth,
                crop=scale.crop,
                steps=scale.teacher_steps,
                batch=2 * scale.batch,
                rate=3e-3,
                seed=seed,
            )

        return kept.weights("camvid-day", key, model, make)

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
        new=lambda seed: new_segmenter(seed, seco.CAMVID.num_classes).to(device),
        black_box=_black_box(root, chosen, scale.size),
    )


def day_segmenter(seed: int) -> torch.nn.Module:
    """The demo's network, which knows generated scenes, with a head for CamVid's classes."""
    model = new_segmenter(seed, seco.CAMVID.num_classes)
    known = load_segmenter().state_dict()
    body = {name: value for name, value in known.items() if not name.startswith("head.")}
    model.load_state_dict(body, strict=False)
    return model


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


def _resized(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.NEAREST))
