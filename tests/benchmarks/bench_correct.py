"""ConnectivityCorrector against one crop per connectivity, and against its extractor alone.

    python tests/benchmarks/bench_correct.py --out docs/results/bench_correct.json

The released code's way of learning is one 256 x 512 crop per connectivity: through the extractor,
averaged under its mask, one linear layer, cross-entropy, AdamW. Ours is a whole ``fit``: the first
look at the labels, the steps and the survey of the losses. Both use the same extractor and the
same images and labels; the cost is per connectivity learnt from. Times are of the processor, on
one thread: what else the machine does hardly counts. What is compared takes turns; figures are
medians over turns with the range.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from record import summary, write_record
from torch import Tensor, nn
from tqdm import tqdm

import seco
from seco.correction.extractors import FeatureExtractor, as_extractor
from seco.correction.samples import Scene, read_scene
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict

CROP = (256, 512)


def resnet18() -> nn.Module:
    """torchvision's, to stride 32, with random weights: its cost is that of trained ones."""
    from torchvision.models import resnet18

    return nn.Sequential(*list(resnet18(weights=None).children())[:-2]).eval()


EXTRACTORS: dict[str, Callable[[], object]] = {
    "small, trained": lambda: None,
    "ResNet-18, frozen": resnet18,
    "tiny SAM, frozen": lambda: seco.load_sam("tiny"),
}


def labelled_scenes(count: int, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Camera images with the labels of a network that was trained on other weather."""
    segmenter, pairs = load_segmenter(), []
    for seed in DEV_SEEDS[:count]:
        image = street_scene(seed, size=size, domain="camera").image
        pairs.append((image, predict(segmenter, image[None])[0][0]))
    return pairs


def crop_of(scene: Scene, number: int) -> tuple[Tensor, Tensor]:
    """The 256 x 512 pixels round a connectivity, (3, 256, 512), and its mask in them."""
    mask = scene.connectivities.ids == number + 1
    corners = []
    for side, length, pixels in zip(CROP, mask.shape, mask.nonzero().T, strict=True):
        middle = int(pixels.float().mean()) - side // 2
        corners.append(min(max(middle, 0), length - side))
    window = tuple(slice(corner, corner + side) for corner, side in zip(corners, CROP, strict=True))
    return scene.image[(slice(None), *window)], mask[window]


class CropLearner:
    """A step of learning from connectivities, each with a crop and a pass of its own."""

    def __init__(self, extractor: FeatureExtractor, scenes: list[Scene]) -> None:
        self.extractor, self.scenes = extractor, scenes
        self.head: nn.Linear | None = None
        self.optimizer: torch.optim.Optimizer | None = None

    def step(self, batch: list[tuple[int, int]]) -> None:
        """Learn from connectivities, each told by its scene and its number there."""
        total = 0.0
        for index, number in batch:
            scene = self.scenes[index]
            image, mask = crop_of(scene, number)
            pooled = []
            for level in self.extractor(image):
                cells = level.values.flatten(1)
                shares = F.interpolate(
                    mask[None, None].float(), level.values.shape[1:], mode="area"
                )
                pooled.append(cells @ shares.flatten() / shares.sum().clamp(min=1e-6))
            features = torch.cat(pooled).float()
            if self.head is None or self.optimizer is None:
                self.head = nn.Linear(len(features), STREETS.num_classes)
                trained = self.extractor.trained
                own = [] if trained is None else list(trained.parameters())
                self.optimizer = torch.optim.AdamW([*self.head.parameters(), *own], lr=1e-3)
            loss = F.cross_entropy(self.head(features), scene.connectivities.classes[number])
            (loss / len(batch)).backward()
            total += loss.item()
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad()


def fitting(
    name: str, pairs: list[tuple[np.ndarray, np.ndarray]], settings: seco.SCCSettings, turns: int
) -> dict[str, object]:
    """Seconds per connectivity learnt from, ours and one crop each."""
    scenes = [read_scene(img, label, STREETS, settings) for img, label in pairs]
    extractor = as_extractor(EXTRACTORS[name]())
    learner = CropLearner(extractor, scenes)
    rng = np.random.default_rng(0)
    learnable = [(scene.areas >= settings.min_area).nonzero()[:, 0].tolist() for scene in scenes]
    everything = [(index, number) for index, own in enumerate(learnable) for number in own]
    learnt = (settings.iterations or 0) * settings.batch_size
    rows: dict[str, list[float]] = {}
    crops = 8
    learner.step(everything[:2])
    for _ in tqdm(range(turns), desc=name):
        corrector = seco.ConnectivityCorrector(STREETS, EXTRACTORS[name](), settings=settings)
        start = time.process_time()
        corrector.fit(pairs)
        ours = (time.process_time() - start) / learnt
        batch = [everything[pick] for pick in rng.choice(len(everything), crops, replace=False)]
        start = time.process_time()
        learner.step(batch)
        theirs = (time.process_time() - start) / crops
        rows.setdefault("ours, ms per connectivity", []).append(1000 * ours)
        rows.setdefault("one crop each, ms per connectivity", []).append(1000 * theirs)
        rows.setdefault("one crop each / ours", []).append(theirs / ours)
    return {
        "connectivities learnt from": learnt,
        "connectivities per image": statistics.mean(map(len, learnable)),
        **{key: summary(values) for key, values in rows.items()},
    }


def correcting(
    name: str, pairs: list[tuple[np.ndarray, np.ndarray]], turns: int
) -> dict[str, object]:
    """Milliseconds of a correction and of a pass of the extractor alone."""
    settings = seco.SCCSettings(iterations=1)
    corrector = seco.ConnectivityCorrector(STREETS, EXTRACTORS[name](), settings=settings)
    corrector.fit(pairs[:1])
    extractor = as_extractor(EXTRACTORS[name]())
    given = [read_scene(img, label, STREETS, settings).connectivities for img, label in pairs]
    tensors = [torch.from_numpy(img).permute(2, 0, 1) for img, _ in pairs]
    rows: dict[str, list[float]] = {}
    for turn in tqdm(range(turns + 2), desc=name):
        pick = turn % len(pairs)
        img, label = pairs[pick]

        def extract(pick: int = pick) -> None:
            with torch.no_grad():
                extractor(tensors[pick])

        calls: dict[str, Callable[[], object]] = {
            "extractor": extract,
            "regions given": lambda img=img, label=label, pick=pick: corrector.correct(
                img, label, connectivities=given[pick]
            ),
            "raw label": lambda img=img, label=label: corrector.correct(img, label),
        }
        seconds = {}
        for kind, call in calls.items():
            start = time.process_time()
            call()
            seconds[kind] = time.process_time() - start
        if turn >= 2:
            for kind, value in seconds.items():
                rows.setdefault(f"{kind}, ms", []).append(1000 * value)
                if kind != "extractor":
                    beyond = value / seconds["extractor"] - 1
                    rows.setdefault(f"{kind}, share beyond the extractor", []).append(beyond)
    return {key: summary(values) for key, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)  # nothing is learnt in a few steps
    pairs = labelled_scenes(4, tuple(args.size))
    default = seco.SCCSettings()
    # Few steps of what is trained, which all cost the same; of what is frozen as many as the
    # least number, since an image passes it twice at most.
    trained, frozen = "small, trained", ("ResNet-18, frozen", "tiny SAM, frozen")
    fit = {}
    for per_image in (default.per_image, 64):
        settings = seco.SCCSettings(iterations=4, batch_size=4 * per_image, per_image=per_image)
        found = fitting(trained, pairs, settings, args.turns)
        fit[f"{trained}, per_image={per_image}, batch_size={4 * per_image}"] = found
    for name in frozen:
        fit[name] = fitting(name, pairs, seco.SCCSettings(iterations=100), args.turns)
    correct = {name: correcting(name, pairs, 2 * args.turns) for name in EXTRACTORS}
    results = {"fit": fit, "correct": correct}
    write_record("bench_correct.py", args.out, size=args.size, crop=CROP, results=results)


if __name__ == "__main__":
    main()
