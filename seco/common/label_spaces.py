"""Ready label spaces of the data sets that are used most, and how to name one on a command line."""

from __future__ import annotations

import os
from pathlib import Path

from seco.common.labels import LabelSpace


def _space(table: str) -> LabelSpace:
    """Read ``name rrggbb, name rrggbb*, ...``: colours in hex, ``*`` marks the things."""
    names, things, palette = [], [], []
    for entry in table.split(","):
        name, colour = entry.strip().rstrip("*").rsplit(" ", 1)
        red, green, blue = bytes.fromhex(colour)
        names.append(name)
        palette.append((red, green, blue))
        if entry.strip().endswith("*"):
            things.append(name)
    return LabelSpace(names=tuple(names), things=tuple(things), palette=tuple(palette))


CITYSCAPES = _space("""
    road 804080, sidewalk f423e8, building 464646, wall 66669c, fence be9999, pole 999999*,
    traffic light faaa1e*, traffic sign dcdc00*, vegetation 6b8e23, terrain 98fb98, sky 4682b4,
    person dc143c*, rider ff0000*, car 00008e*, truck 000046*, bus 003c64*, train 005064*,
    motorcycle 0000e6*, bicycle 770b20*
""")
"""Cityscapes' 19 evaluated classes as train ids, official colours; also GTA5, BDD100K, ACDC, ...

Things as in the SeCo paper: unlike in Cityscapes' instance task, poles, traffic lights and traffic
signs are among them.
"""

SYNTHIA = _space("""
    road 804080, sidewalk f423e8, building 464646, wall 66669c, fence be9999, pole 999999*,
    traffic light faaa1e*, traffic sign dcdc00*, vegetation 6b8e23, sky 4682b4, person dc143c*,
    rider ff0000*, car 00008e*, bus 003c64*, motorcycle 0000e6*, bicycle 770b20*
""")
"""The 16 Cityscapes classes that SYNTHIA has, numbered 0..15 without gaps.

For labels in that numbering only (as in AdvEnt). DAFormer, HRDA, MIC and others keep the 19
Cityscapes train ids for SYNTHIA as well and never use three of them: pass ``CITYSCAPES`` there.
"""

CAMVID = _space("""
    sky 808080, building 800000, pole c0c080*, road 804080, pavement 0000c0, tree 808000,
    sign c08080*, fence 404080, car 400080*, pedestrian 404000*, bicyclist 0080c0*
""")
"""The 11 classes of CamVid in the order of the SegNet split, colours of the full CamVid palette."""

ADE20K = _space("""
    wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850,
    road 8c8c8c, bed cc05ff*, windowpane e6e6e6*, grass 04fa07, cabinet e005ff*,
    sidewalk ebff07, person 96053d*, earth 787846, door 08ff33*, table ff0652*, mountain 8fff8c,
    plant ccff04, curtain ff3307*, chair cc4603*, car 0066c8*, water 3de6fa, painting ff0633*,
    sofa 0b66ff*, shelf ff0747*, house ff09e0, sea 0907e6, mirror dcdcdc*, rug ff095c,
    field 7009ff, armchair 08ffd6*, seat 07ffe0*, fence ffb806*, desk 0aff47*, rock ff290a,
    wardrobe 07ffff*, lamp e0ff08*, bathtub 6608ff*, railing ff3d06*, cushion ffc207*,
    base ff7a08, box 00ff14*, column ff0829*, signboard ff0599*, chest of drawers 0633ff*,
    counter eb0cff*, sand a09614, sink 00a3ff*, skyscraper 8c8c8c, fireplace fa0a0f*,
    refrigerator 14ff00*, grandstand 1fff00, path ff1f00, stairs ffe000*, runway 99ff00,
    case 0000ff*, pool table ff4700*, pillow 00ebff*, screen door 00adff*, stairway 1f00ff,
    river 0bc8c8, bridge ff5200, bookcase 00fff5*, blind 003dff, coffee table 00ff70*,
    toilet 00ff85*, flower ff0000*, book ffa300*, hill ff6600, bench c2ff00*,
    countertop 008fff*, stove 33ff00*, palm 0052ff*, kitchen island 00ff29*, computer 00ffad*,
    swivel chair 0a00ff*, boat adff00*, bar 00ff99, arcade machine ff5c00*, hovel ff00ff,
    bus ff00f5*, towel ff0066*, light ffad00*, truck ff0014*, tower ffb8b8, chandelier 001fff*,
    awning 00ff3d*, streetlight 0047ff*, booth ff00cc*, television receiver 00ffc2*,
    airplane 00ff52*, dirt track 000aff, apparel 0070ff*, pole 3300ff*, land 00c2ff,
    bannister 007aff*, escalator 00ffa3, ottoman ff9900*, bottle 00ff0a*, buffet ff7000,
    poster 8fff00, stage 5200ff, van a3ff00*, ship ffeb00*, fountain 08b8aa*,
    conveyer belt 8500ff, canopy 00ff5c, washer b800ff*, plaything ff001f*,
    swimming pool 00b8ff, stool 00d6ff*, barrel ff0070*, basket 5cff00*, waterfall 00e0ff,
    tent 70e0ff, bag 46b8a0*, minibike a300ff*, cradle 9900ff, oven 47ff00*, ball ff00a3*,
    food ffcc00*, step ff008f*, tank 00ffeb, trade name 85ff00*, microwave ff00eb*, pot f500ff*,
    animal ff007a*, bicycle fff500*, lake 0abed4, dishwasher d6ff00*, screen 00ccff*,
    blanket 1400ff, sculpture ffff00*, hood 0099ff*, sconce 0029ff*, vase 00ffcc*,
    traffic light 2900ff*, tray 29ff00*, ashcan ad00ff*, fan 00f5ff*, pier 4700ff,
    crt screen 7a00ff, plate 00ffb8*, monitor 005cff*, bulletin board b8ff00*, shower 0085ff,
    radiator ffd600*, glass 19c2c2*, clock 66ff00*, flag 5c00ff*
""")
"""The 150 classes of the ADE20K scene parsing benchmark; things are the 100 of its panoptic task.

Ids 0..149. The benchmark's files hold 1..150 with 0 for unlabelled: subtract 1 and set unlabelled
to the ignore index first.
"""

MEDICAL = _space("""
    background 464646, instrument 00c8c8*
""")
"""Two classes for surgical scenes (Endovis and the like): background, and instruments as things.

The SeCo paper counts all classes of Endovis as things. Background is stuff here: it surrounds the
instruments, so its box is the image and its centre may lie on an instrument. To follow the paper
literally, ``dataclasses.replace(MEDICAL, things=MEDICAL.names)``.
"""

POTSDAM = _space("""
    impervious surface ffffff, building 0000ff*, low vegetation 00ffff, tree 00ff00,
    car ffff00*, clutter ff0000
""")
"""The 6 classes of ISPRS Potsdam and Vaihingen, official colours; buildings and cars are things."""

STREETS = _space("""
    road 804080, sidewalk f423e8, building 464646, vegetation 6b8e23, terrain 98fb98, sky 4682b4,
    pole 999999*, traffic light faaa1e*, traffic sign dcdc00*, person dc143c*, bicycle 770b20*,
    car 00008e*, truck 003c64*
""")
"""The 13 classes of the generated street scenes that the bundled models know.

``truck`` includes buses, ``person`` includes cyclists.
"""

LABEL_SPACES = {
    "cityscapes": CITYSCAPES,
    "synthia": SYNTHIA,
    "camvid": CAMVID,
    "ade20k": ADE20K,
    "medical": MEDICAL,
    "potsdam": POTSDAM,
    "streets": STREETS,
}
"""The ready label spaces by the names that :func:`find_label_space` knows."""


def find_label_space(name_or_path: str | os.PathLike[str]) -> LabelSpace:
    """Return the label space that a user names, for command lines.

    Args:
        name_or_path: the name of a ready one, in any case, or the path of a ``.json`` file with
            an object that :meth:`LabelSpace.from_json` takes.

    Raises:
        OSError: the file cannot be opened.
        TypeError, ValueError: an unknown name, or a file that describes no label space.

    Example:
        >>> find_label_space("Cityscapes").num_classes
        19
        >>> find_label_space("pascal")
        Traceback (most recent call last):
            ...
        ValueError: label space: expected one of cityscapes, synthia, camvid, ade20k, medical, \
potsdam, streets or the path of a .json file, got pascal
    """
    text = str(name_or_path)
    if text.lower() in LABEL_SPACES:
        return LABEL_SPACES[text.lower()]
    if not text.lower().endswith(".json"):
        raise ValueError(
            f"label space: expected one of {', '.join(LABEL_SPACES)} or the path of a .json file, "
            f"got {text}"
        )
    try:
        return LabelSpace.from_json(Path(text).read_text(encoding="utf-8"))
    except TypeError as error:
        raise TypeError(f"{text}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
