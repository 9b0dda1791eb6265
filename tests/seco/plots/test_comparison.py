"""Before and after: what changed is shown, in the right colours, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from seco import LabelSpace
from seco.plots import before_after, changes

SPACE = LabelSpace(
    names=("road", "sky", "car"), palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)), ignore_index=250
)
IMAGE = np.full((8, 16, 3), 100, np.uint8)
GREY = 130  # of 100, washed out


def label(*quarters):
    return np.repeat(np.repeat(np.array([quarters], np.uint8), 4, axis=1), 8, axis=0)


BEFORE, AFTER = label(0, 0, 1, 250), label(0, 2, 250, 250)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def legend_of(figure):
    return {
        text.get_text(): tuple(round(255 * part) for part in patch.get_facecolor()[:3])
        for text, patch in zip(
            figure.legends[0].get_texts(), figure.legends[0].get_patches(), strict=True
        )
    }


@pytest.mark.parametrize("opacity", [0.0, 0.8, 1.0])
def test_only_what_changed_is_coloured(opacity):
    shown = changes(IMAGE, BEFORE, AFTER, SPACE, opacity=opacity)
    assert shown.dtype == np.uint8
    expected = [
        np.full(3, GREY),
        (1 - opacity) * GREY + opacity * np.array([0, 0, 200]),
        np.full(3, (1 - opacity) * GREY),  # dropped: black
        np.full(3, GREY),
    ]
    for quarter, colour in enumerate(expected):
        assert (shown[:, 4 * quarter : 4 * quarter + 4] == np.rint(colour)).all()


def test_figure_has_every_column_with_its_pictures_and_its_legend():
    figure = before_after([IMAGE], [BEFORE], [AFTER], SPACE, truth=[label(0, 2, 2, 2)])
    assert titles(figure) == ["image", "before", "after", "changed", "truth"]
    shown = [axes.get_images()[0].get_array()[0, ::4].tolist() for axes in figure.axes]
    white, red, green, blue = [255] * 3, [200, 0, 0], [0, 200, 0], [0, 0, 200]
    assert shown[1:3] == [[red, red, green, white], [red, blue, white, white]]
    assert shown[3] == changes(IMAGE, BEFORE, AFTER, SPACE)[0, ::4].tolist()
    assert shown[4] == [red, blue, blue, blue]
    assert legend_of(figure) == {
        "road": (200, 0, 0), "sky": (0, 200, 0), "car": (0, 0, 200), "ignore": (255, 255, 255),
        "label removed": (0, 0, 0),
    }  # fmt: skip
    # road: 1 of 2 quarters, car: 0 of 3; road: 1 of 1, car: 1 of 3
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [[], ["mIoU 16.7 %"], ["mIoU 66.7 %"], [], []]


def test_without_truth_and_changes():
    figure = before_after(
        [IMAGE], [BEFORE], [BEFORE], SPACE, titles=("raw", "refined"), show_changes=False
    )
    assert titles(figure) == ["image", "raw", "refined"]
    assert list(legend_of(figure)) == ["road", "sky", "ignore"]
    assert not any(axes.texts for axes in figure.axes)


@pytest.mark.parametrize(
    ("after", "options", "message"),
    [
        ([], {}, r"labels\['after'\]: expected one per image, 1, got 0"),
        ([AFTER.T], {}, r"labels\['after'\]\[0\]: expected shape \(8, 16\)"),
        ([AFTER], {"truth": []}, r"labels\['truth'\]: expected one per image"),
        ([AFTER], {"titles": ("raw", "raw")}, "titles: expected two other than"),
        ([AFTER], {"titles": ("raw", "truth")}, "titles: expected two other than"),
        ([AFTER + 5], {}, "label: expected class ids"),
    ],
)
def test_figure_refuses(after, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        before_after([IMAGE], [BEFORE], after, SPACE, **options)


def test_changes_refuse_labels_of_another_size():
    with pytest.raises(ValueError, match=r"after: expected shape \(8, 16\) as the image has"):
        changes(IMAGE, BEFORE, AFTER[:4], SPACE)
