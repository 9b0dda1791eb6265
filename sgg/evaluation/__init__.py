"""What a translated set is measured by; no translation reads any of it.

- ``folder.py``: whether its labels still hold, in the eyes of an oracle, and how near the target
  domain is.
- ``distance.py``: of two sets of images.
"""

from sgg.evaluation.distance import Moments, colour_features, frechet_distance, logit_features
from sgg.evaluation.folder import Evaluation, evaluate_folder

__all__ = [
    "Evaluation",
    "Moments",
    "colour_features",
    "evaluate_folder",
    "frechet_distance",
    "logit_features",
]
