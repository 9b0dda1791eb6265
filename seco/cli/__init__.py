"""The ``seco`` command: refine pseudo-labels in files and folders, and see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from seco.cli import correct, demo, evaluate, fit, refine, regions, run
from seco.cli.app import app

app.command()(regions.regions)
app.command()(refine.refine)
app.command()(fit.fit)
app.command()(correct.correct)
app.command()(run.run)
app.command()(evaluate.evaluate)
app.command()(demo.demo)


def main() -> None:
    """Run the command line; the entry point ``seco``."""
    app()
