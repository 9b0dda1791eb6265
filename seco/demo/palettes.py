"""Colours and surface roughness of every material in the two domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Material:
    """Base colours to choose from, spread of brightness (relative), and grain (relative)."""

    colours: tuple[RGB, ...]
    spread: float = 0.1
    grain: float = 0.0
    glow: float = 0.0  # 1: gives its own light


GAME: dict[str, Material] = {
    "sky": Material(((92, 160, 235), (120, 180, 240), (80, 145, 225)), 0.05),
    "asphalt": Material(((82, 84, 92), (92, 92, 98)), 0.08, 0.02),
    "patch": Material(((76, 78, 86), (95, 96, 102)), 0.05, 0.02),
    "marking": Material(((245, 245, 240), (250, 215, 80)), 0.03),
    "pavement": Material(((205, 182, 160), (196, 170, 160), (212, 196, 176)), 0.05, 0.03),
    "kerb": Material(((222, 220, 214),), 0.04),
    "grass": Material(((104, 168, 62), (92, 158, 66), (122, 176, 70)), 0.08, 0.05),
    "facade": Material(
        ((205, 92, 72), (236, 205, 150), (222, 165, 110), (168, 190, 214), (188, 88, 80),
         (240, 230, 205), (215, 140, 90), (200, 130, 120)), 0.06, 0.02),
    "trim": Material(((240, 236, 225), (225, 200, 170)), 0.05),
    "frame": Material(((248, 246, 240), (110, 70, 50)), 0.04),
    "window": Material(((72, 112, 165), (105, 155, 205), (60, 90, 130)), 0.1),
    "awning": Material(((220, 60, 60), (60, 140, 90), (60, 90, 180), (240, 180, 60)), 0.1),
    "roof": Material(((168, 74, 60), (120, 70, 66), (96, 96, 110)), 0.08, 0.03),
    "leaf": Material(((64, 142, 48), (84, 160, 58), (50, 120, 52), (110, 165, 58)), 0.55, 0.05),
    "trunk": Material(((112, 76, 46), (98, 70, 52)), 0.1, 0.03),
    "metal": Material(((122, 128, 136), (92, 98, 106), (150, 155, 160)), 0.1),
    "lampglass": Material(((250, 245, 215),), 0.03),
    "housing": Material(((36, 38, 42), (235, 190, 50)), 0.1),
    "lamp": Material(((60, 55, 52),), 0.1),
    "red": Material(((255, 50, 40),), 0.03, 0.0, 1.0),
    "amber": Material(((255, 190, 30),), 0.03, 0.0, 1.0),
    "green": Material(((60, 255, 120),), 0.03, 0.0, 1.0),
    "sign_red": Material(((225, 30, 40),), 0.05),
    "sign_blue": Material(((30, 80, 200), (20, 120, 90)), 0.06),
    "sign_yellow": Material(((255, 210, 40),), 0.05),
    "sign_white": Material(((250, 250, 250),), 0.03),
    "glyph": Material(((30, 30, 34),), 0.1),
    "skin": Material(((240, 195, 160), (200, 145, 105), (140, 95, 70)), 0.08),
    "hair": Material(((60, 40, 28), (30, 26, 24), (200, 160, 90), (120, 70, 40)), 0.1),
    "helmet": Material(((240, 240, 240), (220, 60, 50), (50, 90, 200)), 0.1),
    "shirt": Material(
        ((225, 60, 60), (60, 100, 210), (245, 200, 60), (70, 170, 110), (240, 240, 240),
         (230, 120, 40), (150, 80, 180)), 0.1),
    "trousers": Material(((50, 70, 130), (70, 70, 76), (150, 120, 80), (40, 44, 60)), 0.12),
    "shoes": Material(((60, 45, 40), (230, 230, 230)), 0.1),
    "bag": Material(((150, 80, 40), (60, 60, 66), (190, 50, 90)), 0.1),
    "frame_bike": Material(((210, 40, 50), (40, 110, 200), (240, 240, 240), (40, 150, 80)), 0.1),
    "tyre": Material(((34, 34, 38),), 0.1),
    "spokes": Material(((150, 152, 158),), 0.08),
    "rim": Material(((188, 190, 196),), 0.08),
    "car": Material(
        ((210, 40, 45), (40, 90, 200), (240, 240, 242), (245, 200, 50), (60, 160, 100),
         (60, 62, 70), (170, 175, 182), (230, 120, 40)), 0.06),
    "glass": Material(((70, 92, 120), (90, 120, 150)), 0.1),
    "headlight": Material(((255, 250, 225),), 0.03),
    "taillight": Material(((215, 35, 40),), 0.05),
    "plate": Material(((245, 245, 235),), 0.03),
    "bus": Material(((235, 180, 40), (220, 60, 50), (60, 130, 200)), 0.06),
    "cab": Material(((220, 60, 50), (60, 100, 200), (240, 240, 240), (70, 150, 90)), 0.06),
    "cargo": Material(((242, 242, 240), (230, 210, 170), (90, 130, 190)), 0.05),
    "stripe": Material(((220, 70, 60), (60, 100, 190), (240, 190, 60)), 0.08),
}  # fmt: skip

CAMERA: dict[str, Material] = {
    "sky": Material(((196, 200, 204), (170, 182, 196), (210, 208, 204)), 0.08),
    "asphalt": Material(((94, 93, 93), (106, 104, 102), (84, 84, 86)), 0.1, 0.12),
    "patch": Material(((80, 80, 80), (114, 112, 108)), 0.1, 0.12),
    "marking": Material(((196, 194, 186), (172, 168, 158)), 0.12, 0.14),
    "pavement": Material(
        ((162, 148, 134), (146, 137, 129), (172, 154, 136), (160, 140, 128)), 0.09, 0.12),
    "kerb": Material(((150, 147, 140), (120, 118, 114)), 0.1, 0.12),
    "grass": Material(((94, 118, 58), (110, 124, 66), (128, 126, 76), (80, 108, 54)), 0.13, 0.24),
    "facade": Material(
        ((170, 142, 112), (156, 88, 70), (192, 170, 134), (112, 100, 94), (206, 190, 158),
         (146, 126, 118), (172, 118, 80), (156, 156, 160), (164, 100, 82)), 0.1, 0.09),
    "trim": Material(((160, 154, 144), (120, 112, 104)), 0.12, 0.1),
    "frame": Material(((172, 168, 160), (84, 74, 66), (120, 116, 112)), 0.15, 0.05),
    "window": Material(((48, 54, 60), (74, 80, 86), (138, 148, 156), (36, 38, 40)), 0.25, 0.04),
    "awning": Material(((128, 52, 48), (64, 84, 70), (70, 70, 78), (150, 128, 84)), 0.15, 0.08),
    "roof": Material(((108, 76, 66), (78, 72, 70), (92, 90, 92)), 0.12, 0.16),
    "leaf": Material(
        ((66, 94, 44), (84, 104, 52), (54, 84, 46), (76, 98, 44), (104, 110, 48), (128, 98, 44)),
        0.6, 0.26),
    "trunk": Material(((82, 70, 58), (62, 56, 50)), 0.15, 0.25),
    "metal": Material(((96, 98, 98), (66, 68, 68), (140, 142, 140), (58, 66, 58)), 0.15, 0.05),
    "lampglass": Material(((205, 202, 190),), 0.08),
    "housing": Material(((34, 34, 34), (46, 52, 46), (70, 68, 62)), 0.15),
    "lamp": Material(((48, 44, 42),), 0.1),
    "red": Material(((240, 70, 50),), 0.06, 0.0, 1.0),
    "amber": Material(((245, 180, 70),), 0.06, 0.0, 1.0),
    "green": Material(((110, 225, 180),), 0.06, 0.0, 1.0),
    "sign_red": Material(((172, 48, 48), (150, 64, 58)), 0.1, 0.04),
    "sign_blue": Material(((44, 74, 132), (40, 92, 80)), 0.12, 0.04),
    "sign_yellow": Material(((206, 168, 70),), 0.1, 0.04),
    "sign_white": Material(((214, 212, 206),), 0.08, 0.04),
    "glyph": Material(((44, 44, 44),), 0.1),
    "skin": Material(((196, 154, 130), (156, 112, 88), (96, 70, 58)), 0.12),
    "hair": Material(((44, 36, 30), (28, 26, 26), (120, 100, 76), (120, 118, 114)), 0.15, 0.1),
    "helmet": Material(((190, 190, 188), (60, 60, 64), (130, 50, 46)), 0.15),
    "shirt": Material(
        ((54, 56, 64), (36, 38, 42), (112, 108, 102), (92, 60, 54), (64, 76, 96), (150, 144, 134),
         (84, 88, 70), (134, 56, 52)), 0.2, 0.12),
    "trousers": Material(((48, 54, 70), (40, 40, 44), (94, 84, 70), (62, 66, 76)), 0.2, 0.1),
    "shoes": Material(((46, 42, 40), (150, 148, 144)), 0.15),
    "bag": Material(((84, 62, 46), (42, 42, 44), (96, 50, 54)), 0.15, 0.05),
    "frame_bike": Material(((60, 62, 66), (110, 50, 48), (52, 70, 100), (130, 130, 128)), 0.15),
    "tyre": Material(((30, 30, 30),), 0.15, 0.1),
    "spokes": Material(((92, 92, 92),), 0.12, 0.2),
    "rim": Material(((128, 128, 128), (84, 84, 86)), 0.15, 0.05),
    "car": Material(
        ((170, 172, 174), (206, 206, 204), (48, 50, 54), (74, 78, 84), (118, 122, 126),
         (54, 66, 92), (124, 48, 46), (28, 30, 32), (116, 104, 86)), 0.1, 0.04),
    "glass": Material(((44, 48, 52), (78, 84, 90), (116, 124, 130)), 0.2, 0.04),
    "headlight": Material(((214, 214, 208),), 0.08),
    "taillight": Material(((150, 40, 38),), 0.1),
    "plate": Material(((200, 200, 192),), 0.08),
    "bus": Material(((188, 160, 76), (150, 62, 52), (196, 196, 192), (70, 100, 130)), 0.1, 0.05),
    "cab": Material(((150, 62, 54), (66, 82, 116), (196, 196, 194), (96, 100, 100)), 0.1, 0.05),
    "cargo": Material(((190, 190, 186), (164, 154, 134), (110, 116, 120), (96, 84, 72)), 0.1, 0.07),
    "stripe": Material(((140, 64, 58), (70, 84, 116), (150, 132, 84)), 0.12, 0.05),
}  # fmt: skip


def paint(
    palette: dict[str, Material], names: list[str], tones: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Colour of every part.

    Args:
        palette: ``GAME`` or ``CAMERA``.
        names: material per part.
        tones: (N, 3) random numbers in [0, 1): which colour, how bright, which cast.

    Returns:
        colours (N, 3) float32 in 0..1, grain (N,) and glow (N,) float32.
    """
    colours = np.empty((len(names), 3), np.float32)
    grain = np.empty(len(names), np.float32)
    glow = np.empty(len(names), np.float32)
    for i, (name, (choice, bright, cast)) in enumerate(zip(names, tones.tolist(), strict=True)):
        material = palette[name]
        red, green, blue = material.colours[int(choice * len(material.colours))]
        gain = (1.0 + material.spread * (2 * bright - 1)) / 255.0
        warm = 0.25 * material.spread * (2 * cast - 1)
        colours[i] = red * gain * (1 + warm), green * gain, blue * gain * (1 - warm)
        grain[i], glow[i] = material.grain, material.glow
    return colours, grain, glow
