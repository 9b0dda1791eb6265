"""The ``seco`` command: refine pseudo-labels in files and folders, and see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from seco.cli import correct, demo, evaluate, fit, refine, regions, run
from seco.cli.app import app
from seco.common.modules import weights_stay

for command in (
    regions.regions,
    refine.refine,
    fit.fit,
    correct.correct,
    run.run,
    evaluate.evaluate,
    demo.demo,
):
    # No command changes the weights that it has loaded: they are hashed once.
    app.command()(weights_stay()(command))


def main() -> None:
    """Run the command line; the entry point ``seco``."""
    app()
