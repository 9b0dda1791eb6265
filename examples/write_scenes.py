"""Write generated street scenes as folders that the commands take, to try them offline.

    python examples/write_scenes.py game camera --count 8

makes ``game/images``, ``game/labels`` and ``game/classes.json``, and the same for ``camera`` with
other scenes: the two domains of ``seco.demo``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from seco.common.files import write_label
from seco.demo.scenes import DEV_SEEDS, STREETS, street_scene
from sgg.demo import SIZE


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
        folder = args.out / domain
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in DEV_SEEDS[place * args.count : (place + 1) * args.count]:
            scene = street_scene(seed, size=tuple(args.size), domain=domain)
            Image.fromarray(scene.image).save(folder / f"images/{seed}.png")
            write_label(folder / f"labels/{seed}.png", scene.label, STREETS)
        (folder / "classes.json").write_text(STREETS.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
