"""The benchmarks, what each is given at every scale, and whether it is done; quickly imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provenance import CHANGED, command_line

SCALES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Benchmark:
    """A script, and its options.

    Args:
        script: its file, beside this one.
        smoke: options for a look whether it works, figures are worth nothing; ``None`` is not at
            that scale.
        cpu: for a machine with a few cores.
        gpu: for one with a GPU such as an H100.
        minutes: how long it may take, at a guess, at the scales cpu and gpu; a call with a limit
            begins it only if so much is left.
    """

    script: str
    smoke: str | None
    cpu: str | None
    gpu: str | None
    minutes: tuple[float, float] = (5, 3)

    def options(self, scale: str) -> list[str] | None:
        """What it is given at a scale; ``None``: it is not run there."""
        told: str | None = getattr(self, scale)
        return None if told is None else told.split()

    def expected(self, scale: str) -> float:
        """Minutes."""
        return {"smoke": 0.5, "cpu": self.minutes[0], "gpu": self.minutes[1]}[scale]


def _encoder(model: str) -> Benchmark:
    return Benchmark(
        "bench_accelerate.py",
        None,
        f"--models {model} --side 512 --repeats 1 --minutes 4",
        f"--models {model} --minutes 6",
        (5, 8),
    )


def _refine(model: str) -> Benchmark:
    words = f"--models {model} --components 100 --repeats 7"
    return Benchmark("bench_refine.py", None, None, words, (0, 4))


def _folder(model: str) -> Benchmark:
    words = f"--model {model} --accelerate --size 1024 1024 --images 64 --processes 1 --threads 4"
    return Benchmark("bench_folder.py", None, None, words, (0, 5))


SUITE = {
    "refine": Benchmark(
        "bench_refine.py", "--images 1 --size 96 192 --least 1 --points 4", "--threads 2",
        "--images 10 --repeats 3", (3, 3),
    ),
    "refine_vit_b": Benchmark(
        "bench_refine.py", None, "--models vit_b --components 100 --threads 2 --warm-up 0",
        "--models vit_b --components 100 --repeats 7", (9, 4),
    ),
    "refine_vit_l": _refine("vit_l"),
    "refine_vit_h": _refine("vit_h"),
    "accelerate": Benchmark(
        "bench_accelerate.py", "--models tiny --repeats 1", "--models tiny --repeats 7",
        "--models tiny --minutes 3", (1, 4),
    ),
    "accelerate_vit_b": Benchmark(
        "bench_accelerate.py", None, "--models vit_b --repeats 3 --minutes 6",
        "--models vit_b --minutes 5", (5, 7),
    ),
    "accelerate_vit_l": _encoder("vit_l"),
    "accelerate_vit_h": _encoder("vit_h"),
    "regions": Benchmark(
        "bench_regions.py", "--size 64 128 --points 8 --images 1 --least 20",
        "--images 20 --threads 2", "--images 40", (6, 4),
    ),
    "sizes": Benchmark(
        "bench_sizes.py", "--sizes 64 --components 3 --points 8 --repeats 1", "--repeats 3",
        "--repeats 10", (3, 3),
    ),
    "sizes_vit_b": Benchmark(
        "bench_sizes.py", None, None, "--models vit_b --accelerate --repeats 10", (0, 4)
    ),
    "sizes_vit_h": Benchmark(
        "bench_sizes.py", None, None, "--models vit_h --accelerate --repeats 10", (0, 5)
    ),
    "folder": Benchmark(
        "bench_folder.py",
        "--images 2 --size 64 128 --repeats 1 --processes 1 --kinds regions",
        "--images 24",
        "--images 128 --accelerate --processes 1 --threads 4",
        (6, 4),
    ),
    "folder_vit_b": _folder("vit_b"),
    "folder_vit_h": _folder("vit_h"),
    "in_loop": Benchmark(
        "bench_in_loop.py", "--height 128 --boxes 5 --repeats 1", "", "--repeats 50", (1, 2)
    ),
    "correct": Benchmark(
        "bench_correct.py", "--size 256 512 --repeats 1 --warm-up 0 --steps 1", "", "", (4, 4)
    ),
    "translate": Benchmark(
        "bench_translate.py",
        "--heights 64 --classes 2 --image-classes 2 --steps 2 --intervals 2 --repeats 1",
        "--repeats 2 --max-copies 8",
        "--classes 1 4 8 13 19 --repeats 10 --steps 50 --intervals 1 2 5 --image-repeats 3"
        " --image-warm-up 1",
        (12, 5),
    ),
    "translate_large": Benchmark(
        "bench_translate.py",
        None,
        None,
        "--models large --dtype bfloat16 --classes 1 8 19 --repeats 5 --steps 50"
        " --intervals 1 2 5 --image-heights 512 --image-warm-up 1",
        (0, 9),
    ),
    "guidance": Benchmark(
        "bench_guidance.py", "--size 64 128 --classes 2 --repeats 1", "--repeats 5",
        "--size 512 1024 --repeats 10", (2, 4),
    ),
    "batches": Benchmark(
        "bench_batches.py",
        "--height 32 --tiled-height 64 --classes 1 3 --images-per-batch 1 2 --tiles-per-batch 1 4"
        " --steps 2 --repeats 1 --scenes 1",
        "",
        "--height 256 --tiled-height 1024 --images-per-batch 1 2 4 8 --steps 20 --repeats 5",
        (4, 4),
    ),
}  # fmt: skip
"""By name; the file is ``bench_NAME.json``, on a GPU ``bench_NAME_cuda.json``."""


@dataclass(frozen=True)
class Run:
    """A benchmark at a scale, on a device, into a folder."""

    name: str
    script: str
    words: Sequence[str]
    path: Path
    minutes: float

    @property
    def command(self) -> str:
        """As its record says it."""
        return command_line(self.script, self.words)

    def done(self, commit: str) -> bool:
        """Whether its file says that it was run to its end as it would be now, on this commit."""
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return False
        same = (found.get("command"), found.get("commit")) == (self.command, commit)
        return same and not commit.endswith(CHANGED) and not found.get("unfinished", False)


def planned(scale: str, device: str, out: Path, only: Sequence[str] = ()) -> list[Run]:
    """What is to be run.

    Args:
        scale: one of ``SCALES``.
        device: ``"cpu"`` or ``"cuda"``.
        out: folder of the results.
        only: names; all that there are at the scale if there is none.

    Raises:
        ValueError: a name that is not there at this scale.
    """
    here = {name: one for name, one in SUITE.items() if one.options(scale) is not None}
    unknown = [name for name in only if name not in here]
    if unknown:
        raise ValueError(
            f"--only: expected some of {', '.join(here)} at scale {scale}, got {', '.join(unknown)}"
        )
    added = [] if device == "cpu" else ["--device", device]
    ending = "" if device == "cpu" else "_cuda"
    return [
        Run(
            name,
            one.script,
            [*(one.options(scale) or []), *added],
            out / f"bench_{name}{ending}.json",
            one.expected(scale),
        )
        for name, one in here.items()
        if not only or name in only
    ]
