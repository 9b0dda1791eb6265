"""Labels and corrections measured against truth; nothing else in the package reads truth.

Everything is exact and streams: measure image by image, then pool.
"""

from seco.common.confusion import Confusion, confusion
from seco.evaluation.boundary import BoundaryOverlap, boundary_overlap
from seco.evaluation.connectivities import (
    Recognition,
    Repair,
    TrueConnectivities,
    compare_with_truth,
    recognition,
    repair,
    true_classes,
)
from seco.evaluation.quality import LabelQuality, measure_labels

__all__ = [
    "BoundaryOverlap",
    "Confusion",
    "LabelQuality",
    "Recognition",
    "Repair",
    "TrueConnectivities",
    "boundary_overlap",
    "compare_with_truth",
    "confusion",
    "measure_labels",
    "recognition",
    "repair",
    "true_classes",
]
