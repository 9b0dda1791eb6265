"""sgg: translate labelled source images to the target domain with label-guided diffusion.

This package is an importable shell in this release: ``translate`` and its command come with the
next one. The pseudo-label side is complete, see :mod:`seco`.
"""

__version__ = "0.1.0"
__all__: list[str] = []
