"""Measures as text tables (markdown, in percent), for command lines and notes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seco.common.labels import LabelSpace
from seco.common.numbers import percent
from seco.evaluation.connectivities import TrueConnectivities, recognition, repair
from seco.evaluation.quality import LabelQuality


def quality_table(found: LabelQuality, space: LabelSpace) -> str:
    """A row per class and one for their mean; accuracy and coverage below.

    Example:
        >>> from seco.evaluation import measure_labels
        >>> space = LabelSpace(names=("road", "sky"))
        >>> truth = np.array([[0, 0, 1, 1]])
        >>> print(quality_table(measure_labels(np.array([[0, 255, 1, 0]]), truth, space), space))
        | %        |  IoU | IoU labelled | boundary IoU | share of truth |
        |:---------|-----:|-------------:|-------------:|---------------:|
        | road     | 33.3 |         50.0 |         33.3 |           50.0 |
        | sky      | 50.0 |         50.0 |         50.0 |           50.0 |
        | **mean** | 41.7 |         50.0 |         41.7 |                |
        <BLANKLINE>
        Of the pixels with known truth 75.0 % are labelled, 66.7 % of these rightly.
    """
    whole, labelled = found.confusion, found.confusion.labelled
    pixels = whole.counts.sum(axis=1)
    columns = [whole.iou, labelled.iou, found.boundary.iou, pixels / max(pixels.sum(), 1)]
    means = [whole.mean_iou, labelled.mean_iou, found.boundary.mean_iou]
    rows = [
        [name, *map(percent, row)]
        for name, row in zip(space.names, np.transpose(columns).tolist(), strict=True)
    ]
    rows.append(["**mean**", *map(percent, means), ""])
    head = ("%", "IoU", "IoU labelled", "boundary IoU", "share of truth")
    return (
        f"{_table(head, rows)}\n\nOf the pixels with known truth {percent(whole.coverage)} % are "
        f"labelled, {percent(whole.accuracy)} % of these rightly."
    )


def connectivity_table(found: TrueConnectivities, tau_ns: float) -> str:
    """Recognition and repair, a row per measure, by count and by area.

    Args:
        found: connectivities of any number of images.
        tau_ns: threshold of noise probability.
    """
    columns = [
        (recognition(found, threshold=tau_ns, by_area=by), repair(found, by_area=by))
        for by in (False, True)
    ]
    measures = {
        "AUROC of the loss": [seen.auroc_of_loss for seen, _ in columns],
        "AUROC of the noise probability": [seen.auroc_of_noise_probability for seen, _ in columns],
        "wrong among all": [seen.noise_rate for seen, _ in columns],
        f"wrong below {tau_ns:g}": [seen.noise_rate_below for seen, _ in columns],
        f"wrong from {tau_ns:g} on": [seen.noise_rate_above for seen, _ in columns],
        "wrong: corrected": [done.noisy_corrected for _, done in columns],
        "wrong: given another wrong class": [done.noisy_miscorrected for _, done in columns],
        "wrong: dropped": [done.noisy_dropped for _, done in columns],
        "wrong: kept": [done.noisy_kept for _, done in columns],
        "right: kept": [done.clean_kept for _, done in columns],
        "right: given a wrong class": [done.clean_harmed for _, done in columns],
        "right: dropped": [done.clean_dropped for _, done in columns],
    }
    rows = [[name, *map(percent, values)] for name, values in measures.items()]
    table = _table(("%", "by count", "by area"), rows)
    return f"{table}\n\n{len(found)} regions, {int(found.noisy.sum())} of them wrong."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown: the first column to the left, numbers to the right."""
    first, *widths = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    lines = [
        f"| {name:{first}} | "
        + " | ".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        + " |"
        for name, *values in (head, *rows)
    ]
    lines.insert(1, f"|:{'-' * (first + 1)}|" + "".join(f"{'-' * (w + 1)}:|" for w in widths))
    return "\n".join(lines)
