from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from seco.common.files import write_bytes
from seco.common.label_spaces import (
    ADE20K,
    CAMVID,
    CITYSCAPES,
    LABEL_SPACES,
    MEDICAL,
    POTSDAM,
    SYNTHIA,
    find_label_space,
)
from seco.common.labels import LabelSpace, distinct_palette


def test_class_and_thing_counts():
    counts = {key: (space.num_classes, len(space.things)) for key, space in LABEL_SPACES.items()}
    assert counts == {
        "cityscapes": (19, 11),
        "synthia": (16, 9),
        "camvid": (11, 5),
        "ade20k": (150, 100),
        "medical": (2, 1),
        "potsdam": (6, 2),
        "streets": (13, 7),
    }


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_ready_spaces_are_consistent(space):
    assert space.ignore_index == 255
    assert sorted(space.thing_ids + space.stuff_ids) == list(range(space.num_classes))
    assert [space.names[i] for i in space.thing_ids] == list(space.things)
    assert all(space.id_of(name) == i for i, name in enumerate(space.names))
    assert all(name == name.strip() and name for name in space.names)
    assert (0, 0, 0) not in space.colours, "black is the colour of ignored pixels"


def test_cityscapes_and_synthia_agree():
    assert CITYSCAPES.names[:3] == ("road", "sidewalk", "building")
    assert CITYSCAPES.thing_ids == (5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
    assert CITYSCAPES.colours[18] == (119, 11, 32)
    kept = [i for i, n in enumerate(CITYSCAPES.names) if n not in ("terrain", "truck", "train")]
    assert tuple(CITYSCAPES.names[i] for i in kept) == SYNTHIA.names
    assert tuple(CITYSCAPES.colours[i] for i in kept) == SYNTHIA.colours
    assert set(SYNTHIA.things) == set(CITYSCAPES.things) - {"truck", "train"}


def test_spot_checks_of_the_others():
    assert CAMVID.names[:5] == ("sky", "building", "pole", "road", "pavement")
    assert CAMVID.things == ("pole", "sign", "car", "pedestrian", "bicyclist")
    assert MEDICAL.stuff_ids == (0,)
    assert POTSDAM.things == ("building", "car")
    assert [ADE20K.names[i] for i in (0, 12, 20, 127, 149)] == [
        "wall",
        "person",
        "car",
        "bicycle",
        "flag",
    ]
    assert ADE20K.colours[0] == (120, 120, 120)
    assert ADE20K.colours[149] == (92, 0, 255)
    assert {"wall", "sky", "tree", "road", "house"}.isdisjoint(ADE20K.things)


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_json_round_trip(space, tmp_path):
    changed = replace(space, ignore_index=-1)
    assert LabelSpace.from_json(changed.to_json()) == changed
    write_bytes(tmp_path / "mine.JSON", changed.to_json().encode())
    found = find_label_space(tmp_path / "mine.JSON")
    assert found == changed
    assert hash(found) == hash(changed)


def test_own_spaces_are_found_by_name_or_path(tmp_path):
    assert find_label_space("ADE20K") is ADE20K
    for text, message in (
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object with names"),
        ('{"things": []}', "expected a JSON object with names"),
        ('{"names": ["a"], "colors": []}', r"got \['colors', 'names'\]"),
        ('{"names": ["a", "a"]}', "expected no name twice"),
        ('{"names": "road"}', "names: expected a sequence of strings"),
        ('{"names": 3}', "names: expected a sequence of strings"),
        ('{"names": [1]}', "names: expected a sequence of strings"),
        ('{"names": ["a"], "palette": [3]}', "palette: expected RGB triples"),
        ('{"names": ["a"], "palette": 3}', "palette: expected RGB triples"),
        ('{"names": ["a"], "ignore_index": "x"}', "ignore_index: expected an integer"),
    ):
        path = tmp_path / "mine.json"
        path.write_text(text)
        with pytest.raises((TypeError, ValueError), match=rf"mine\.json: .*{message}"):
            find_label_space(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"mine\.json"):
        find_label_space(path)
    with pytest.raises(ValueError, match=r"expected one of cityscapes, .*got kitti"):
        find_label_space("kitti")
    with pytest.raises(FileNotFoundError):
        find_label_space(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ()}, "names: expected at least one"),
        ({"names": ("a", "a")}, "names: expected no name twice"),
        ({"names": ("a",), "things": ("b",)}, "things: expected names out of"),
        ({"names": ("a", "b"), "ignore_index": 1}, "ignore_index: expected a value outside"),
        ({"names": ("a",), "palette": ()}, "palette: expected 1 colours, got 0"),
        ({"names": ("a",), "palette": ((0, 0, 256),)}, "palette: expected RGB triples"),
        ({"names": ("a",), "palette": ((0, 0),)}, "palette: expected RGB triples"),
    ],
)
def test_inconsistent_spaces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelSpace(**arguments)


def test_wrong_types_are_refused():
    for arguments in (
        {"names": "road"},
        {"names": ("a",), "things": "a"},
        {"names": ("a",), "ignore_index": 2.0},
        {"names": ("a",), "ignore_index": True},
        {"names": ("a",), "palette": ((0, 0, 0.5),)},
    ):
        with pytest.raises(TypeError, match=": expected"):
            LabelSpace(**arguments)


def test_a_space_is_a_value():
    space = LabelSpace(names=["a", "b"], things=["b"], palette=[[1, 2, 3], [4, 5, 6]])
    assert space == LabelSpace(("a", "b"), ("b",), ((1, 2, 3), (4, 5, 6)))
    assert len({space, LabelSpace(("a", "b"), ("b",), ((1, 2, 3), (4, 5, 6)))}) == 1
    with pytest.raises(FrozenInstanceError):
        space.ignore_index = 3
    with pytest.raises(ValueError, match="name: expected one of a, b, got 'c'"):
        space.id_of("c")


@pytest.mark.parametrize("ignore_index", [-1, 250, 255])
@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_colourise_against_a_loop(ignore_index, shape):
    space = replace(ADE20K, ignore_index=ignore_index)
    label = np.random.default_rng(0).integers(0, 150, shape).astype(np.int16)
    label.flat[::3] = ignore_index
    painted = space.colourise(label, ignore_colour=(1, 2, 3))
    assert painted.dtype == np.uint8
    for position in np.ndindex(shape):
        value = label[position]
        expected = (1, 2, 3) if value == ignore_index else space.colours[value]
        assert tuple(painted[position]) == expected
    assert json.loads(space.to_json())["ignore_index"] == ignore_index


def test_colourise_refuses_what_is_no_label():
    for label, error in (
        (np.array([[19]]), ValueError),
        (np.array([[0.0]]), TypeError),
        ([[0]], TypeError),
    ):
        with pytest.raises(error, match="label: expected"):
            CITYSCAPES.colourise(label)


def test_made_palettes_are_distinct():
    assert len(set(distinct_palette(255))) == 255
