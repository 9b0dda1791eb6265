"""``python examples/evidence``: see :mod:`evidence.command`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # examples/, where measuring/ is too
    from evidence.command import main

    main()
