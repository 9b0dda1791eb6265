"""The ``sgg`` command: translate labelled data sets, measure translations, and see a demo.

One file per command; a command is known once its function is registered here.
"""

from __future__ import annotations

from sgg.cli import demo, evaluate, translate
from sgg.cli.app import app

app.command()(translate.translate)
app.command()(evaluate.evaluate)
app.command()(demo.demo)


def main() -> None:
    """Run the command line; the entry point ``sgg``."""
    app()
