"""What is reported of a correction: its labels' quality, recognition and repair, as tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from seco.evaluation import Confusion, TrueConnectivities, recognition, repair

LEAST = 10  # pixels: smaller regions count by area only


def quality(counts: Sequence[Confusion]) -> dict[str, float]:
    """Of labels, pooled, in percent."""
    pooled = Confusion(np.sum([item.counts for item in counts], axis=0))
    return {
        "mIoU": 100 * pooled.mean_iou,
        "accuracy": 100 * pooled.accuracy,
        "coverage": 100 * pooled.coverage,
    }


def connectivity_figures(found: TrueConnectivities, tau_ns: float) -> dict[str, float]:
    """Recognition and repair, by regions of ``LEAST`` pixels or more, and by area; percent."""
    large = TrueConnectivities(
        *(getattr(found, f.name)[found.areas >= LEAST] for f in dataclasses.fields(found))
    )
    out: dict[str, float] = {"regions": len(large)}
    for part, by_area in ((large, False), (found, True)):
        weights = part.areas if by_area else None
        end = " (area)" if by_area else ""
        told, mended = (
            recognition(part, threshold=tau_ns, by_area=by_area),
            repair(part, by_area=by_area),
        )
        out[f"AUROC of loss{end}"] = roc_auc_score(part.noisy, part.losses, sample_weight=weights)
        for name, value in (
            ("noise rate", told.noise_rate),
            ("noise rate of clean cluster", told.noise_rate_below),
            ("noise rate of noisy cluster", told.noise_rate_above),
            ("share of noisy cluster", told.share_above),
            ("noisy corrected", mended.noisy_corrected),
            ("noisy miscorrected", mended.noisy_miscorrected),
            ("noisy dropped", mended.noisy_dropped),
            ("clean harmed", mended.clean_harmed),
            ("clean dropped", mended.clean_dropped),
        ):
            out[name + end] = 100 * value
    return out


def mean_and_std(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Over seeds."""
    return {
        name: {
            "mean": round(float(np.mean([row[name] for row in rows])), 4),
            "std": round(float(np.std([row[name] for row in rows], ddof=1)), 4)
            if len(rows) > 1
            else 0.0,
        }
        for name in rows[0]
    }


SHOWN = ("mIoU", "accuracy", "coverage", "AUROC of loss", "AUROC of loss (area)",
         "noise rate of clean cluster (area)", "noise rate of noisy cluster (area)",
         "noisy corrected (area)", "clean harmed", "clean harmed (area)")  # fmt: skip


def show(results: dict[str, Any], shown: Sequence[str] = SHOWN) -> str:
    """Markdown tables, one per group."""

    def cell(row: dict[str, Any], name: str) -> str:
        if name not in row:
            return ""
        value = row[name]
        digits = 3 if name.startswith("AUROC") else 1
        if isinstance(value, float):
            return f"{value:.{digits}f}"
        return f"{value['mean']:.{digits}f} ± {value['std']:.{digits}f}"

    lines = []
    for group, rows in results.items():
        lines += [
            f"\n**{group}**\n",
            f"| labels | {' | '.join(shown)} |",
            "|---" * (len(shown) + 1) + "|",
        ]
        lines += [f"| {n} | {' | '.join(cell(row, s) for s in shown)} |" for n, row in rows.items()]
    return "\n".join(lines)
