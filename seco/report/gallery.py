"""Before and after: the images of a report, with pictures of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seco.common.arrays import Array
from seco.common.labels import LabelSpace
from seco.common.pages.pictures import label_picture, photo
from seco.common.pages.text import in_hex, percent
from seco.common.plots import IGNORE_COLOUR
from seco.evaluation import confusion
from seco.report.content import SELECTION, Report
from seco.report.pictures import decision_picture
from seco.report.summary import ACTIONS, ImageSteps


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery: what it is, its ``data:`` address and a word on it."""

    title: str
    address: str
    note: str = ""


@dataclass(frozen=True)
class Exhibit:
    """One image of the gallery, with what changed in words."""

    name: str
    changed: float
    changes: Sequence[str]
    pictures: Sequence[Picture]


def legend(report: Report) -> list[tuple[str, str]]:
    """Name and colour of the classes in the gallery, ignore last."""
    space, found = report.summary.space, set()
    for item in report.gallery:
        for label in (*item.labels.values(), *([] if item.truth is None else [item.truth])):
            found.update(np.unique(label).tolist())
    entries = [(name, in_hex(space.colours[k])) for k, name in enumerate(space.names) if k in found]
    return [*entries, ("ignore (no label)", in_hex(IGNORE_COLOUR))]


def exhibit(item: ImageSteps, space: LabelSpace) -> Exhibit:
    """Draw an image of the gallery.

    Raises:
        OSError, ValueError: the image cannot be read.
    """
    image = item.image()
    pictures = [Picture("image", photo(image))]
    # The selection is the raw label with holes: in the table of steps, not here.
    shown = {step: label for step, label in item.labels.items() if step != SELECTION}
    for position, (step, label) in enumerate(shown.items()):
        if item.judgement is not None and position == len(shown) - 1:
            note = ", ".join(
                f"{count:,} {name}"
                for count, name in zip(item.regions or (), ACTIONS, strict=False)
                if count
            )
            pictures.append(Picture("decisions", decision_picture(image, item.judgement()), note))
        note = "" if item.truth is None else _quality(label, item.truth, space)
        pictures.append(Picture(step, label_picture(label, space), note))
    if item.truth is not None:
        pictures.append(Picture("truth", label_picture(_known(item.truth, space), space)))
    return Exhibit(item.name, item.changed, _changes(item.before, item.after, space), pictures)


def _quality(label: Array, truth: Array, space: LabelSpace) -> str:
    return f"mIoU {percent(confusion(label, truth, space).mean_iou)}"


def _known(truth: Array, space: LabelSpace) -> Array:
    """Truth with ignore where it holds no class: raw label files hold more ids than are judged."""
    inside = (truth >= 0) & (truth < space.num_classes)
    known: Array = np.where(inside, truth.astype(np.int64), space.ignore_index)
    return known


def _changes(before: Array, after: Array, space: LabelSpace, most: int = 4) -> list[str]:
    """The largest changes in words, by pixels."""
    changed = before != after
    pairs, counts = np.unique(
        np.stack([before[changed], after[changed]]).astype(np.int64), axis=1, return_counts=True
    )
    names = dict(enumerate(space.names))
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        f"{names.get(old, 'ignore')} → {names.get(new, 'ignore')} {percent(share)}"
        for (old, new), share in zip(
            pairs.T[order].tolist(), (counts[order] / changed.size).tolist(), strict=True
        )
    ]
