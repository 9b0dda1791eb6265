"""What became of the items of a folder job."""

from __future__ import annotations

from collections import Counter

from seco.common.jobs import Summary


def statuses(summary: Summary) -> Counter[str]:
    """How many have which status; why some failed is printed, to be seen where a test fails."""
    for outcome in summary.of("failed"):
        print(f"{outcome.name}: {outcome.reason}")
    return Counter(outcome.status for outcome in summary.outcomes)
