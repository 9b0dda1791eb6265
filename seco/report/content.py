"""What a report says beside the summary of the labels: settings, versions, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seco.correction.fitting import FitRecord
from seco.evaluation.quality import connectivity_numbers
from seco.report.summary import ACTIONS, ImageSteps, LabelChanges

SELECTION = "selection"
MEANINGS = {
    "raw": "as they were given",
    SELECTION: "the most confident pixels of each class alone",
    "PSA": "gathered into whole regions with the Segment Anything Model",
    "SCC": "regions whose class is probably wrong corrected or dropped",
}
"""What the usual steps of a label are."""


@dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Args:
        name: as the user writes it.
        value: it had.
        default: it has if it is not given.
    """

    name: str
    value: object
    default: object

    @property
    def changed(self) -> bool:
        """Whether the value is not the default."""
        return self.value != self.default


@dataclass(frozen=True)
class Report:
    """All that a report shows.

    Args:
        title: of the page.
        summary: what happened to the labels.
        gallery: images to show, in this order; those of :meth:`LabelChanges.most_changed`.
        settings: a step's name -> its settings.
        facts: other things to know: versions, hashes of models, folders.
        failures: name and reason of every file that could not be used.
        fit: what fitting the corrector found, if there was one.
        tau_ns: the corrector's threshold of noise probability.
    """

    title: str
    summary: LabelChanges
    gallery: Sequence[ImageSteps] = ()
    settings: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[tuple[str, str]] = ()
    fit: FitRecord | None = None
    tau_ns: float = 0.6

    def numbers(self) -> dict[str, Any]:
        """What was counted and measured as plain numbers, shares in 0-1, for JSON."""
        summary = self.summary
        names = (*summary.space.names, "ignore")
        said: dict[str, Any] = {
            "images": summary.images,
            "pixels": summary.pixels,
            "transitions": {"classes": names, "before_by_after": summary.transitions.tolist()},
            "regions": dict(zip(ACTIONS, summary.decisions[:, 0].tolist(), strict=True)),
            "region_pixels": dict(zip(ACTIONS, summary.decisions[:, 1].tolist(), strict=True)),
            "changed": {name: round(share, 6) for name, share in summary.changed},
            "failures": dict(self.failures),
        }
        if summary.compared:
            said["with_truth"] = summary.compared
            said["steps"] = {
                name: quality.numbers(summary.space) for name, quality in summary.quality.items()
            }
            said["connectivities"] = connectivity_numbers(summary.connectivities, self.tau_ns)
        return said
