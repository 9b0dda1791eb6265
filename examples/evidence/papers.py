"""What the two papers report, in mIoU, and the orders that are to be reproduced.

SeCo: Zhao et al., NeurIPS 2024 (GTA5 -> Cityscapes, main tables and ablation). SGG: Peng et al.,
ICCV 2023, of which the order of the arms is taken alone.
"""

from __future__ import annotations

PAPER_COLUMNS: dict[str, tuple[str, ...]] = {
    "UDA": ("ProDA", "DAFormer"),
    "source-free": ("DTST",),
    "black-box": ("BiMem",),
}
"""Setting -> the paper's base methods of that setting."""

ABLATION: dict[str, dict[str, float]] = {
    "ProDA": {
        "base": 53.7, "prompts only": 48.0, "alignment": 60.9, "PSA": 62.1, "PSA + SCC": 64.1,
        "DivideMix": 49.8, "PSA + DivideMix": 60.1, "supervised on target": 69.1,
    },
    "DAFormer": {
        "base": 68.2, "prompts only": 64.6, "alignment": 69.7, "PSA": 70.3, "PSA + SCC": 73.4,
        "supervised on target": 76.4,
    },
    "DTST": {
        "base": 52.1, "prompts only": 46.7, "alignment": 56.1, "PSA": 57.9, "PSA + SCC": 60.5,
    },
    "BiMem": {
        "base": 48.2, "prompts only": 42.8, "alignment": 52.4, "PSA": 54.4, "PSA + SCC": 56.7,
    },
}  # fmt: skip
"""Base method -> arm -> mIoU on Cityscapes after training on the labels."""

CLOSED = {"AdvEnt": 57, "ProDA": 68, "DAFormer": 63}
"""Base method -> percent of the way from base to the supervised upper bound, UDA."""

SECO_ORDERS = (
    ("prompts only", "base"),
    ("base", "alignment"),
    ("alignment", "PSA"),
    ("PSA", "PSA + SCC"),
    ("DivideMix", "base"),
    ("PSA + DivideMix", "PSA"),
    ("PSA + DivideMix", "PSA + SCC"),
)
"""(worse, better), as the paper has it after training."""

SGG_ORDERS = (
    ("source images", "unguided"),
    ("unguided", "LCG"),
    ("unguided", "GSG"),
    ("LCG", "SGG"),
    ("GSG", "SGG"),
    ("SGG", "SGG + PTL"),
)
"""(worse, better), as the paper has it."""
