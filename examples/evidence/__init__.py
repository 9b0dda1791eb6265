"""The comparisons that both papers rest on, on domains that anyone can generate or has.

- ``cells.py``: what is measured, one file for each; ``scales.py``: how large.
- ``planned.py``, ``running.py``, ``context.py``: which cells there are, in what processes and with
  what they are run.
- ``domains.py``, ``streets.py``, ``plain_source.py``, ``camvid.py``, ``unknown.py``: source, target
  and open images, and the source model.
- ``seco_suite.py`` with ``adaptation.py``, ``labelling.py``, ``dividemix.py``: labels and training.
- ``sgg_suite.py`` with ``translations.py``: translated sets, and both papers together.
- ``kept.py``: what cells share, kept on disk.
- ``publish.py``: finished cells into docs/results/evidence; ``summary.py``, ``papers.py``: means,
  orders, and the papers' numbers.
- ``docs.py``: all pages and plots, of that and of the notes beside it (notes.json).
  ``front_page.py`` with ``overview.py``, ``overview_plots.py``: docs/evidence.md. ``file_page.py``
  with ``tables.py``, ``plots.py``, ``references.py``: docs/evidence/.
- ``command.py``: the command line.
"""
