"""What the commands of seco and sgg have in common.

- ``app.py``: the command itself, with ``--version``.
- ``options.py``: options that both have.
- ``inputs.py``: from options to the files that a command works on.
- ``progress.py``: how far a job is.
- ``running.py``: what is said, exit codes.
- ``unused.py``: options that would do nothing.
"""
