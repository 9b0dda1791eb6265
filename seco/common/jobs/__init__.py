"""Folder jobs: many files in, many files out, whatever happens on the way.

- ``run.py``: a job from its start to its summary; :func:`run_job` is the call.
- ``together.py``: a job of one item that all processes make together.
- ``journal.py``: how a finished file is recognised.
- ``manifest.py``: what outputs are made with, and that they are not mixed.
- ``overlap.py``: read the next, work on the current and write the previous at the same time.
- ``times.py``: where the time went.
"""

from seco.common.jobs.journal import Item, Signature
from seco.common.jobs.manifest import Manifest, library_versions
from seco.common.jobs.overlap import overlap
from seco.common.jobs.run import (
    JobOptions,
    JobStopped,
    Outcome,
    Summary,
    run_job,
    run_share,
)
from seco.common.jobs.times import Times
from seco.common.jobs.together import Whole, run_together

__all__ = [
    "Item",
    "JobOptions",
    "JobStopped",
    "Manifest",
    "Outcome",
    "Signature",
    "Summary",
    "Times",
    "Whole",
    "library_versions",
    "overlap",
    "run_job",
    "run_share",
    "run_together",
]
