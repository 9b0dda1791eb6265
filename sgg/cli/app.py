"""The command ``sgg`` itself."""

from seco.common.cli.app import command_app

app = command_app(
    "sgg", "Translate labelled source images to the target domain, guided by their labels (SGG)."
)
