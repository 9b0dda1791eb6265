"""Domain generalisation: train on labelled source images and open images, whatever they show.

    python examples/generalise.py OUT                      # generated scenes, bundled models
    python examples/generalise.py OUT --source gta/images gta/labels --target open/ \\
        --segmenter my_models:source_model --crop 512 512 --steps 4000 \\
        --sam vit_h --checkpoint sam_vit_h_4b8939.pth --device cuda

The source model labels the open images (``--target``); ``seco run`` with the rest ignored keeps
what its regions agree on, and its corrector drops what fits no class. Images with too little left
are set aside. The student learns from both sets. Killed at any moment, the same command goes on.

The generated open images are game scenes in other colours, with things in them that no class names.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measuring.unknown import paste_unknown_things
from recipes.finetuning import add_training_options, finetune, settings_of
from recipes.labelling import label_folder, quality, run_seco, sam_words
from recipes.sets import add_options, check_settings, find_sets
from train_segmenter import augment
from write_scenes import write_image

from seco.common.items import label_of
from seco.demo.scenes import TRAIN_SEEDS, street_scene
from seco.folder import Inputs, find_inputs
from sgg.demo import SIZE
from sgg.folder import load_segmenter


def open_scene(seed: int) -> np.ndarray:
    """A game scene, (64, 128, 3) uint8, in other colours and with unknown things."""
    scene = street_scene(seed, size=SIZE, domain="game")
    pixels = torch.from_numpy(scene.image).permute(2, 0, 1)[None]
    view, _ = augment(pixels, torch.zeros(1, *SIZE), SIZE, torch.Generator().manual_seed(seed))
    image = (view[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return paste_unknown_things(image, np.random.default_rng(seed))[0]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, source=True)
    parser.add_argument("--min-labelled", type=float, default=0.2, help="share of an open image")
    add_training_options(parser, batch=4)
    args = parser.parse_args(words)
    check_settings(args)
    settings = settings_of(args)
    generated, sets = args.target is None, find_sets(args)
    segmenter = load_segmenter(args.segmenter, device=args.device)
    images, found = sets.images, args.out / "seco"
    if generated:
        images = args.out / "streets/open"
        images.mkdir(exist_ok=True)
        for seed in TRAIN_SEEDS[-args.scenes :]:
            if not (images / f"{seed}.png").exists():
                write_image(images / f"{seed}.png", open_scene(seed))
    labels, confidence = args.out / "predicted", args.out / "confidence"
    label_folder(segmenter, find_inputs(images), labels, confidence, sets.space)
    run_seco(
        "run", images, labels, found, "--label-space", args.label_space, "--confidence", confidence,
        "--outside", "ignore", "--seed", args.seed, *sam_words(args),
    )  # fmt: skip
    opened = find_inputs(images, found / "labels")
    kept = [files for files in opened.files
            if (label_of(files, opened, sets.space) != sets.space.ignore_index).mean()
            >= args.min_labelled]  # fmt: skip
    print(f"{len(kept)} of {len(opened.files)} open images have enough labels")
    both = Inputs((*sets.source.files, *kept))
    print("before:", quality(segmenter, sets.held_out, sets.space))
    weights = args.out / "student.safetensors"
    finetune(segmenter, both, weights, space=sets.space, settings=settings, seed=args.seed)
    print("after:", quality(segmenter, sets.held_out, sets.space))


if __name__ == "__main__":
    main()
