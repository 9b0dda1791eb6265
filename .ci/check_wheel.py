"""The installed wheel: is every file of the packages in it, and what does importing them load?

Run as `python -I .ci/check_wheel.py` where the wheel is installed and the checkout is not.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import files
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {"torchvision", "segment_anything", "transformers", "diffusers", "sklearn", "matplotlib"}

started = time.perf_counter()
import torch  # noqa: E402, F401  (what is timed)

after_torch = time.perf_counter()
import seco  # noqa: E402  (what is timed)
import sgg  # noqa: E402  (what is timed)

beyond = time.perf_counter() - after_torch
print(f"import: torch {after_torch - started:.1f} s, seco and sgg {beyond:.2f} s beyond it")
loaded = HEAVY & {name.partition(".")[0] for name in sys.modules}
assert not loaded, f"importing seco and sgg loads {sorted(loaded)}"
for package in (seco, sgg):
    assert "site-packages" in str(package.__file__), f"not of the wheel: {package.__file__}"

wanted = {
    path.relative_to(ROOT).as_posix()
    for name in ("seco", "sgg")
    for path in (ROOT / name).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
missing = wanted - {path.as_posix() for path in files("seco-sgg") or ()}
assert wanted, f"no packages in {ROOT}"
assert not missing, f"the wheel lacks {sorted(missing)}"
print(f"the wheel holds all {len(wanted)} files of seco and sgg")
