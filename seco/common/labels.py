"""What the class ids of a label map mean: names, things and stuff, ignore index, colours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seco.common.arrays import Array
from seco.common.checks import check_integer, check_labels, describe

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a label map.

    Args:
        names: class names; the id of a class is its position.
        things: names of the countable classes (car, person, ...); the rest is stuff.
        palette: one RGB colour (0-255) per class; a distinct palette is made if ``None``.
        ignore_index: the id of unlabelled pixels; outside ``range(len(names))``.

    Raises:
        TypeError: names or things that are no strings, or an ignore index that is no integer.
        ValueError: no class, a repeated name, an unknown thing, a palette of another length or
            outside 0-255, or an ignore index that is also a class id.

    Example:
        >>> space = LabelSpace(names=("road", "sky", "car"), things=("car",))
        >>> space.num_classes, space.thing_ids, space.stuff_ids, space.ignore_index
        (3, (2,), (0, 1), 255)
        >>> space.id_of("car")
        2

    Ready ones are in :mod:`seco.common.label_spaces`; to change one, ``dataclasses.replace``:

        >>> from dataclasses import replace
        >>> replace(space, ignore_index=-1).ignore_index
        -1
    """

    names: tuple[str, ...]
    things: tuple[str, ...] = ()
    palette: tuple[Colour, ...] | None = field(default=None, repr=False)
    ignore_index: int = 255

    def __post_init__(self) -> None:
        names, things = _strings("names", self.names), _strings("things", self.things)
        if not names:
            raise ValueError("names: expected at least one class name, got none")
        if len(set(names)) != len(names):
            raise ValueError(f"names: expected no name twice, got {names}")
        unknown = sorted(set(things) - set(names))
        if unknown:
            raise ValueError(f"things: expected names out of {names}, got {unknown}")
        if 0 <= check_integer("ignore_index", self.ignore_index) < len(names):
            raise ValueError(
                f"ignore_index: expected a value outside the class ids 0..{len(names) - 1}, "
                f"got {self.ignore_index}"
            )
        if self.palette is not None and not isinstance(self.palette, Iterable):
            raise TypeError(f"palette: expected RGB triples, got {describe(self.palette)}")
        palette = distinct_palette(len(names)) if self.palette is None else tuple(self.palette)
        if len(palette) != len(names):
            raise ValueError(f"palette: expected {len(names)} colours, got {len(palette)}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "things", things)
        object.__setattr__(self, "palette", tuple(_colour(colour) for colour in palette))

    @property
    def num_classes(self) -> int:
        """Number of classes K; class ids are ``0..K-1``."""
        return len(self.names)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the thing classes, ascending."""
        return tuple(i for i, name in enumerate(self.names) if name in self.things)

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """Ids of the stuff classes, ascending."""
        return tuple(i for i, name in enumerate(self.names) if name not in self.things)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """One RGB colour per class, 0-255."""
        assert self.palette is not None  # set in __post_init__
        return self.palette

    def id_of(self, name: str) -> int:
        """Id of the class called ``name``.

        Raises:
            ValueError: no class is called so.
        """
        if name not in self.names:
            raise ValueError(f"name: expected one of {', '.join(self.names)}, got {name!r}")
        return self.names.index(name)

    def colourise(self, label: Array, *, ignore_colour: Colour = (0, 0, 0)) -> Array:
        """Paint a label map in the classes' colours.

        Args:
            label: (H, W) or (B, H, W) integer class ids or ignore.
            ignore_colour: RGB 0-255 of ignored pixels.

        Returns:
            The shape of ``label`` and 3, uint8.

        Raises:
            TypeError, ValueError: not a label map of this space.

        Example:
            >>> space = LabelSpace(names=("road", "sky"), palette=((9, 9, 9), (1, 2, 3)))
            >>> space.colourise(np.array([[1, 255]])).tolist()
            [[[1, 2, 3], [0, 0, 0]]]
        """
        if not isinstance(label, np.ndarray):
            raise TypeError(f"label: expected a numpy array, got {describe(label)}")
        check_labels("label", label, self)
        colours = np.array([*self.colours, _colour(ignore_colour)], np.uint8)
        painted: Array = colours[np.where(label == self.ignore_index, self.num_classes, label)]
        return painted

    def to_json(self) -> str:
        """Return the space as a JSON object, which :meth:`from_json` reads back."""
        return json.dumps(
            {
                "names": self.names,
                "things": self.things,
                "palette": self.palette,
                "ignore_index": self.ignore_index,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> LabelSpace:
        """Make a space from a JSON object with this class's arguments; ``names`` is required.

        Raises:
            TypeError, ValueError: no JSON object, an unknown key, or an argument the class refuses.

        Example:
            >>> LabelSpace.from_json('{"names": ["road", "car"], "things": ["car"]}')
            LabelSpace(names=('road', 'car'), things=('car',), ignore_index=255)
        """
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"label space: expected JSON, got text with {error}") from error
        keys = ("names", "things", "palette", "ignore_index")
        if not isinstance(given, dict) or "names" not in given or set(given) - set(keys):
            found = sorted(given) if isinstance(given, dict) else describe(given)
            raise ValueError(
                f"label space: expected a JSON object with names and optionally "
                f"{', '.join(keys[1:])}, got {found}"
            )
        return cls(**given)


def distinct_palette(count: int) -> tuple[Colour, ...]:
    """Return ``count`` well separated RGB colours (the bit-interleaved PASCAL VOC scheme).

    Example:
        >>> distinct_palette(3)
        ((128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    colours = []
    for index in range(1, count + 1):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)


def _strings(argument: str, values: Any) -> tuple[str, ...]:
    # A lone string is a sequence of strings too, and never what was meant.
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{argument}: expected a sequence of strings, got {describe(values)}")
    strings = tuple(values)
    if not all(isinstance(value, str) for value in strings):
        raise TypeError(f"{argument}: expected a sequence of strings, got {describe(strings)}")
    return strings


def _colour(colour: Any) -> Colour:
    values = tuple(colour) if isinstance(colour, Iterable) else (colour,)
    valid = len(values) == 3 and all(
        0 <= check_integer("palette", value) <= 255 for value in values
    )
    if not valid:
        raise ValueError(f"palette: expected RGB triples with values in 0..255, got {values}")
    return int(values[0]), int(values[1]), int(values[2])
