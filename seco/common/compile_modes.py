"""The modes of ``torch.compile`` that options take."""

from __future__ import annotations

from typing import Literal, get_args

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

COMPILE_MODES: tuple[CompileMode, ...] = get_args(CompileMode)
