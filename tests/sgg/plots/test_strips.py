"""Strips of translations: every picture in its place, with what was seen and how well it fits."""

from __future__ import annotations

import numpy as np
import pytest

from seco.common.labels import LabelSpace
from sgg.plots import translation_strips

SPACE = LabelSpace(names=("road", "sky", "car"), palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)))


def image(grey):
    return np.full((4, 8, 3), grey, np.uint8)


def halves(left, right):
    return np.repeat(np.repeat(np.array([[left, right]], np.uint8), 4, axis=1), 4, axis=0)


IMAGES = {"source": [image(1), image(2)], "SGG": [image(11), image(12)], "target": [image(21)] * 2}
LABELS = [halves(0, 1), halves(1, 1)]


def shown(figure):
    """Left and right end of every picture, row by row."""
    return [axes.get_images()[0].get_array()[0, [0, -1]].tolist() for axes in figure.axes]


def names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


RED, GREEN, BLUE, WHITE = [200, 0, 0], [0, 200, 0], [0, 0, 200], [255] * 3


def test_a_row_per_image_with_its_label():
    figure = translation_strips(IMAGES, LABELS, SPACE)
    assert [axes.get_title() for axes in figure.axes][:4] == ["source", "label", "SGG", "target"]
    rows = shown(figure)
    assert [row[0] for row in rows] == [
        [1] * 3,
        RED,
        [11] * 3,
        [21] * 3,
        [2] * 3,
        GREEN,
        [12] * 3,
        [21] * 3,
    ]
    assert rows[1] == [RED, GREEN]
    assert names(figure) == ["road", "sky"]


def test_what_is_seen_lies_below_with_its_agreement():
    seen = {"SGG": [halves(0, 2), halves(255, 1)], "target": LABELS}
    figure = translation_strips(IMAGES, LABELS, SPACE, seen=seen)
    assert [axes.get_title() for axes in figure.axes] == ["source", "SGG", "target", *[""] * 9]
    rows = shown(figure)
    assert rows[:3] == [[[grey] * 3] * 2 for grey in (1, 11, 21)]
    assert rows[3:6] == [[RED, GREEN], [RED, BLUE], [RED, GREEN]]
    assert rows[9:] == [[GREEN, GREEN], [WHITE, GREEN], [GREEN, GREEN]]
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    # road right, sky missed, car invented: 1/3; half of sky: 1/2
    assert texts[3:6] == [["label"], ["mIoU 33.3 %"], ["mIoU 100.0 %"]]
    assert texts[9:] == [["label"], ["mIoU 50.0 %"], ["mIoU 100.0 %"]]
    assert texts[:3] == texts[6:9] == [[], [], []]
    assert names(figure) == ["road", "sky", "car", "ignore"]


@pytest.mark.parametrize(
    ("images", "labels", "seen", "message"),
    [
        ({}, LABELS, None, "images: expected at least one column, got none"),
        ({"label": []}, [], None, "images: expected titles other than 'label'"),
        (IMAGES, LABELS[:1], None, "labels: expected one per image, 2, got 1"),
        (IMAGES, [LABELS[0], LABELS[0].T], None, r"labels\[1\]: expected shape \(4, 8\)"),
        (IMAGES, LABELS, {"SGG": LABELS}, r"seen: expected label maps for \['SGG', 'target'\]"),
        (IMAGES, LABELS, {"SGG": LABELS, "target": LABELS[1:]}, r"seen\['target'\]: expected one"),
        (IMAGES | {"SGG": [image(0)]}, LABELS, None, r"pictures\['SGG'\]: expected 2"),
    ],
)
def test_strips_refuse(images, labels, seen, message):
    with pytest.raises((TypeError, ValueError), match=message):
        translation_strips(images, labels, SPACE, seen=seen)
