"""One of several processes that fit together: run as a program by test_parallel.py."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from patches import SPACE, Colour, patches

from seco import ConnectivityCorrector, ModuleExtractor, NoNoiseFoundWarning, SCCSettings

SETTINGS = SCCSettings(iterations=5, batch_size=24, per_image=7, learning_rate=0.02)


class Unused(Colour):
    """A network with weights that no image reaches, and which no step may move."""

    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Parameter(torch.ones(3))


class Iterable:
    """Samples without positions."""

    def __iter__(self):
        return iter(data())


def data(count=5):
    return [patches(seed, wrong=0.2)[:2] for seed in range(count)]


ENCODERS = {
    "small": lambda: None,
    "frozen": Colour,
    "trained": lambda: ModuleExtractor(Unused(), trained=True, learning_rate_factor=1.0),
}


def fit(encoder, samples=None, *, seed=0, settings=SETTINGS, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        corrector = ConnectivityCorrector(SPACE, encoder, settings=settings, seed=seed)
        return corrector.fit(data() if samples is None else samples, **options)


def told(call):
    """The error of a call that must fail."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(folder: Path, rank: int, size: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    passes = {}
    for name, make in ENCODERS.items():
        encoder = make()
        fit(encoder).save(folder / f"{name}{rank}")
        passes[name] = getattr(encoder, "passes", None)
    fit(Colour(), Iterable()).save(folder / f"iterable{rank}")
    fit(Colour(), data(1), data_parallel=rank > 5).save(folder / f"alone{rank}")
    (folder / "alone").mkdir(exist_ok=True)
    fit(None, checkpoint=folder / "early.safetensors").save(folder / f"resumed{rank}")
    bad = data()
    bad[3] = (bad[3][0], bad[3][1][1:])  # in the share of process 1
    errors = {
        "bad sample": told(lambda: fit(Colour(), bad)),
        "seeds": told(lambda: fit(Colour(), seed=rank)),
        "checkpoint": told(lambda: fit(Colour(), checkpoint=folder / "early.safetensors")),
    }
    (folder / f"told{rank}.json").write_text(json.dumps({"errors": errors, "passes": passes}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
