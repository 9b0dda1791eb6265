"""Bad files, bad places and options that cannot work, with their exit codes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from commands import run
from PIL import Image
from seco_command import QUICK, contents, pair, refine

from seco.common.files import read_label


def test_bad_files_are_reported_and_the_rest_goes_on(work):
    data = (work / "labels/a/one.png").read_bytes()
    (work / "labels/a/one.png").write_bytes(data[: len(data) // 2])
    Image.fromarray(pair(0, (41, 64))[0]).save(work / "images/a/two.png")
    (work / "images/lonely.png").write_bytes((work / "images/b/three.png").read_bytes())
    shutil.copy(work / "labels/b/three.png", work / "labels/b/orphan.png")
    (work / "images/twice.jpg").write_bytes(b"")
    (work / "images/twice.png").write_bytes(b"")
    (work / "labels/twice.png").write_bytes(b"")
    (work / "labels/strange.png").write_bytes(b"no picture")
    (work / "images/strange.png").write_bytes(b"no picture")
    result = refine(work)
    assert result.exit_code == 1
    assert "1 refined, 0 skipped, 6 failed" in result.stdout
    errors = result.stderr
    assert f"failed: a/one: {work / 'labels/a/one.png'}: expected a readable image" in errors
    assert (
        f"failed: a/two: {work / 'labels/a/two.png'}: expected the size (41, 64) of "
        f"{work / 'images/a/two.png'}, got (40, 64)" in errors
    )
    assert "failed: lonely: no label of that name" in errors
    assert "failed: b/orphan: no image of that name" in errors
    assert "failed: twice: more than one image of that name" in errors
    assert "failed: strange:" in errors
    assert list(contents(work / "out")) == ["b/three.png"]


@pytest.mark.parametrize("value", [19, 254])
def test_a_class_outside_the_space_fails_that_file(work, value):
    label = read_label(work / "labels/a/one.png")
    label[0, 0] = value
    Image.fromarray(label).save(work / "labels/a/one.png")
    result = refine(work)
    assert result.exit_code == 1
    assert (
        f"failed: a/one: label: expected class ids 0..18 or ignore_index 255, got {value}; are "
        "these raw ids? Labels must be ids of the label space: train ids, such as" in result.stderr
    )


def test_missing_or_bad_confidence_fails_that_file(work):
    (work / "confidence/a/one.npy").unlink()
    np.save(work / "confidence/a/two.npy", np.full((40, 64), np.nan, np.float32))
    result = refine(work, "--confidence", work / "confidence")
    assert result.exit_code == 1
    assert "failed: a/one: no confidence of that name" in result.stderr
    assert "failed: a/two:" in result.stderr
    assert list(contents(work / "out")) == ["b/three.png"]


def test_label_space_from_a_file(work):
    given = {"names": ["road", "sky", "car"], "things": ["car"], "palette": [[9, 8, 7]] * 3}
    (work / "space.json").write_text(json.dumps(given))
    for path in (work / "labels").rglob("*.png"):
        label = read_label(path)
        small = np.select([label == 0, label == 10, label == 13], [0, 1, 2], 255)
        Image.fromarray(small.astype(np.uint8)).save(path)
    result = refine(work, "--label-space", work / "space.json")
    assert result.exit_code == 0, result.output
    with Image.open(work / "out/a/one.png") as file:
        assert file.getpalette()[:3] == [9, 8, 7]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--label-space", "pascal"), "label space: expected one of cityscapes"),
        (("--set", "stuff_share=2"), "stuff_share: expected a number in [0, 1), got 2.0"),
        (("--set", "points=2"), "settings: expected one of method, connectivity"),
        (
            ("--method", "alignment", "--set", "method=prompts"),
            "--method alignment and --set method=prompts contradict each other",
        ),
        (("--set", "stuff_share"), "settings: expected name=value, got 'stuff_share'"),
        (("--set", "points_per_side=3"), "expected every name once, got 'points_per_side' twice"),
        (("--checkpoint", "x.pth"), "checkpoint: expected None with 'tiny'"),
        (("--sam", "vit_b", "--checkpoint", "no/such.pth"), "no/such.pth"),
        (("--device", "abacus"), "abacus"),
        (("--keep-fraction", "0.3"), "need --confidence"),
        (("--confidence", "{confidence}", "--keep-fraction", "0"), "--keep-fraction: expected"),
        (("--confidence", "{missing}"), "no such file or folder"),
        (("--regions", "{missing}", "--sam", "none"), "missing: no such folder"),
        (("--corrector", "{missing}"), "missing: no such folder"),
        (("--save-scores", "{labels}/weights"), "expected a place apart from"),
        (("--save-scores", "{out}"), "expected a place apart from"),
        (
            ("--confidence", "{confidence}", "--keep-fraction", "0.3", "--confidence-threshold", 1),
            "exclude each other",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(work, more, message):
    places = {name: work / name for name in ("confidence", "missing", "labels", "out")}
    result = refine(work, *(str(value).format(**places) for value in more))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (work / "out").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--match", "name"), ("--match", "path"), ("--image-suffix", "_leftImg8bit"),
        ("--label-suffix", "_pred"), ("--confidence-suffix", "_prob"),
    ],
)  # fmt: skip
def test_options_of_folders_are_refused_with_single_files(work, option):
    places = (work / "images/a/two.png", work / "labels/a/two.png", work / "out.png")
    result = run("refine", *places, *QUICK, *option)
    assert result.exit_code == 2
    assert f"{option[0]}: expected only with folders, got {option[1]}" in result.stderr
    assert not places[2].exists()


@pytest.mark.parametrize(
    ("image", "label", "out", "message"),
    [
        ("images", "labels", "labels", "expected a place apart from"),
        ("images", "labels", "images/new", "expected a place apart from"),
        ("images", "labels/a/one.png", "out", "is one, got a file"),
        ("images/a/two.png", "labels", "out.png", "is one, got a folder"),
        ("images/a/two.png", "labels/a/two.png", "labels/a/two.png", "a place apart from"),
        ("images/a/two.png", "labels/a/two.png", "out.tif", "expected a file name ending in .png"),
        ("images/a/two.png", "labels/a/two.png", "confidence", "is one, got a folder"),
        ("images", "nowhere", "out", "no such file or folder"),
    ],
)
def test_places_that_cannot_work_are_refused(work, image, label, out, message):
    before = contents(work)
    result = run("refine", work / image, work / label, work / out, *QUICK)
    assert result.exit_code == 2
    assert message in result.stderr
    assert contents(work) == before
