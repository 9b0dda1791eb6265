"""Source-free or black-box adaptation in rounds: label, refine with ``seco run``, train, again.

    python examples/train_in_rounds.py OUT                 # generated scenes, bundled models
    python examples/train_in_rounds.py OUT --target city/train --segmenter my_models:source_model \\
        --crop 512 512 --steps 4000 --sam vit_h --checkpoint sam_vit_h_4b8939.pth --device cuda
    python examples/train_in_rounds.py OUT --target city/train --first-labels labels/ \\
        --segmenter my_models:new_model                    # black-box: labels and nothing else

Source-free: the first labels are the source model's. Black-box: they come from a folder, without
confidences, and the student starts as ``--segmenter`` has it. No source image is read. Regions are
found once. ``OUT/round-K/student.safetensors`` are the weights, ``OUT/round-K/seco/report.html``
shows what became of the labels. Killed at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recipes.finetuning import add_training_options, finetune, settings_of
from recipes.labelling import label_folder, quality, run_seco, sam_words
from recipes.sets import add_options, check_settings, find_sets

from seco.folder import find_inputs
from sgg.folder import load_segmenter


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, source=False)
    parser.add_argument("--first-labels", type=Path, help="folder of labels: black-box")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--outside", choices=("keep", "ignore"), default="keep")
    add_training_options(parser, batch=4, steps="of a round")
    args = parser.parse_args(words)
    check_settings(args, free=("rounds",))
    sets, segmenter = find_sets(args), load_segmenter(args.segmenter, device=args.device)
    settings, sam, regions = settings_of(args), sam_words(args), args.out / "regions"
    run_seco("regions", sets.images, regions, *sam)
    print("before:", quality(segmenter, sets.held_out, sets.space))
    for number in range(1, args.rounds + 1):
        folder = args.out / f"round-{number}"
        if number == 1 and args.first_labels is not None:
            labels, sure = args.first_labels, []
        else:
            labels, confidence = folder / "predicted", folder / "confidence"
            label_folder(segmenter, sets.target, labels, confidence, sets.space)
            sure = ["--confidence", confidence]
        run_seco(
            "run", sets.images, labels, folder / "seco", "--label-space", args.label_space,
            "--regions", regions, "--outside", args.outside, "--seed", args.seed, *sure, *sam,
        )  # fmt: skip
        finetune(
            segmenter, find_inputs(sets.images, folder / "seco/labels"),
            folder / "student.safetensors",
            space=sets.space, settings=settings, seed=args.seed + number,
        )  # fmt: skip
        print(f"round {number}:", quality(segmenter, sets.held_out, sets.space))


if __name__ == "__main__":
    main()
