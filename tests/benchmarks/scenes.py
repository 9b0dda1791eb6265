"""Images, labels and regions that are timed: generated streets, and labels of a chosen number."""

from __future__ import annotations

import math

import numpy as np
import torch

import seco
from seco.common.arrays import Array
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict

Size = tuple[int, int]


def crowded_scenes(count: int, size: Size, least: int) -> list[tuple[Array, Array, int]]:
    """Camera images, their pseudo-labels and how many components of things these have.

    Args:
        count: how many scenes.
        size: height and width.
        least: components of things that a label must have.
    """
    segmenter, scenes = load_segmenter(), []
    for seed in DEV_SEEDS:
        image = street_scene(seed, size=size, domain="camera").image
        label = predict(segmenter, image[None])[0][0]
        found = len(seco.connected_components(label, classes=STREETS.thing_ids, min_area=10))
        if found >= least:
            scenes.append((image, label, found))
        if len(scenes) == count:
            break
    return scenes


def labelled_scenes(count: int, size: Size) -> list[tuple[Array, Array]]:
    """Camera images with the labels of a network that was trained on other weather."""
    return [(image, label) for image, label, _ in crowded_scenes(count, size, 0)]


def label_of_boxes(count: int, size: Size) -> Array:
    """Road with so many boxes of things that do not touch, from a tenth of a cell to most of it."""
    rows = math.ceil(math.sqrt(count * size[0] / size[1]))
    columns = math.ceil(count / rows)
    height, width = size[0] // rows, size[1] // columns
    rng = np.random.default_rng(0)
    label = np.zeros(size, np.uint8)
    for index in range(count):
        y, x = height * (index // columns) + 1, width * (index % columns) + 1
        h, w = (max(int(rng.uniform(0.1, 0.8) * side), 4) for side in (height, width))
        label[y : y + h, x : x + w] = STREETS.thing_ids[index % len(STREETS.thing_ids)]
    return label


def crowded_regions(count: int, size: Size) -> seco.Regions:
    """Random boxes over each other, from a few pixels to a third of the sides."""
    rng = np.random.default_rng(0)
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        h, w = (int(side * rng.uniform(0.02, 0.33)) for side in size)
        y, x = int(rng.integers(size[0] - h)), int(rng.integers(size[1] - w))
        mask[y : y + h, x : x + w] = True
    return seco.Regions.from_masks(masks)
