"""The command ``seco`` itself."""

from seco.common.cli.app import command_app

app = command_app(
    "seco", "Refine pseudo-labels of target images with the Segment Anything Model (SeCo)."
)
