from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from seco import Connectivities, LabelSpace
from seco.common.labels import distinct_palette
from seco.common.pages.pictures import label_picture, photo
from seco.correction.decision import CORRECT, DROP, KEEP, Decisions
from seco.correction.judging import Judgement
from seco.plots import ACTION_COLOURS
from seco.report.pictures import decision_picture

SPACE = LabelSpace(names=("a", "b"), palette=((10, 20, 30), (200, 100, 0)))


def decoded(address):
    head, _, data = address.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB"))


def judged(ids, actions):
    number = len(actions)
    chances, classes = torch.ones(number), torch.zeros(number, dtype=torch.int64)
    decisions = Decisions(torch.tensor(actions, dtype=torch.int64), classes, chances)
    known = Connectivities(torch.from_numpy(ids), classes, chances)
    return Judgement(known, chances, chances, classes, chances, decisions)


def test_labels_are_shown_exactly():
    label = np.random.default_rng(0).choice([0, 1, 255], (7, 9))
    colours = {0: (10, 20, 30), 1: (200, 100, 0), 255: (255, 255, 255)}
    shown = decoded(label_picture(label, SPACE))
    expected = np.array([[colours[k] for k in row] for row in label.tolist()])
    np.testing.assert_array_equal(shown, expected)


def test_more_colours_than_a_palette_holds():
    space = LabelSpace(names=tuple(map(str, range(400))), ignore_index=-1)
    label = np.arange(400).reshape(20, 20)
    np.testing.assert_array_equal(decoded(label_picture(label, space)), space.colourise(label))
    assert len(set(distinct_palette(400))) > 256


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1024, 2048), (320, 640)), ((2048, 1024), (640, 320)), ((64, 128), (64, 128)),
     ((1, 5000), (1, 640))],
)  # fmt: skip
def test_large_pictures_are_scaled_down(size, expected):
    image = np.full((*size, 3), 77, np.uint8)
    assert decoded(photo(image)).shape[:2] == expected
    assert abs(decoded(photo(image)).astype(int) - 77).max() <= 2
    label = np.zeros(size, int)
    label[:, size[1] // 2 :] = 1
    shown = decoded(label_picture(label, SPACE))
    assert shown.shape[:2] == expected
    assert set(map(tuple, shown.reshape(-1, 3))) == {(10, 20, 30), (200, 100, 0)}


def test_regions_are_outlined_and_changes_tinted():
    ids = np.zeros((64, 96), np.int32)
    ids[4:60, 4:28], ids[4:60, 36:60], ids[4:60, 68:92] = 1, 2, 3
    image = np.full((64, 96, 3), 128, np.uint8)
    shown = decoded(decision_picture(image, judged(ids, [KEEP, CORRECT, DROP]))).astype(int)
    scale = shown.shape[0] // 64
    assert shown.shape[1] == 96 * scale >= 480

    def at(row, column):
        return shown[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale]

    grey = at(0, 0).mean(axis=(0, 1))
    assert np.ptp(grey) < 8  # no colour where no region is
    for left, action in ((4, KEEP), (36, CORRECT), (68, DROP)):
        colour = np.array(ACTION_COLOURS[action])
        outline = at(30, left)[:, : 1 if action == KEEP else 2]
        assert abs(outline.mean(axis=(0, 1)) - colour).max() < 40
        inside = at(30, left + 12).mean(axis=(0, 1))
        tinted = grey if action == KEEP else 0.65 * grey + 0.35 * colour
        assert abs(inside - tinted).max() < 12


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (1200, 5)])
def test_odd_sizes(size):
    image = np.zeros((*size, 3), np.uint8)
    ids = np.zeros(size, np.int32)
    for judgement in (judged(ids, []), judged(ids + 1, [DROP])):
        decoded(decision_picture(image, judgement))
    decoded(photo(image))
    decoded(label_picture(ids, SPACE))


def test_a_pixel_that_is_scaled_down_is_that_of_its_middle():
    label = np.tile([255, 1, 0], (3, 640))
    np.testing.assert_array_equal(
        decoded(label_picture(label, SPACE)), np.broadcast_to((200, 100, 0), (1, 640, 3))
    )
