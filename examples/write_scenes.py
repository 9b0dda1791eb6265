"""Write generated street scenes as folders that the commands take, to try them offline.

    python examples/write_scenes.py game camera --count 8

makes ``game/images``, ``game/labels`` and ``game/classes.json``, and the same for ``camera`` with
other scenes: the two domains of ``seco.demo``.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seco.common.files import write_bytes, write_label
from seco.demo import STREETS
from seco.demo.scenes import DEV_SEEDS, Domain, street_scene
from sgg.demo import SIZE


def write_scenes(
    folder: Path,
    domain: Domain,
    seeds: Sequence[int],
    size: tuple[int, int] = SIZE,
    *,
    go_on: bool = False,
) -> None:
    """Write scenes to ``folder``; with ``go_on`` only those that are not there."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "classes.json", STREETS.to_json().encode())
    for seed in seeds:
        if not (go_on and (folder / f"labels/{seed}.png").exists()):
            scene = street_scene(seed, size=size, domain=domain)
            write_image(folder / f"images/{seed}.png", scene.image)
            write_label(folder / f"labels/{seed}.png", scene.label, STREETS)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image as PNG, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("domains", nargs="+", choices=("game", "camera"))
    parser.add_argument("--count", type=int, default=8, help="scenes of each domain (DEV_SEEDS)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the domains' folders")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"))
    args = parser.parse_args()
    if args.count < 1 or args.count * len(args.domains) > len(DEV_SEEDS):
        raise SystemExit(f"--count: expected 1 to {len(DEV_SEEDS) // len(args.domains)}")
    for place, domain in enumerate(args.domains):
        seeds = DEV_SEEDS[place * args.count : (place + 1) * args.count]
        write_scenes(args.out / domain, domain, seeds, tuple(args.size))


if __name__ == "__main__":
    main()
