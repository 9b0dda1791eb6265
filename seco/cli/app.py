"""The command ``seco`` itself."""

from seco.common.cli.app import command_app

app = command_app(
    "seco",
    """Refine pseudo-labels of target images with the Segment Anything Model (SeCo).

    To begin with, for labels with Cityscapes' train ids (others: --label-space), on a GPU:

    \b
    seco run images/ labels/ out/ --sam vit_h --precision bfloat16 --outside keep
    """,
)
