"""Pipelines of mmsegmentation as our steps meet them: results go through, fields move along.

OpenCV moves images and fields, as it does there, with the calls that mmcv makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

Results = dict[str, Any]
META_KEYS = ("ori_filename", "img_shape", "flip")


def load(path: str, filename: str) -> Results:
    """What a data set and the loading of an image leave, in 0.x."""
    img = cv2.imread(f"{path}/{filename}")
    info = {"img_info": {"filename": filename}, "img_prefix": path, "seg_fields": []}
    return info | {"img": img, "img_shape": img.shape, "ori_filename": filename}


def resize(size: tuple[int, int]) -> Callable[[Results], Results]:
    """To a width and a height, as OpenCV has them."""

    def step(results: Results) -> Results:
        results["img"] = cv2.resize(results["img"], size, interpolation=cv2.INTER_LINEAR)
        return fields(results, lambda m: cv2.resize(m, size, interpolation=cv2.INTER_NEAREST))

    return step


def crop(top: int, left: int, height: int, width: int) -> Callable[[Results], Results]:
    def cut(array: np.ndarray) -> np.ndarray:
        return array[top : top + height, left : left + width]

    def step(results: Results) -> Results:
        results["img"] = cut(results["img"])
        return fields(results, cut)

    return step


def flip(results: Results) -> Results:
    results["flip"] = True
    results["img"] = np.flip(results["img"], axis=1)
    return fields(results, lambda m: np.flip(m, axis=1).copy())


def rotate(degrees: float) -> Callable[[Results], Results]:
    def step(results: Results) -> Results:
        height, width = results["img"].shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        size = (width, height)
        results["img"] = cv2.warpAffine(results["img"], matrix, size)
        return fields(
            results,
            lambda m: cv2.warpAffine(m, matrix, size, flags=cv2.INTER_NEAREST, borderValue=255),
        )

    return step


def pad(height: int, width: int) -> Callable[[Results], Results]:
    """At the right and the bottom: images with 0, fields with 255."""

    def grown(array: np.ndarray, value: int) -> np.ndarray:
        below, right = height - array.shape[0], width - array.shape[1]
        return cv2.copyMakeBorder(array, 0, below, 0, right, cv2.BORDER_CONSTANT, value=value)

    def step(results: Results) -> Results:
        results["img"] = grown(results["img"], 0)
        return fields(results, lambda m: grown(m, 255))

    return step


def collect(meta_keys: Sequence[str]) -> Callable[[Results], Results]:
    """All that the loop gets: the image, and of the rest what ``meta_keys`` names."""
    return lambda results: {
        "img": results["img"],
        "img_metas": {key: results[key] for key in meta_keys},
    }


def fields(results: Results, move: Callable[[np.ndarray], np.ndarray]) -> Results:
    for key in results["seg_fields"]:
        results[key] = move(results[key])
    results["img_shape"] = results["img"].shape
    return results


def run(results: Results, steps: Sequence[Callable[[Results], Results]]) -> Results:
    results.setdefault("flip", False)
    for step in steps:
        results = step(results)
    return results
