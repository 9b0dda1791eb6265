"""Progressive Translation Learning: a segmenter that guides, learns from what it guided, and
guides farther.

- ``stages.py``: the loop, :func:`progressive_translation`; ``run.py``: the steps of a stage;
  ``result.py``: what comes out of it.
- ``protocol.py``: what fine-tuning must offer; ``training.py``, ``crops.py``, ``settings.py``: the
  one that is used if the user gives none.
- ``handing_on.py``, ``weights.py``: one stage's fine-tuning as a job, and its segmenter's file.
- ``measures.py``: what is measured at every stage.
- ``places.py``: where everything lies; ``provenance.py``: what it was made with;
  ``report.py``: the page for people.
"""

from sgg.progressive.measures import Measures
from sgg.progressive.protocol import Finetune, FinetuneTask
from sgg.progressive.report import write_report
from sgg.progressive.result import FinetuningDiverged, Progression, SourceSet, Stage
from sgg.progressive.settings import FinetuneSettings
from sgg.progressive.stages import STRENGTHS, progressive_translation
from sgg.progressive.training import finetune_segmenter

__all__ = [
    "STRENGTHS",
    "Finetune",
    "FinetuneSettings",
    "FinetuneTask",
    "FinetuningDiverged",
    "Measures",
    "Progression",
    "SourceSet",
    "Stage",
    "finetune_segmenter",
    "progressive_translation",
    "write_report",
]
