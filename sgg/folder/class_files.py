"""The two files that rare class sampling reads, for the images that were translated.

DAFormer, HRDA, MIC and their relatives read ``sample_class_stats.json``, the pixels of each class
per label, and ``samples_with_class.json``, the labels that have a class, from the data set's
folder. They look every name up among the images, and stop at one that is missing or at a class
without any image of enough pixels.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seco.common.files import write_bytes

STATS = "sample_class_stats.json"
SAMPLES = "samples_with_class.json"

MIN_PIXELS = 3000
"""What DAFormer asks of an image that is to show a class (``min_pixels`` of its sampling)."""


@dataclass(frozen=True)
class ClassFiles:
    """The content of both files; labels are known by the last part of their path.

    Args:
        stats: per label, ``{"file": path, class id: pixels, ...}``.
        samples: class id -> [path, pixels] of each label that has it.
    """

    stats: list[dict[str, Any]]
    samples: dict[str, list[tuple[str, int]]]

    @classmethod
    def read(cls, folder: Path) -> ClassFiles:
        """Read them from a data set's folder.

        Raises:
            OSError: one cannot be read, or is not there.
            ValueError: one is something else.
        """
        paths = [folder / STATS, folder / SAMPLES]
        given: list[Any] = []
        for path in paths:
            try:
                given.append(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise ValueError(f"{path}: expected JSON, got {error}") from error
        try:
            stats = [{"file": str(one["file"]), **_counts(one)} for one in given[0]]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(
                f'{paths[0]}: expected a list of {{"file": path, class id: pixels}}, got {error!r}'
            ) from error
        try:
            samples = {
                str(int(number)): [(str(file), int(pixels)) for file, pixels in listed]
                for number, listed in given[1].items()
            }
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{paths[1]}: expected an object of class id: [[path, pixels], ...], got {error!r}"
            ) from error
        return cls(stats, samples)

    def keep(
        self, labels: Collection[str], *, min_pixels: int = MIN_PIXELS
    ) -> tuple[ClassFiles, dict[str, str]]:
        """Leave only some labels, and of the classes those that can still be sampled.

        Args:
            labels: file names, without folders.
            min_pixels: an image shows a class from more than so many of its pixels on.

        Returns:
            The rest, and why classes are no longer in it: class id -> reason.

        Example:
            >>> files = ClassFiles(
            ...     [{"file": "gt/1.png", "0": 9, "7": 5}, {"file": "gt/2.png", "0": 9, "7": 1}],
            ...     {"0": [("gt/1.png", 9), ("gt/2.png", 9)], "7": [("gt/1.png", 5)]},
            ... )
            >>> rest, left_out = files.keep({"2.png"}, min_pixels=4)
            >>> rest
            ClassFiles(stats=[{'file': 'gt/2.png', '0': 9}], samples={'0': [('gt/2.png', 9)]})
            >>> left_out
            {'7': 'no translated image has more than 4 pixels of it'}
        """
        kept = [one for one in self.stats if _name(one["file"]) in labels]
        samples = {
            number: [(file, pixels) for file, pixels in listed if _name(file) in labels]
            for number, listed in self.samples.items()
        }
        usable = {
            number: listed
            for number, listed in samples.items()
            if any(pixels > min_pixels for _, pixels in listed)
        }
        reason = f"no translated image has more than {min_pixels} pixels of it"
        known = {number for one in self.stats for number in one if number != "file"}
        left_out = {
            number: reason
            for number in sorted(known | self.samples.keys(), key=int)
            if number not in usable
        }
        stats = [{key: value for key, value in one.items() if key not in left_out} for one in kept]
        return ClassFiles(stats, usable), left_out

    def write(self, folder: Path) -> None:
        """Write both into a data set's folder."""
        for name, content in ((STATS, self.stats), (SAMPLES, self.samples)):
            write_bytes(folder / name, json.dumps(content).encode())


def find_class_files(images: Path, named: Path | None) -> Path | None:
    """The folder of a source's class files; ``None`` if there are none, which nobody has named.

    Args:
        images: folder of the source's images; by default they are looked for where it lies.
        named: folder that the user says they are in.

    Raises:
        ValueError: neither file is in the folder that was named.
    """
    folder = images.parent if named is None else named
    if any((folder / name).exists() for name in (STATS, SAMPLES)):
        return folder
    if named is not None:
        raise ValueError(f"class_files: expected a folder with {STATS} and {SAMPLES}, got {named}")
    return None


def _counts(given: Mapping[str, Any]) -> dict[str, int]:
    return {str(int(key)): int(value) for key, value in given.items() if key != "file"}


def _name(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2]
