"""Outlines and tints: compared pixel by pixel with what a loop over the pixels says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seco import Connectivities, LabelSpace, Regions
from seco.common.labels import distinct_palette
from seco.correction.decision import CORRECT, DROP, KEEP, Decisions
from seco.correction.judging import Judgement
from seco.plots import ACTION_COLOURS, connectivity_outlines, decision_outlines, region_outlines

SPACE = LabelSpace(names=("road", "sky"), palette=((200, 0, 0), (0, 0, 200)))
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
IDS = np.zeros((24, 32), np.int32)
IDS[2:20, 1:12], IDS[2:20, 12:22], IDS[5:24, 24:32] = 1, 2, 3


def by_hand(ids, colours, widths, tint):
    """Grey, washed out, tinted where there is an id, and the id's colour near another id."""
    grey = np.rint(IMAGE @ [0.299, 0.587, 0.114]) * 0.7 + 60
    shown = np.repeat(grey[..., None], 3, axis=2)
    height, width = ids.shape
    for y in range(height):
        for x in range(width):
            own = ids[y, x]
            if own == 0:
                continue
            reach = widths[own]
            around = [
                ids[v, u] if 0 <= v < height and 0 <= u < width else -1
                for v in range(y - reach, y + reach + 1)
                for u in range(x - reach, x + reach + 1)
            ]
            colour = np.array(colours[own], float)
            if any(other != own for other in around):
                shown[y, x] = colour
            else:
                shown[y, x] = (1 - tint[own]) * shown[y, x] + tint[own] * colour
    return shown


def same(shown, expected):
    assert shown.dtype == np.uint8
    assert shown.shape == expected.shape
    # Pillow's grey may differ by one before it is washed out.
    np.testing.assert_allclose(shown, expected, atol=1.01)


def connectivities(classes=(0, 1, 0)):
    return Connectivities(torch.from_numpy(IDS), torch.tensor(classes), torch.ones(len(classes)))


@pytest.mark.parametrize("opacity", [0.0, 0.35, 1.0])
def test_connectivities_wear_the_colours_of_their_classes(opacity):
    shown = connectivity_outlines(IMAGE, connectivities(), SPACE, opacity=opacity)
    colours = [None, SPACE.colours[0], SPACE.colours[1], SPACE.colours[0]]
    same(shown, by_hand(IDS, colours, [0, 2, 2, 2], [0] + 3 * [opacity]))


def test_decisions_are_told_apart_and_what_is_kept_is_not_tinted():
    classes, chances = torch.zeros(3, dtype=torch.int64), torch.ones(3)
    decisions = Decisions(torch.tensor([KEEP, CORRECT, DROP]), classes, chances)
    judgement = Judgement(connectivities(), chances, chances, classes, chances, decisions)
    colours = [None, *(ACTION_COLOURS[action] for action in (KEEP, CORRECT, DROP))]
    same(
        decision_outlines(IMAGE, judgement), by_hand(IDS, colours, [0, 1, 2, 2], [0, 0, 0.35, 0.35])
    )


def test_overlapping_regions_are_all_outlined():
    masks = torch.zeros(2, 24, 32, dtype=torch.bool)
    masks[0, 2:20, 2:20], masks[1, 8:24, 10:30] = True, True
    regions = Regions.from_masks(masks)
    colours = [None, *distinct_palette(3)]
    shown = region_outlines(IMAGE, regions, opacity=0.5)
    same(shown, by_hand(regions.atoms.numpy(), colours, [0, 1, 1, 1], [0, 0.5, 0.5, 0.5]))
    assert len({tuple(shown[y, x]) for y, x in ((2, 2), (8, 19), (23, 29))}) == 3


def test_an_atom_of_no_region_is_none():
    regions = Regions(
        torch.from_numpy(IDS), torch.tensor([[False, True, False, False]]), torch.ones(1)
    )
    only = np.where(IDS == 1, 1, 0)
    same(region_outlines(IMAGE, regions), by_hand(only, [None, (128, 0, 0)], [0, 1], [0, 0.5]))


def test_another_size_keeps_ids_whole():
    shown = connectivity_outlines(IMAGE, connectivities(), SPACE, opacity=1, size=(48, 64))
    assert shown.shape == (48, 64, 3)
    large = np.repeat(np.repeat(IDS, 2, axis=0), 2, axis=1)
    for k, colour in ((1, SPACE.colours[0]), (2, SPACE.colours[1])):
        assert (shown[large == k] == colour).all()
    assert np.ptp(shown[large == 0].astype(int), axis=1).max() == 0  # grey


def test_nothing_there_is_the_grey_image():
    none = Connectivities(
        torch.zeros(24, 32, dtype=torch.int32), torch.zeros(0).long(), torch.zeros(0)
    )
    same(connectivity_outlines(IMAGE, none, SPACE), by_hand(np.zeros_like(IDS), [None], [0], [0]))


@pytest.mark.parametrize(
    ("image", "opacity", "message"),
    [
        (IMAGE / 255, 0.5, "image: expected a uint8 array"),
        (IMAGE[:5], 0.5, r"ids: expected shape \(5, 32\) as the image has, got \(24, 32\)"),
        (IMAGE, 2, r"opacity: expected a number in \[0, 1\], got 2"),
    ],
)
def test_outlines_refuse(image, opacity, message):
    with pytest.raises((TypeError, ValueError), match=message):
        connectivity_outlines(image, connectivities(), SPACE, opacity=opacity)
