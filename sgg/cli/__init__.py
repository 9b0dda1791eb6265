"""The ``sgg`` command: translate labelled data sets, at once or in stages, measure, see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from sgg.cli import demo, evaluate, progressive, translate
from sgg.cli.app import app

app.command()(translate.translate)
app.command()(progressive.progressive)
app.command()(evaluate.evaluate)
app.command()(demo.demo)


def main() -> None:
    """Run the command line; the entry point ``sgg``."""
    app()
