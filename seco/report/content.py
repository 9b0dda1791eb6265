"""What a report says beside the summary of the labels: settings, versions, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seco.correction.fitting import FitRecord
from seco.report.summary import ImageSteps, Summary


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
        gallery: images to show, in this order; those of :meth:`Summary.most_changed`.
        settings: a step's name -> its settings.
        facts: other things to know: versions, hashes of models, folders.
        failures: name and reason of every file that could not be used.
        fit: what fitting the corrector found, if there was one.
        tau_ns: the corrector's threshold of noise probability.
    """

    title: str
    summary: Summary
    gallery: Sequence[ImageSteps] = ()
    settings: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[tuple[str, str]] = ()
    fit: FitRecord | None = None
    tau_ns: float = 0.6
