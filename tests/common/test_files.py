from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import seco.common.files as files
from seco.common.files import (
    read_confidence,
    read_image,
    read_label,
    remove_leftovers,
    write_bytes,
    write_confidence,
    write_label,
)
from seco.common.label_spaces import ADE20K, CAMVID, CITYSCAPES
from seco.common.labels import LabelSpace

READERS = (read_image, read_label, read_confidence)


def noise(height: int = 6, width: int = 9, high: int = 256, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (height, width)).astype(dtype)


def grey_png(rows: np.ndarray, depth: int) -> bytes:
    """A grey PNG of 1, 2, 4, 8 or 16 bits, written by hand: Pillow writes no 2 and 4."""
    height, width = rows.shape
    bits = ((rows[..., None] >> np.arange(depth)[::-1]) & 1).astype(np.uint8)
    packed = np.packbits(bits.reshape(height, -1), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def test_write_is_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new" * 1000)
    assert path.read_bytes() == b"new" * 1000
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def fail(*_: object) -> None:
        assert path.read_bytes() == b"old", "the old file must be whole until the new one is"
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    dead = tmp_path / f".{'a' * 32}.tmp"
    others = [tmp_path / name for name in (".mine.tmp", f"{'a' * 32}.tmp", ".hidden", "a.png")]
    for path in (dead, *others):
        path.write_bytes(b"half")
    with files._new_file(tmp_path) as living:
        remove_leftovers(tmp_path)
        assert set(tmp_path.iterdir()) == {*others, tmp_path / living.name}
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == set(others)
    remove_leftovers(tmp_path / "not there")


def test_a_new_file_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    """Another process removes leftovers in the moment between opening and locking."""
    locked, real = [], files.try_lock

    def try_lock(file):
        locked.append(file.name)
        if len(locked) == 1:
            os.unlink(file.name)
        return real(file)

    monkeypatch.setattr(files, "try_lock", try_lock)
    write_bytes(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert len(locked) == 2
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(("suffix", "error"), [("png", 0.5 / 255), ("npy", 2**-12)])
def test_confidences_are_read_as_they_were_written(tmp_path, suffix, error):
    confidence = np.random.default_rng(0).random((6, 9)).astype(np.float32)
    confidence[0, :2] = 0, 1
    write_confidence(tmp_path / f"a.{suffix}", confidence)
    read = read_confidence(tmp_path / f"a.{suffix}")
    assert np.abs(read - confidence).max() <= error + 1e-7
    assert read[0, :2].tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"expected a name ending in \.png or \.npy"):
        write_confidence(tmp_path / "a.jpg", confidence)


def test_write_respects_the_umask_and_names_a_missing_folder(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "none" / "a", b"")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    rgb = Image.fromarray(np.stack([noise()] * 3, axis=-1))
    image = rgb.convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint8
    assert np.array_equal(read, np.asarray(image.convert("RGB")))
    assert read.flags.writeable


def test_a_palette_with_transparency_is_read(tmp_path):
    image = Image.fromarray(noise(high=4))
    image.putpalette(bytes(range(12)))
    image.save(tmp_path / "a.png", transparency=b"\x00\x80\xff\xff")
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], noise(high=4) * 3)


def test_deep_images_are_refused(tmp_path):
    Image.fromarray(noise(high=65536, dtype="uint16")).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: expected an image with 8 bits per channel"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_labels_hold_ids_at_every_depth(tmp_path, depth):
    label = noise(high=2**depth, dtype="uint16")
    (tmp_path / "a.png").write_bytes(grey_png(label, depth))
    read = read_label(tmp_path / "a.png")
    assert read.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(read, label)


def test_palette_labels_hold_ids_not_colours(tmp_path):
    label = noise(high=16)
    image = Image.fromarray(label)
    image.putpalette(bytes(range(255, 207, -1)))
    for bits in (4, 8):
        image.save(tmp_path / "a.png", bits=bits)
        assert np.array_equal(read_label(tmp_path / "a.png"), label)


def test_colour_renderings_and_jpegs_are_no_labels(tmp_path):
    Image.fromarray(CITYSCAPES.colourise(noise(high=19))).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: expected a label map with one class id.*RGB"):
        read_label(tmp_path / "a.png")
    Image.fromarray(noise(high=19)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: expected a lossless label map"):
        read_label(tmp_path / "a.jpg")
    Image.fromarray(noise().astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: expected a label map with one class id.*mode F"):
        read_label(tmp_path / "a.tif")


@pytest.mark.parametrize("space", [CITYSCAPES, ADE20K])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_written_labels_come_back_and_look_right(tmp_path, space, dtype):
    label = noise(high=space.num_classes).astype(dtype)
    label[0] = 255
    write_label(tmp_path / "a.PNG", label, space)
    read = read_label(tmp_path / "a.PNG")
    assert read.dtype == np.uint8
    assert np.array_equal(read, label)
    assert np.array_equal(read_image(tmp_path / "a.PNG"), space.colourise(label))
    assert os.listdir(tmp_path) == ["a.PNG"]


def test_labels_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.png"
    negative = LabelSpace(names=("road",), ignore_index=-1)
    many = LabelSpace(names=tuple(map(str, range(300))), ignore_index=1000)
    write_label(path, np.array([[0]]), negative)
    write_label(path, np.array([[0, 255]]), many)
    for label, space in ((np.array([[0, -1]]), negative), (np.array([[256, 0]]), many)):
        with pytest.raises(ValueError, match=r"label: expected ids in 0\.\.255"):
            write_label(path, label, space)
    for label, space in (
        (np.array([[19]]), CITYSCAPES),
        (np.array([[0.5]]), CITYSCAPES),
        (np.zeros((1, 2, 2), np.uint8), CITYSCAPES),
        ([[0]], CITYSCAPES),
    ):
        with pytest.raises((TypeError, ValueError), match="label: expected"):
            write_label(path, label, space)
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.png"):
        write_label(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8), CITYSCAPES)
    assert np.array_equal(read_label(path), [[0, 255]])


def test_confidences_of_every_form(tmp_path):
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        values = noise(high=top + 1, dtype=dtype)
        Image.fromarray(values).save(tmp_path / "a.png")
        read = read_confidence(tmp_path / "a.png")
        assert read.dtype == np.float32
        assert np.allclose(read, values / top)
    for dtype in ("float16", "float32", "float64", ">f4"):
        values = (noise() / 255).astype(dtype)
        np.save(tmp_path / "a.npy", values)
        read = read_confidence(tmp_path / "a.npy")
        assert read.dtype == np.float32
        assert np.array_equal(read, values.astype(np.float32))
    np.save(tmp_path / "a.npy", np.array([[1 + 1e-6, -1e-7]], np.float32))  # a softmax's rounding
    assert read_confidence(tmp_path / "a.npy").tolist() == [[1, 0]]


def test_wrong_confidences_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    for values, message in (
        (np.zeros((2, 2), np.uint8), r"floating point of shape \(H, W\)"),
        (np.zeros((1, 2, 2)), r"floating point of shape \(H, W\)"),
        (np.zeros((0, 2)), r"floating point of shape \(H, W\)"),
        (np.full((2, 2), 1.5), "values in 0-1"),
        (np.full((2, 2), 1.001), "values in 0-1"),
        (np.array([[0, np.nan]]), "values in 0-1"),
        (np.array([[None]], object), r"a readable \.npy file"),
    ):
        np.save(path, values)
        with pytest.raises(ValueError, match=rf"a\.npy: expected {message}"):
            read_confidence(path)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: expected a confidence map"):
        read_confidence(tmp_path / "a.png")
    Image.fromarray(noise()).convert("P").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="got a palette image"):
        read_confidence(tmp_path / "a.png")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_unreadable_files_are_named(tmp_path, reader, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(FileNotFoundError, match=r"a\."):
        reader(path)
    for content in (b"", b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.{suffix}: expected a readable"):
            reader(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data(), reader=st.sampled_from(READERS), form=st.sampled_from(["png", "npy"]))
def test_damaged_files_give_a_value_error_or_an_image(tmp_path, data, reader, form):
    buffer = io.BytesIO()
    if form == "png":
        Image.fromarray(noise(20, 20)).save(buffer, format="PNG")
    else:
        np.save(buffer, noise(20, 20) / np.float32(255))
    content = bytearray(buffer.getvalue())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{form}"
    path.write_bytes(content)
    message, read = "", None
    try:
        read = reader(path)
    except ValueError as error:
        message = str(error)
    if read is None:
        assert f"damaged.{form}: expected" in message
    else:
        assert read.ndim == (3 if reader is read_image else 2)


def test_a_truncated_png_is_noticed(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(64, 64)).save(path)
    whole = path.read_bytes()
    for size in (len(whole) // 4, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        for reader in READERS:
            with pytest.raises(ValueError, match=r"a\.png: expected a readable image"):
                reader(path)


def test_palettes_that_mean_other_classes_are_refused(tmp_path):
    path = tmp_path / "a.png"
    label = np.repeat(np.array([[13, 0, 10, 255]], np.uint8), 4, axis=0)
    write_label(path, label, CITYSCAPES)
    assert (read_label(path, CITYSCAPES) == label).all()
    coloured = Image.open(path).convert("RGB")
    coloured.quantize(8).save(path)
    read_label(path)  # nobody knows then
    with pytest.raises(ValueError, match=r"a\.png: expected ids of the label space, got a palette"):
        read_label(path, CITYSCAPES)
    plain = LabelSpace(CITYSCAPES.names)  # without colours of its own
    assert (read_label(path, plain) < 8).all()
    write_label(path, np.array([[0, 1, 2, 3]]), CAMVID)
    with pytest.raises(ValueError, match="is it of another label space"):
        read_label(path, CITYSCAPES)
    for grey in (Image.fromarray(label), Image.fromarray(label.astype(np.uint16))):
        grey.save(path)
        assert (read_label(path, CITYSCAPES) == label).all()
    other = Image.fromarray(label)
    other.putpalette(np.arange(768, dtype=np.uint8).tobytes())  # colours of no class
    other.save(path)
    assert (read_label(path, CITYSCAPES) == label).all()
