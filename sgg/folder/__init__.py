"""Folders: a labelled source set translated to the target domain, as users of it load it.

- ``translate.py``: the job, :func:`translate_folder`; ``batches.py``: images translated together.
- ``layout.py``, ``class_files.py``: where things lie, and what rare class sampling reads.
- ``noise.py``: the noise of each image; how it is translated: ``sgg/options.py``.
- ``models.py``: from a spec on a command line to a model; ``stored.py``: what its files hold;
  ``classes.py``: whether its classes fit; ``provenance.py``: what manifests say of it.

How a job survives kills, bad files and changed settings: :mod:`seco.common.jobs`.
"""

from sgg.folder.class_files import ClassFiles
from sgg.folder.layout import SetLayout
from sgg.folder.models import describe_model, load_diffusion, load_segmenter
from sgg.folder.noise import image_seed
from sgg.folder.translate import TranslatedSet, translate_folder
from sgg.options import TranslationOptions

__all__ = [
    "ClassFiles",
    "SetLayout",
    "TranslatedSet",
    "TranslationOptions",
    "describe_model",
    "image_seed",
    "load_diffusion",
    "load_segmenter",
    "translate_folder",
]
