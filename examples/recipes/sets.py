"""The sets that a recipe works on: folders of yours, or generated street scenes."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from write_scenes import write_scenes

from seco import LabelSpace, find_label_space
from seco.common.files import write_bytes
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS, TRAIN_SEEDS
from seco.folder import Inputs, find_inputs


@dataclass(frozen=True)
class Sets:
    """What a recipe is given.

    Args:
        space: the classes.
        source: images with labels, if the recipe uses any.
        target: images without labels.
        images: the folder they are in.
        held_out: images with labels to measure on, and for nothing else.
    """

    space: LabelSpace
    source: Inputs | None
    target: Inputs
    images: Path
    held_out: Inputs | None


def add_options(parser: argparse.ArgumentParser, *, source: bool) -> None:
    """Options of every recipe; ``source`` if it learns from labelled source images."""
    parser.add_argument("out", type=Path, help="folder for all that comes out")
    parser.add_argument("--target", type=Path, help="images without labels; else generated scenes")
    if source:
        parser.add_argument("--source", type=Path, nargs=2, metavar=("IMAGES", "LABELS"))
    parser.add_argument(
        "--held-out", type=Path, nargs=2, metavar=("IMAGES", "LABELS"), help="to measure on only"
    )
    parser.add_argument("--label-space", default="cityscapes", help="a name or a .json file")
    parser.add_argument(
        "--segmenter", default="demo",
        help="transformers folder, TorchScript file or package.module:function, as sgg takes it; "
        "@FILE.safetensors behind it for other weights",
    )  # fmt: skip
    parser.add_argument("--sam", default="tiny", help="tiny, vit_b, vit_l, vit_h, ...")
    parser.add_argument("--checkpoint", help="of the SAM")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=24, help="generated, of every set")


def find_sets(args: argparse.Namespace) -> Sets:
    """Find what the options name, or draw street scenes: game is the source, camera the target."""
    source = getattr(args, "source", None)
    if args.target is None:
        if source or args.held_out:
            raise SystemExit("--target: expected a folder beside --source and --held-out")
        streets = args.out / "streets"
        write_scenes(streets / "target", "camera", DEV_SEEDS[: args.scenes], go_on=True)
        write_scenes(streets / "held-out", "camera", TEST_SEEDS[: args.scenes], go_on=True)
        args.target = streets / "target/images"
        args.held_out = (streets / "held-out/images", streets / "held-out/labels")
        args.label_space = str(streets / "target/classes.json")
        if hasattr(args, "source"):
            write_scenes(streets / "source", "game", TRAIN_SEEDS[: args.scenes], go_on=True)
            source = (streets / "source/images", streets / "source/labels")
    elif hasattr(args, "source") and source is None:
        raise SystemExit("--source: expected folders of images and labels beside --target")
    return Sets(
        space=find_label_space(args.label_space),
        source=None if source is None else find_inputs(*source),
        target=find_inputs(args.target),
        images=args.target,
        held_out=None if args.held_out is None else find_inputs(*args.held_out),
    )


def check_settings(args: argparse.Namespace, *, free: tuple[str, ...] = ()) -> None:
    """Keep the options beside what they make; refuse to go on with others.

    ``free`` are the names of options that may change. Call it before :func:`find_sets`.
    """
    free = ("out", "device", *free)
    said = {name: str(value) for name, value in vars(args).items() if name not in free}
    path = args.out / "settings.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in said if said[name] != before.get(name)]
        if other:
            raise SystemExit(
                f"{args.out} was made with another {', '.join(other)}; give it another folder"
            )
    args.out.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(said, indent=1).encode())
