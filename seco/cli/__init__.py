"""The ``seco`` command: refine pseudo-labels in files and folders, and see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from seco.cli import correct, demo, evaluate, fit, refine, regions, run
from seco.cli.app import app
from seco.common.modules import weights_stay

for command, purpose in (  # as short as a line of the help is
    (run.run, "All of a data set: refine, correct, report."),
    (regions.regions, "SAM's regions, found once per image."),
    (refine.refine, "Refine labels, in folders or one."),
    (fit.fit, "Learn which regions have a wrong class."),
    (correct.correct, "Repair or drop those regions."),
    (evaluate.evaluate, "Measure labels against the truth."),
    (demo.demo, "See it work, offline, in a minute."),
):
    # No command changes the weights that it has loaded: they are hashed once.
    app.command(short_help=purpose)(weights_stay()(command))


def main() -> None:
    """Run the command line; the entry point ``seco``."""
    app()
