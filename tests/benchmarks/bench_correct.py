"""ConnectivityCorrector against one crop per connectivity, and against its extractor alone.

    python tests/benchmarks/bench_correct.py --out docs/results/bench_correct.json

The released code's way of learning is one 256 x 512 crop per connectivity: through the extractor,
averaged under its mask, one linear layer, cross-entropy, AdamW. Ours is a whole ``fit``: the first
look at the labels, the steps and the survey of the losses. Both use the same extractor and the
same images and labels, on ``--device``; the cost is per connectivity learnt from. On a CPU times
are of the process, on one thread: what else the machine does hardly counts. What is compared takes
turns; figures are medians over turns with the range.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from measuring import clock_of, seconds_of
from record import common_parser, summary, write_record
from scenes import Size, labelled_scenes
from torch import Tensor, nn
from tqdm import tqdm

import seco
from seco.correction.extractors import FeatureExtractor, as_extractor
from seco.correction.samples import Scene, read_scene
from seco.demo import STREETS

CROP = (256, 512)


def resnet18() -> nn.Module:
    """torchvision's, to stride 32, with random weights: its cost is that of trained ones."""
    from torchvision.models import resnet18

    return nn.Sequential(*list(resnet18(weights=None).children())[:-2]).eval()


Pair = tuple[Tensor, Tensor]
TRAINED, FROZEN = "small, trained", ("ResNet-18, frozen", "tiny SAM, frozen")
EXTRACTORS: dict[str, Callable[[torch.device], dict[str, object]]] = {
    TRAINED: lambda device: {"encoder": None, "device": device},
    "ResNet-18, frozen": lambda device: {"encoder": resnet18().to(device)},
    "tiny SAM, frozen": lambda device: {"encoder": seco.load_sam("tiny", device=device)},
}


def pairs_of(count: int, size: Size, device: torch.device) -> list[Pair]:
    """Images (3, H, W) uint8 and labels (H, W)."""
    return [
        (torch.from_numpy(image).permute(2, 0, 1).to(device), torch.from_numpy(label).to(device))
        for image, label in labelled_scenes(count, size)
    ]


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
                self.head = nn.Linear(len(features), STREETS.num_classes).to(features.device)
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
    name: str, pairs: list[Pair], settings: seco.SCCSettings, args: argparse.Namespace
) -> dict[str, object]:
    """Seconds per connectivity learnt from, ours and one crop each."""
    scenes = [read_scene(img, label, STREETS, settings) for img, label in pairs]
    learner = CropLearner(as_extractor(**EXTRACTORS[name](args.device)), scenes)
    rng = np.random.default_rng(0)
    learnable = [(scene.areas >= settings.min_area).nonzero()[:, 0].tolist() for scene in scenes]
    everything = [(index, number) for index, own in enumerate(learnable) for number in own]
    learnt = (settings.iterations or 0) * settings.batch_size
    rows: dict[str, list[float]] = {}
    crops = 8
    learner.step(everything[:2])
    for turn in tqdm(range(args.warm_up + args.repeats), desc=name):
        corrector = seco.ConnectivityCorrector(
            STREETS, settings=settings, **EXTRACTORS[name](args.device)
        )
        batch = [everything[pick] for pick in rng.choice(len(everything), crops, replace=False)]
        ours, _ = seconds_of(lambda corrector=corrector: corrector.fit(pairs), args.device)
        theirs, _ = seconds_of(lambda batch=batch: learner.step(batch), args.device)
        if turn < args.warm_up:
            continue
        ours, theirs = ours / learnt, theirs / crops
        rows.setdefault("ours, ms per connectivity", []).append(1000 * ours)
        rows.setdefault("one crop each, ms per connectivity", []).append(1000 * theirs)
        rows.setdefault("one crop each / ours", []).append(theirs / ours)
    return {
        "connectivities learnt from": learnt,
        "connectivities per image": statistics.mean(map(len, learnable)),
        **{key: summary(values) for key, values in rows.items()},
    }


def correcting(name: str, pairs: list[Pair], args: argparse.Namespace) -> dict[str, object]:
    """Milliseconds of a correction and of a pass of the extractor alone."""
    settings = seco.SCCSettings(iterations=1)
    corrector = seco.ConnectivityCorrector(
        STREETS, settings=settings, **EXTRACTORS[name](args.device)
    )
    corrector.fit(pairs[:1])
    extractor = as_extractor(**EXTRACTORS[name](args.device))
    given = [read_scene(img, label, STREETS, settings).connectivities for img, label in pairs]
    rows: dict[str, list[float]] = {}
    for turn in tqdm(range(2 + 2 * args.repeats), desc=name):
        pick = turn % len(pairs)
        img, label = pairs[pick]

        def extract(img: Tensor = img) -> None:
            with torch.no_grad():
                extractor(img)

        calls: dict[str, Callable[[], object]] = {
            "extractor": extract,
            "regions given": lambda img=img, label=label, pick=pick: corrector.correct(
                img, label, connectivities=given[pick]
            ),
            "raw label": lambda img=img, label=label: corrector.correct(img, label),
        }
        seconds = {kind: seconds_of(call, args.device)[0] for kind, call in calls.items()}
        if turn >= 2:
            for kind, value in seconds.items():
                rows.setdefault(f"{kind}, ms", []).append(1000 * value)
                if kind != "extractor":
                    beyond = value / seconds["extractor"] - 1
                    rows.setdefault(f"{kind}, share beyond the extractor", []).append(beyond)
    return {key: summary(values) for key, values in rows.items()}


def main() -> None:
    parser = common_parser(__doc__, repeats=4)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--warm-up", type=int, default=1, help="fits that are not counted")
    parser.add_argument("--steps", type=int, help="of every fit; else 4 of trained, 100 of frozen")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)  # nothing is learnt in a few steps
    pairs = pairs_of(4, tuple(args.size), args.device)
    default = seco.SCCSettings()
    # Few steps of what is trained, which all cost the same; of what is frozen as many as the
    # least number, since an image passes it twice at most.
    fit = {}
    for per_image in (default.per_image, 64):
        settings = seco.SCCSettings(
            iterations=args.steps or 4, batch_size=4 * per_image, per_image=per_image
        )
        key = f"{TRAINED}, per_image={per_image}, batch_size={4 * per_image}"
        fit[key] = fitting(TRAINED, pairs, settings, args)
    for name in FROZEN:
        settings = seco.SCCSettings(iterations=args.steps or 100)
        fit[name] = fitting(name, pairs, settings, args)
    correct = {name: correcting(name, pairs, args) for name in EXTRACTORS}
    write_record(
        "bench_correct.py", args.out, device=args.device, size=args.size, crop=CROP,
        clock=clock_of(args.device), results={"fit": fit, "correct": correct},
    )  # fmt: skip


if __name__ == "__main__":
    main()
