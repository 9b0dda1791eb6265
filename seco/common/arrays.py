"""The type of numpy arrays in annotations; dtypes and shapes are said and checked in words."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
