"""Folders: the stages of the pipeline as jobs over data sets.

- ``outputs.py``: what is written, and in whose layout; ``connectivities.py``: of a label its
  regions.
- ``regions.py``, ``refine.py``, ``fit.py``, ``correct.py``: the stages, one function each.
- ``chain.py``: all of them; ``first_look.py``: at its inputs, before it begins.
- ``provenance.py``: what a stage's manifest says.

Which files belong together: :mod:`seco.common.inputs`, ``naming`` and ``lists``.
How a job survives kills, bad files and changed settings: :mod:`seco.common.jobs`.
"""

from seco.common.inputs import ImageFiles, Inputs, find_inputs, single_input
from seco.common.lists import write_lists
from seco.common.naming import NAMINGS, Naming
from seco.folder.connectivities import read_connectivities
from seco.folder.correct import correct_folder
from seco.folder.fit import fit_folder
from seco.folder.outputs import OutputFormat
from seco.folder.refine import Refiner, refine_file, refine_folder
from seco.folder.regions import find_regions

__all__ = [
    "NAMINGS",
    "ImageFiles",
    "Inputs",
    "Naming",
    "OutputFormat",
    "Refiner",
    "correct_folder",
    "find_inputs",
    "find_regions",
    "fit_folder",
    "read_connectivities",
    "refine_file",
    "refine_folder",
    "single_input",
    "write_lists",
]
