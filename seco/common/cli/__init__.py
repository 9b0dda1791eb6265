"""What the commands of seco and sgg have in common.

- ``options.py``: options that both have.
- ``inputs.py``: from options to the files that a command works on.
- ``running.py``: progress, what is said, exit codes.
"""
