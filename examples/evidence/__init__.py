"""The comparisons that both papers rest on, on domains that anyone can generate or has.

- ``cells.py``: what is measured, one file for each; ``scales.py``: how large.
- ``domains.py``, ``streets.py``, ``camvid.py``, ``unknown.py``: source, target and open images.
- ``seco_suite.py`` with ``adaptation.py``, ``labelling.py``, ``dividemix.py``: labels and training.
- ``sgg_suite.py`` with ``translations.py``: translated sets, and both papers together.
- ``kept.py``: what cells share, kept on disk.
- ``publish.py``, ``summary.py``, ``papers.py``, ``tables.py``, ``page.py``, ``plots.py``: what is
  said of it.
- ``command.py``: the command line.
"""
