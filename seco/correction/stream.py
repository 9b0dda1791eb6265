"""The samples a corrector learns from: read one at a time, and the same at every reading."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from seco.common.checks import describe
from seco.common.jobs.overlap import overlap
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from seco.correction.samples import Sample, Scene, read_scene
from seco.correction.settings import SCCSettings

_GRID = 8  # of an image, every eighth pixel of every eighth row is what it is recognised by


class SampleStream:
    """Samples that can be read again and again by their number; one is held at a time, or a few.

    Args:
        samples: (img, label) pairs, or (img, label, confidence): something with a length and
            positions (a list, a map-style ``Dataset``), or anything that can be gone through
            several times, whose samples before the one that is asked for are then passed over.
        space: the classes.
        settings: see :class:`SCCSettings`.
        normalization: how the images are normalised, see :func:`seco.refine_pseudo_labels`.
        readers: threads that read samples with a length and positions before their turn; 0: no
            other thread than the caller's asks for a sample.

    Raises:
        TypeError: ``samples`` can be gone through only once, as a generator can.

    Example:
        >>> import numpy as np
        >>> from seco.demo import STREETS
        >>> pair = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
        >>> stream = SampleStream([pair, pair], STREETS, SCCSettings())
        >>> [len(scene.connectivities) for scene in stream]
        [1, 1]
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        space: LabelSpace,
        settings: SCCSettings,
        *,
        normalization: Normalization | None = None,
        readers: int = 0,
    ) -> None:
        indexed = hasattr(samples, "__getitem__") and hasattr(samples, "__len__")
        once = isinstance(samples, Iterator) or not isinstance(samples, Iterable)
        if isinstance(samples, Mapping) or (not indexed and once):
            raise TypeError(
                "samples: expected (img, label) pairs that can be gone through several times, such "
                f"as a list or a Dataset, got {describe(samples)}"
            )
        self.indexed = indexed
        """Whether any order of reading costs the same."""
        self.marks: dict[int, int] = {}
        """What every sample that was read is recognised by, by its number."""
        self._samples: Any = samples
        self._space, self._settings = space, settings
        self._readers = readers if indexed else 0
        self._normalization = normalization
        self._reading: Iterator[Sample] = iter(())
        self._next = 0

    def __getitem__(self, index: int) -> Scene:
        """Read a sample that was there before.

        Raises:
            TypeError, ValueError: it is wrong, gone, or another one than when it was read before.
        """
        scene = self._read(index)
        if scene is None:
            raise ValueError(
                f"samples: expected as many at every reading, got none at position {index}"
            )
        return scene

    def __iter__(self) -> Iterator[Scene]:
        """Once through all samples, in their own order."""
        return (scene for _, scene in self.part(0, 1))

    def part(self, first: int, step: int) -> Iterator[tuple[int, Scene]]:
        """Number and scene of every ``step``-th sample from ``first`` on, to the last one."""
        if self._readers:
            for index, read in self.ahead(range(first, len(self._samples), step)):
                yield index, self[index] if read is None else read
            return
        index = first
        while (scene := self._read(index)) is not None:
            yield index, scene
            index += step

    def ahead(
        self, order: Iterable[int], wanted: Callable[[int], bool] = lambda index: True
    ) -> Generator[tuple[int, Scene | None], None, None]:
        """Go through samples in an order that is known, and read them before their turn.

        Args:
            order: of their numbers.
            wanted: whether a sample must be read at all; called in threads.

        Yields:
            A number, and its scene if it is wanted and there are threads to read it ahead: without
            one it is the caller's to read.

        Raises:
            TypeError, ValueError: as of reading the sample.
        """
        if not self._readers:
            yield from ((index, None) for index in order)
            return

        def read(index: int) -> Scene | None:
            return self[index] if wanted(index) else None

        def keep(index: int, scene: Scene | None) -> Scene | None:
            return scene

        with closing(overlap(order, read, keep, keep, readers=self._readers)) as steps:
            for index, future in steps:
                yield index, future.result()

    def count(self, first: int, step: int) -> int | None:
        """How many samples :meth:`part` gives; ``None`` if only the end will tell."""
        return len(range(first, len(self._samples), step)) if self.indexed else None

    def expect(self, marks: Sequence[int]) -> None:
        """From now on accept only the samples with these marks.

        Raises:
            ValueError: there are more or fewer.
        """
        if self.indexed and len(self._samples) != len(marks):
            raise ValueError(
                f"samples: expected {len(marks)}, as when the training began, "
                f"got {len(self._samples)}"
            )
        self.marks = dict(enumerate(marks))

    def _read(self, index: int) -> Scene | None:
        """Read and check a sample; ``None`` after the last one."""
        if (held := self._sample(index)) is None:
            return None
        (sample,) = held
        try:
            if not isinstance(sample, (tuple, list)) or len(sample) not in (2, 3):
                raise TypeError(
                    "expected (img, label) or (img, label, confidence), the label a map or "
                    f"seco.Connectivities, got {describe(sample)}"
                )
            img, label, *confidence = sample
            scene = read_scene(
                img,
                label,
                self._space,
                self._settings,
                confidence=confidence[0] if confidence else None,
                normalization=self._normalization,
            )
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"samples[{index}]: {error}") from error
        mark = _mark(scene)
        if self.marks.setdefault(index, mark) != mark:
            raise ValueError(
                f"samples[{index}]: expected the same image and label at every reading, got others "
                "(for random changes, only SCCSettings.flip may be used)"
            )
        return scene

    def _sample(self, index: int) -> tuple[Any] | None:
        if self.indexed:
            # Many a Dataset has no IndexError of its own, and one within it is no end.
            return (self._samples[index],) if index < len(self._samples) else None
        if index < self._next or self._next == 0:
            self._reading, self._next = iter(self._samples), 0
        for sample in self._reading:
            self._next += 1
            if self._next > index:
                return (sample,)
        self._next = 0
        return None


def _mark(scene: Scene) -> int:
    """A checksum of the size, the regions, how sure they are and a grid of pixels."""
    item = scene.connectivities
    parts = [scene.image[:, ::_GRID, ::_GRID], item.classes, scene.areas]
    if scene.confidences is not None:
        parts.append(scene.confidences)
    mark = zlib.crc32(str(tuple(scene.image.shape)).encode())
    for part in parts:
        mark = zlib.crc32(part.contiguous().cpu().numpy().tobytes(), mark)
    return mark
