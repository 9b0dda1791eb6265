"""The ``seco`` command: refine pseudo-labels in files and folders, and see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from seco.cli import correct, demo, evaluate, fit, refine, regions, run
from seco.cli.app import app
from seco.common.modules import weights_stay

# Of every command its function, a line as short as the help of all is, and how it is called.
COMMANDS = (
    (
        run.run,
        "All of a data set: refine, correct, report.",
        "seco run images/ labels/ out/ --sam vit_h --precision bfloat16 --outside keep",
    ),
    (
        regions.regions,
        "SAM's regions, found once per image.",
        "seco regions images/ regions/ --sam vit_h --precision bfloat16",
    ),
    (
        refine.refine,
        "Refine labels, in folders or one.",
        "seco refine image.png label.png refined.png --sam vit_h\n\n"
        "seco refine images/ labels/ refined/ --sam vit_h --save-connectivities parts/ "
        "--save-scores scores/\n\n"
        "seco refine images/ labels/ refined/ --sam none --regions regions/",
    ),
    (
        fit.fit,
        "Learn which regions have a wrong class.",
        "seco fit images/ refined/ corrector/ --sam vit_h --connectivities parts/ "
        "--confidence scores/",
    ),
    (
        correct.correct,
        "Repair or drop those regions.",
        "seco correct images/ refined/ corrector/ corrected/ --sam vit_h --connectivities parts/ "
        "--confidence scores/",
    ),
    (
        evaluate.evaluate,
        "Measure labels against the truth.",
        "seco evaluate corrected/ truth/ --json measures.json",
    ),
    (demo.demo, "See it work, offline, in a minute.", "seco demo --out demo"),
)
for command, purpose, examples in COMMANDS:
    # No command changes the weights that it has loaded: they are hashed once.
    app.command(short_help=purpose, epilog=f"Such as:\n\n{examples}")(weights_stay()(command))


def main() -> None:
    """Run the command line; the entry point ``seco``."""
    app()
