"""Pictures of label maps: the right colours at the right pixels, and no global state."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from seco.common.labels import LabelSpace
from seco.common.plots import label_figure, legend, overlay, picture_figure, write_figure

SPACE = LabelSpace(
    names=("road", "sky", "car"), things=("car",), palette=((200, 0, 0), (0, 200, 0), (0, 0, 200))
)
IMAGE = np.full((20, 40, 3), 90, np.uint8)


def halves(left: int, right: int) -> np.ndarray:
    label = np.full((20, 40), left, np.uint8)
    label[:, 20:] = right
    return label


def rendered(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return np.array(Image.open(buffer).convert("RGB"))


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 1.0])
def test_overlay_mixes_and_leaves_ignored_pixels_alone(opacity):
    mixed = overlay(IMAGE, halves(1, 255), SPACE, opacity=opacity)
    assert mixed.dtype == np.uint8
    assert mixed.shape == IMAGE.shape
    expected = np.rint((1 - opacity) * 90 + opacity * np.array([0, 200, 0]))
    assert (mixed[:, :20] == expected).all()
    assert (mixed[:, 20:] == 90).all()


def test_overlay_honours_another_ignore_index():
    space = LabelSpace(names=SPACE.names, palette=SPACE.palette, ignore_index=-1)
    mixed = overlay(IMAGE, halves(0, 0).astype(np.int64) - 1, space)
    assert (mixed == IMAGE).all()


@pytest.mark.parametrize(
    ("image", "label", "opacity", "message"),
    [
        (IMAGE.astype(float), halves(0, 1), 0.5, "image: expected a uint8 array"),
        (IMAGE[..., 0], halves(0, 1), 0.5, r"image: expected shape \(H, W, 3\)"),
        (IMAGE, halves(0, 1)[1:], 0.5, r"label: expected shape \(20, 40\) as the image has"),
        (IMAGE, halves(0, 7), 0.5, "label: expected class ids"),
        (IMAGE, halves(0, 1), 1.5, "opacity: expected a number in"),
    ],
)
def test_overlay_refuses(image, label, opacity, message):
    with pytest.raises((TypeError, ValueError), match=message):
        overlay(image, label, SPACE, opacity=opacity)


def test_figure_shows_every_cell_in_the_colours_of_the_space():
    figure = label_figure(
        [IMAGE, IMAGE],
        {"raw": [halves(0, 255), halves(1, 1)], "refined": [halves(0, 0), halves(1, 1)]},
        SPACE,
    )
    pixels = rendered(figure)
    height, width = pixels.shape[:2]
    seen = {}
    for axes in figure.axes:
        box = axes.get_position()
        row = int((1 - box.y0 - box.height / 2) * height)
        for side, share in (("left", 0.25), ("right", 0.75)):
            column = int((box.x0 + share * box.width) * width)
            seen.setdefault(side, []).append(tuple(int(v) for v in pixels[row, column]))
    corners = [(axes.get_position().x0, -axes.get_position().y0) for axes in figure.axes]
    assert corners == sorted(corners, key=lambda corner: (round(corner[1], 6), corner[0]))
    assert len({y for _, y in corners}) == 2
    grey, red, green, white = (90, 90, 90), (200, 0, 0), (0, 200, 0), (255, 255, 255)
    assert seen["left"] == [grey, red, red, grey, green, green]
    assert seen["right"] == [grey, white, red, grey, green, green]


def test_cells_keep_the_shape_of_the_images():
    figure = label_figure([IMAGE], {"raw": [halves(0, 0)]}, SPACE, width=10)
    for axes in figure.axes:
        box = axes.get_position()
        wide, high = figure.get_size_inches()
        assert box.height * high / (box.width * wide) == pytest.approx(20 / 40)


def test_legend_lists_what_occurs_and_captions_go_to_their_cells():
    captions = {"raw": ["54 %", "60 %"]}
    maps = {"raw": [halves(2, 0), halves(0, 0)], "truth": [halves(2, 2), halves(2, 2)]}
    figure = label_figure([IMAGE, IMAGE], maps, SPACE, captions=captions)
    assert texts(figure) == ["road", "car"]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        [], ["54 %"], [], [], ["60 %"], [],
    ]  # fmt: skip
    ignored = label_figure([IMAGE], {"raw": [halves(1, 255)]}, SPACE)
    assert texts(ignored) == ["sky", "ignore"]


@pytest.mark.parametrize("classes", [1, 19, 150])
def test_legend_lies_below_the_cells(classes):
    space = LabelSpace(names=tuple(f"class {k}" for k in range(classes)))
    label = np.arange(20 * 40).reshape(20, 40) % classes
    figure = label_figure([IMAGE], {"raw": [label]}, space)
    rendered(figure)
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.width
    assert legend.y0 >= 0
    assert legend.y1 <= min(axes.get_window_extent().y0 for axes in figure.axes)


@pytest.mark.parametrize(
    ("images", "labels", "captions", "message"),
    [
        ([], {}, None, "images: expected at least one image"),
        ([IMAGE], {"raw": []}, None, r"labels\['raw'\]: expected one per image, 1, got 0"),
        ([IMAGE], {"image": [halves(0, 0)]}, None, "labels: expected titles other than 'image'"),
        ([IMAGE], {"raw": [halves(0, 0).T]}, None, r"labels\['raw'\]\[0\]: expected shape"),
        ([IMAGE], {"raw": [[[0]]]}, None, r"labels\['raw'\]\[0\]: expected a numpy array"),
        ([IMAGE], {"raw": [halves(0, 0)]}, {"new": ["a"]}, "captions: expected titles out of"),
        ([IMAGE], {"raw": [halves(0, 0)]}, {"raw": []}, r"captions\['raw'\]: expected one per"),
    ],
)
def test_figure_refuses(images, labels, captions, message):
    with pytest.raises((TypeError, ValueError), match=message):
        label_figure(images, labels, SPACE, captions=captions)


def test_a_legend_has_what_occurs_in_the_order_of_the_classes():
    space = LabelSpace(names=SPACE.names, palette=SPACE.palette, ignore_index=-1)
    maps = [halves(2, 2).astype(np.int64), halves(0, 0).astype(np.int64) - 1]
    shown = legend(maps, space)
    assert list(shown.items()) == [("car", (0, 0, 200)), ("ignore", (255, 255, 255))]
    assert legend([], space) == {}


def test_pictures_stand_in_their_columns_with_captions_where_there_are_any():
    red, blue = (np.full((20, 40, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 0, 250)))
    figure = picture_figure(
        {"before": [red, blue], "after": [blue, red]},
        captions={"after": ["", "second"]},
        legend={"sky": (1, 2, 3)},
    )
    assert [axes.get_title() for axes in figure.axes] == ["before", "after", "", ""]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        [], [], [], ["second"],
    ]  # fmt: skip
    shown = [axes.get_images()[0].get_array()[0, 0].tolist() for axes in figure.axes]
    assert shown == [[250, 0, 0], [0, 0, 250], [0, 0, 250], [250, 0, 0]]
    assert texts(figure) == ["sky"]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({}, "pictures: expected at least one column of at least one, got none"),
        ({"a": []}, "pictures: expected at least one column of at least one, got none"),
        ({"a": [IMAGE], "b": []}, r"pictures\['b'\]: expected 1 as the first column has, got 0"),
        ({"a": [IMAGE / 255]}, r"pictures\['a'\]\[0\]: expected a uint8 array"),
    ],
)
def test_pictures_that_cannot_be_are_refused(pictures, message):
    with pytest.raises((TypeError, ValueError), match=message):
        picture_figure(pictures)


def test_written_twice_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        figure = label_figure([IMAGE], {"raw": [halves(0, 1)]}, SPACE)
        write_figure(tmp_path / name, figure, dpi=50)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_pyplot_is_never_imported(tmp_path):
    code = """
import sys
import numpy as np
from seco.common.plots import label_figure, overlay, picture_figure, write_figure
assert "matplotlib" not in sys.modules, "importing must not load matplotlib"
from seco.common.labels import LabelSpace
space = LabelSpace(names=("road",))
image, label = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.uint8)
write_figure(sys.argv[1], label_figure([image], {"raw": [label]}, space))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    target = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    assert target.exists()
