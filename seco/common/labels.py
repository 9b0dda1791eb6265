"""What the class ids of a label map mean: names, things and stuff, ignore index, colours."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        ValueError: no class, a repeated name, an unknown thing, a palette of another length or
            outside 0-255, or an ignore index that is also a class id.

    Example:
        >>> space = LabelSpace(names=("road", "sky", "car"), things=("car",))
        >>> space.num_classes, space.thing_ids, space.stuff_ids, space.ignore_index
        (3, (2,), (0, 1), 255)
    """

    names: tuple[str, ...]
    things: tuple[str, ...] = ()
    palette: tuple[Colour, ...] | None = field(default=None, repr=False)
    ignore_index: int = 255

    def __post_init__(self) -> None:
        names, things = tuple(self.names), tuple(self.things)
        if not names:
            raise ValueError("names: expected at least one class name, got none")
        if len(set(names)) != len(names):
            raise ValueError(f"names: expected no name twice, got {names}")
        unknown = sorted(set(things) - set(names))
        if unknown:
            raise ValueError(f"things: expected names out of {names}, got {unknown}")
        if 0 <= self.ignore_index < len(names):
            raise ValueError(
                f"ignore_index: expected a value outside the class ids 0..{len(names) - 1}, "
                f"got {self.ignore_index}"
            )
        palette = distinct_palette(len(names)) if self.palette is None else tuple(self.palette)
        if len(palette) != len(names):
            raise ValueError(f"palette: expected {len(names)} colours, got {len(palette)}")
        if any(len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in palette):
            raise ValueError("palette: expected RGB triples with values in 0..255")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "things", things)
        object.__setattr__(self, "palette", palette)

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
