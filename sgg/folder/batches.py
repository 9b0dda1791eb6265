"""Images of a folder job translated together, though the job asks for one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from seco.common.arrays import Array
from seco.common.jobs import Item, JobOptions, Outcome
from seco.common.jobs.run import is_about_file, is_out_of_memory

Unit = TypeVar("Unit", bound=Item)


@dataclass(frozen=True)
class Given:
    """What was read of an item.

    Args:
        image: (H, W, 3) uint8.
        label: (H, W).
        raw: the label's file, where it is copied.
    """

    image: Array
    label: Array
    raw: bytes

    def is_same(self, other: Given) -> bool:
        """Whether another reading has found the same."""
        return self.raw == other.raw and all(
            np.array_equal(*pair) for pair in ((self.image, other.image), (self.label, other.label))
        )


def as_batch(given: Sequence[Given]) -> tuple[Any, Any]:
    """Images and labels as :func:`sgg.translate` takes them; one image stays an array."""
    if len(given) == 1:
        return given[0].image, given[0].label
    images = torch.from_numpy(np.stack([one.image for one in given])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([one.label for one in given]).astype(np.int64))


def of_batch(images: Array | Tensor) -> list[Array]:
    """Arrays (H, W, 3) of what :func:`sgg.translate` made of :func:`as_batch`."""
    if isinstance(images, np.ndarray):
        return [images]
    return list(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))


class Batches(Generic[Unit]):
    """The work of a job, for up to ``size`` items at once.

    The first of some items to be asked for is translated with those of the same size among the
    ``size - 1`` that come next and are not finished; they then have their image already. It is
    taken only if the item's own reading has found what was translated. Where a batch fails, its
    images are translated one by one, so that only the one to blame does; if for want of memory,
    later batches are half as large, which a warning says.

    Args:
        items: of this process, in the job's order.
        size: most images in a batch.
        read: an item's files, checked.
        translate: what was read of some items of one size to their images.
    """

    def __init__(
        self,
        items: Sequence[Unit],
        size: int,
        read: Callable[[Unit], Given],
        translate: Callable[[Sequence[tuple[Unit, Given]]], list[Array]],
    ) -> None:
        self._items = list(items)
        self._place = {item.name: place for place, item in enumerate(self._items)}
        self._size = size
        self._read = read
        self._translate = translate
        self._finished: set[str] = set()
        self._waiting: dict[str, Given] = {}
        self._made: dict[str, tuple[Given, Array]] = {}
        self._alone: set[str] = set()  # images of batches that have failed

    def told(self, options: JobOptions) -> JobOptions:
        """The options of a job that reads enough ahead, and whose reports say what is finished."""

        def report(outcome: Outcome) -> None:
            self._finished.add(outcome.name)
            options.report(outcome)

        return replace(options, report=report, ahead=max(options.ahead, self._size))

    def read(self, item: Unit) -> Given:
        """An item's files; those whose turn comes soon are at hand for an earlier one's batch."""
        given = self._read(item)
        if self._size > 1:
            self._waiting[item.name] = given
        return given

    def work(self, item: Unit, given: Given) -> tuple[Array, bytes]:
        """An item's image, and its label's file."""
        self._waiting.pop(item.name, None)
        made = self._made.pop(item.name, None)
        if made is not None and made[0].is_same(given):
            return made[1], given.raw
        together = [(item, given), *self._next(item, given)]
        images = self._all(together) if len(together) > 1 else None
        if images is None:
            return self._translate(together[:1])[0], given.raw
        for (other, read), image in zip(together[1:], images[1:], strict=True):
            self._made[other.name] = read, image
        return images[0], given.raw

    def _all(self, together: Sequence[tuple[Unit, Given]]) -> list[Array] | None:
        try:
            return self._translate(together)
        except Exception as error:
            if not is_about_file(error):
                raise
            self._alone |= {item.name for item, _ in together}
            if is_out_of_memory(error):
                self._size = len(together) // 2
                warnings.warn(
                    f"images_per_batch: {len(together)} images together are too many for the "
                    f"memory; from here on at most {self._size}",
                    stacklevel=2,
                )
            return None

    def _next(self, item: Unit, given: Given) -> list[tuple[Unit, Given]]:
        """Of the following items, those that can be translated with this one."""
        if item.name in self._alone:
            return []
        place = self._place[item.name]
        found = []
        for other in self._items[place + 1 : place + self._size]:
            if any(other.name in some for some in (self._finished, self._alone, self._made)):
                continue
            try:
                read = self._waiting.get(other.name) or self._read(other)
            except Exception as error:
                if not is_about_file(error):
                    raise
                continue  # told when it is its turn
            if read.image.shape == given.image.shape:
                found.append((other, read))
        return found
