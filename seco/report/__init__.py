"""One self-contained page that shows what refining and correcting did to a data set's labels.

:func:`summarise` looks at the images one by one, :func:`write_report` makes the page.
"""

from seco.report.content import Report, Setting
from seco.report.page import render_report, write_report
from seco.report.summary import ImageSteps, LabelChanges, summarise

__all__ = [
    "ImageSteps",
    "LabelChanges",
    "Report",
    "Setting",
    "render_report",
    "summarise",
    "write_report",
]
