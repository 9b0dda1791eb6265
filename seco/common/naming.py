"""How data sets name their files, and which naming a pair of folders has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Naming:
    """The ends of file names, before the format, that are not part of an image's own name.

    A file's name is what is left once the first end that fits is taken off; files that no end
    fits are left alone.

    Args:
        image_ends: of images.
        label_ends: of labels.
        confidence_ends: of confidences.
        foreign: ends of files among the labels that are no labels.
        ignore_index: the id of unlabelled pixels in these labels, if it is not the label space's.

    Example:
        >>> CITYSCAPES = NAMINGS["cityscapes"]
        >>> CITYSCAPES.key("aachen_1_leftImg8bit", CITYSCAPES.image_ends)
        'aachen_1'
        >>> CITYSCAPES.key("aachen_1_gtFine_color", CITYSCAPES.label_ends)
    """

    image_ends: tuple[str, ...] = ("",)
    label_ends: tuple[str, ...] = ("",)
    confidence_ends: tuple[str, ...] = ("",)
    foreign: tuple[str, ...] = ()
    ignore_index: int | None = None

    def key(self, stem: str, ends: Sequence[str]) -> str | None:
        """The image's own name in a file name without its format; ``None`` if no end fits."""
        if stem.endswith(self.foreign):
            return None
        return next((stem.removesuffix(end) for end in ends if stem.endswith(end)), None)


def _conf(*label_ends: str) -> tuple[str, ...]:
    """The ends of confidences that have ``_conf`` after the labels' names."""
    return tuple(f"{end}_conf" for end in label_ends)


def _certain(*label_ends: str) -> tuple[str, ...]:
    """The same, or without it."""
    return (*_conf(*label_ends), *label_ends)


_TRAIN_IDS = ("_gtFine_labelTrainIds", "_labelTrainIds", "_leftImg8bit")

NAMINGS: Mapping[str, Naming] = {
    "plain": Naming(confidence_ends=_certain("")),
    "cityscapes": Naming(
        image_ends=("_leftImg8bit",),
        label_ends=_TRAIN_IDS,
        confidence_ends=_certain(*_TRAIN_IDS, ""),
    ),
    "gta": Naming(label_ends=("_labelTrainIds",), confidence_ends=_certain("_labelTrainIds", "")),
    "synthia": Naming(
        label_ends=("_labelTrainIds",), confidence_ends=_certain("_labelTrainIds", "")
    ),
    "bdd": Naming(label_ends=("_train_id",), confidence_ends=_certain("_train_id", "")),
    "proda": Naming(
        image_ends=("_leftImg8bit", ""),
        label_ends=(*_TRAIN_IDS, ""),
        confidence_ends=_conf(*_TRAIN_IDS, ""),
        foreign=("_color",),
        ignore_index=250,
    ),
}
"""Namings by the names that ``--naming`` takes.

The labels of Cityscapes, GTA and SYNTHIA are those with train ids; raw ids beside them
(``_gtFine_labelIds``, GTA's ``00001.png``) are left alone.
"""

_DETECTED = ("plain", "cityscapes", "gta", "bdd")


def detect_naming(
    images: Sequence[Path], labels: Sequence[Path], *, name_alone: bool = False
) -> str:
    """Name the naming of some files, by their names alone.

    A naming fits if it finds pairs. Of several that find the same pairs the one that leaves the
    fewest files alone is taken. ProDA's is never guessed, for it also decides what id 250 means.

    Args:
        images: paths of images within their folder.
        labels: paths of labels within theirs.
        name_alone: see :func:`by_key`.

    Returns:
        A key of :data:`NAMINGS`; ``"plain"`` if none fits.

    Raises:
        ValueError: namings fit that find different pairs, or the labels look like ProDA's.

    Example:
        >>> detect_naming([Path("a.jpg")], [Path("a_train_id.png"), Path("a_color.png")])
        'bdd'
        >>> detect_naming([Path("1.png")], [Path("1.png"), Path("1_labelTrainIds.png")])
        Traceback (most recent call last):
            ...
        ValueError: naming: more than one fits: plain (1.png), gta (1_labelTrainIds.png); say \
which, as in --naming gta
    """
    if any(path.name.endswith("_conf.npy") for path in labels):
        raise ValueError(
            "naming: the labels have _conf.npy files beside them, as ProDA's; say --naming proda "
            "(250 is ignore), or --naming plain"
        )
    fitting: dict[str, tuple[dict[str, list[Path]], int]] = {}
    for name in _DETECTED:
        naming = NAMINGS[name]
        own = by_key(images, naming, naming.image_ends, name_alone=name_alone)
        found = by_key(labels, naming, naming.label_ends, name_alone=name_alone)
        pairs = {key: found[key] for key in found if key in own}
        if pairs:
            fitting[name] = pairs, len(own.keys() ^ found.keys())
    different: list[str] = []
    for name, (pairs, _) in fitting.items():
        files = sorted(pairs.values())
        if all(files != sorted(fitting[other][0].values()) for other in different):
            different.append(name)
    if len(different) > 1:
        said = (f"{name} ({min(fitting[name][0].values())[0]})" for name in different)
        raise ValueError(
            f"naming: more than one fits: {', '.join(said)}; say which, as in "
            f"--naming {different[-1]}"
        )
    return min(fitting, key=lambda name: fitting[name][1], default="plain")


def by_key(
    paths: Sequence[Path], naming: Naming, ends: Sequence[str], *, name_alone: bool = False
) -> dict[str, list[Path]]:
    """Files by what they share with their partners.

    Args:
        paths: within a folder.
        naming: of them.
        ends: its ends for this kind of file.
        name_alone: leave the subfolder out.

    Returns:
        ``subfolder/name`` or ``name``, and the files that have it; files that no end fits are not
        among them.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        name = naming.key(path.stem, ends)
        if name is not None:
            key = name if name_alone else (path.parent / name).as_posix()
            found.setdefault(key, []).append(path)
    return found
