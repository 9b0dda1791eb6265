"""Images, labels and confidences on disk: read with clear errors, written whole or not at all."""

from __future__ import annotations

import io
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from seco.common.arrays import Array
from seco.common.checks import check_label_map, check_labels, describe, dtype_name
from seco.common.images import ROUNDING
from seco.common.labels import LabelSpace, distinct_palette
from seco.common.locks import try_lock
from seco.common.numpy_files import load_numpy

PathLike = str | os.PathLike[str]

_PNG = b"\x89PNG\r\n\x1a\n"


def as_path(place: PathLike | None) -> Path | None:
    """A place as a path; ``None`` stays.

    Example:
        >>> as_path("a/b.png").name, as_path(None)
        ('b.png', None)
    """
    return None if place is None else Path(place)


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file atomically: readers see the old file or the whole new one, whatever happens.

    The bytes go to a hidden ``.tmp`` file in the same folder first, which is flushed to the disk
    and renamed. On an error it is removed and ``path`` is left as it was; a kill leaves it behind,
    see :func:`remove_leftovers`.

    Args:
        path: where to; its folder must exist.
        data: the whole content.

    Raises:
        OSError: the folder is missing or not writable, the disk is full, ...

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes(f"{folder}/a.txt", b"whole")
        ...     os.listdir(folder), Path(folder, "a.txt").read_bytes()
        (['a.txt'], b'whole')
    """
    path = Path(path)
    with _new_file(path.parent) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # no open file can be renamed there
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def remove_leftovers(folder: PathLike) -> None:
    """Remove what killed processes left of their :func:`write_bytes` in a folder, if it is there.

    Files that a living process is writing are locked, and left alone; so are those of which that
    cannot be told (a file system without locks) and those that cannot be removed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, f".{'0' * 32}.tmp").touch()
        ...     remove_leftovers(folder)
        ...     os.listdir(folder)
        []
    """
    for path in Path(folder).glob(".*.tmp"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.tmp", path.name):
            with suppress(OSError), open(path, "rb+") as file:
                if try_lock(file):
                    path.unlink()


@contextmanager
def _new_file(folder: Path) -> Iterator[IO[bytes]]:
    """A new file with a hidden name, locked as long as it is open."""
    while True:
        with open(folder / f".{uuid.uuid4().hex}.tmp", "xb") as file:
            try_lock(file)
            # Else it was taken for a leftover in the moment before it was locked.
            if Path(file.name).exists():
                yield file
                return


def read_image(path: PathLike) -> Array:
    """Read an image as RGB.

    Args:
        path: any format Pillow reads, 8 bits per channel. Grey and palette images are turned into
            RGB, transparency is dropped, an EXIF orientation is not applied.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no image, it is truncated, or it has more than 8 bits per channel.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (6, 4), (1, 2, 3)).save(f"{folder}/a.png")
        ...     image = read_image(f"{folder}/a.png")
        >>> image.shape, image[0, 0].tolist()
        ((4, 6, 3), [1, 2, 3])
    """
    image, _ = _open(path)
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"):
        raise ValueError(
            f"{path}: expected an image with 8 bits per channel, got mode {image.mode}"
        )
    return np.array(image.convert("RGB"))


def read_label(path: PathLike, space: LabelSpace | None = None) -> Array:
    """Read a label map: the stored ids, never the colours of a palette.

    Args:
        path: an 8- or 16-bit grey image, or a palette image; not JPEG, which changes ids.
        space: the classes, to notice a palette that gives the ids the colours of other classes: of
            a coloured label that was saved with as few colours as it has, or of another space.

    Returns:
        (H, W) uint8, or uint16 where the file has 16 bits.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no image, it is truncated, it does not hold one id per pixel, or most of
            its classes have the colours of others.

    Example:
        >>> import tempfile
        >>> space = LabelSpace(names=("road", "sky"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_label(f"{folder}/a.png", np.array([[0, 1, 255]]), space)
        ...     read_label(f"{folder}/a.png")
        array([[  0,   1, 255]], dtype=uint8)
    """
    image, data = _open(path)
    if image.format == "JPEG":
        raise ValueError(f"{path}: expected a lossless label map such as PNG, got JPEG")
    label = _read_grey(image, path, "a label map with one class id per pixel")
    # A PNG's bit depth and colour type stand at fixed places; type 0 is grey. Pillow stretches
    # grey of fewer than 8 bits to 0-255.
    if data[:8] == _PNG and data[25] == 0 and data[24] < 8:
        label //= 255 // (2 ** data[24] - 1)
    if space is not None and image.mode == "P":
        _check_colours(label, image.getpalette() or [], space, path)
    return label


def _check_colours(label: Array, palette: list[int], space: LabelSpace, path: PathLike) -> None:
    """Raise if most ids of a label have the colours of other classes in its palette."""
    if space.colours == distinct_palette(space.num_classes):  # nobody's choice
        return
    classes: dict[tuple[int, ...], int] = {
        colour: number for number, colour in enumerate(space.colours)
    }
    ids = [one for one in np.unique(label).tolist() if one != space.ignore_index]
    meant = {one: classes.get(tuple(palette[3 * one : 3 * one + 3])) for one in ids}
    others = {one: other for one, other in meant.items() if other not in (None, one)}
    if len(others) > sum(meant[one] == one for one in ids):
        one, other = next(iter(others.items()))
        raise ValueError(
            f"{path}: expected ids of the label space, got a palette in which {one} has the colour "
            f"of {space.names[other]}, which is {other}; is it of another label space, or a "
            "coloured label turned into a palette image?"
        )


def write_label(path: PathLike, label: Array, space: LabelSpace) -> None:
    """Write a label map atomically as an 8-bit palette PNG: ids inside, colours when looked at.

    Args:
        path: where to, ending in ``.png``; its folder must exist.
        label: (H, W) integer class ids.
        space: the classes, their colours (ignore is black) and the ignore index.

    Raises:
        OSError: the file cannot be written.
        TypeError, ValueError: not a label map of ``space``, an id or an ignore index that 8 bits
            cannot hold, or another suffix.

    Example:
        >>> write_label("a.png", np.array([[0, 300]]), LabelSpace(names=("road",)))
        Traceback (most recent call last):
            ...
        ValueError: label: expected class ids 0..0 or ignore_index 255, got 300
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"path: expected a name ending in .png, got {path}")
    if not isinstance(label, np.ndarray):
        raise TypeError(f"label: expected a numpy array, got {describe(label)}")
    check_label_map("label", label, batched=False)
    check_labels("label", label, space)
    low, high = int(label.min()), int(label.max())
    if low < 0 or high > 255:
        raise ValueError(f"label: expected ids in 0..255, as a PNG holds, got {low} to {high}")
    colours = np.zeros((256, 3), np.uint8)
    colours[: space.num_classes] = space.colours[:256]
    image = Image.fromarray(label.astype(np.uint8))
    image.putpalette(colours.tobytes())  # makes it a palette image
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def read_confidence(path: PathLike) -> Array:
    """Read a confidence map.

    Args:
        path: an 8- or 16-bit grey PNG, where the largest number (255 or 65535) means 1, or a
            ``.npy`` file of floating point in 0-1.

    Returns:
        (H, W) float32 in 0-1.

    Raises:
        OSError: the file cannot be opened.
        ValueError: unreadable, another shape or type, NaN, or values outside 0-1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (2, 1), 51).save(f"{folder}/a.png")
        ...     read_confidence(f"{folder}/a.png")
        array([[0.2, 0.2]], dtype=float32)
    """
    if Path(path).suffix.lower() == ".npy":
        return _read_npy(path)
    image, _ = _open(path)
    grey = _read_grey(image, path, "a confidence map with one number per pixel")
    if image.mode == "P":
        raise ValueError(f"{path}: expected a grey confidence map, got a palette image")
    top = np.float32(np.iinfo(grey.dtype).max)
    confidence: Array = grey.astype(np.float32) / top
    return confidence


def write_confidence(path: PathLike, confidence: Array) -> None:
    """Write a confidence map atomically, as :func:`read_confidence` reads it.

    Args:
        path: where to, ending in ``.png`` (8-bit grey, white is 1) or ``.npy`` (half precision);
            its folder must exist.
        confidence: (H, W) floating point in 0-1.

    Raises:
        OSError: the file cannot be written.
        ValueError: another suffix.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_confidence(f"{folder}/a.npy", np.array([[0.5, 1]]))
        ...     read_confidence(f"{folder}/a.npy")
        array([[0.5, 1. ]], dtype=float32)
    """
    buffer = io.BytesIO()
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        np.save(buffer, confidence.astype(np.float16))
    elif suffix == ".png":
        grey = np.rint(confidence * 255).astype(np.uint8)
        Image.fromarray(grey).save(buffer, format="PNG")
    else:
        raise ValueError(f"path: expected a name ending in .png or .npy, got {path}")
    write_bytes(path, buffer.getvalue())


def _read_npy(path: PathLike) -> Array:
    data = Path(path).read_bytes()
    try:
        array = load_numpy(data)
        if isinstance(array, dict):
            raise ValueError("an .npz file")
    except Exception as error:  # numpy raises several kinds on a broken file
        raise ValueError(f"{path}: expected a readable .npy file, got {error}") from error
    if array.ndim != 2 or array.size == 0 or array.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected floating point of shape (H, W), "
            f"got {dtype_name(array)} of shape {array.shape}"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(f"{path}: expected values in 0-1, got {low:.4g} to {high:.4g}")
    confidence: Array = array.astype(np.float32).clip(0, 1)
    return confidence


def _open(path: PathLike) -> tuple[Image.Image, bytes]:
    """Decode a file completely, so that a truncated one is noticed here."""
    data = Path(path).read_bytes()
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except UnidentifiedImageError as error:  # whose message names a place in memory
        raise ValueError(f"{path}: expected a readable image, got another kind of file") from error
    except Exception as error:  # Pillow's decoders raise many kinds on a broken file
        raise ValueError(f"{path}: expected a readable image, got {error}") from error
    return image, data


def _read_grey(image: Image.Image, path: PathLike, expected: str) -> Array:
    """The numbers of a one-channel image, uint8 or uint16; fewer than 8 bits come stretched."""
    if image.mode in ("L", "P"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode == "I" and image.format == "PNG":  # a 16-bit PNG, in older Pillow
        return np.array(image).astype(np.uint16)
    raise ValueError(
        f"{path}: expected {expected} (8- or 16-bit grey, or palette), got mode {image.mode}"
    )
