"""The commands as a user calls them: files, folders, bad files, exit codes, what is written."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image

import seco
from seco import CITYSCAPES, PAPER, ProposalSettings, PSASettings, SCCSettings
from seco.cli import COMMANDS
from seco.cli.models import name_of_fitted, warn_of_tiny
from seco.cli.options import SamModel
from seco.common.files import read_confidence, read_label, write_label
from seco.common.settings_text import change_settings, list_settings
from seco.sam.tiny import PROPOSALS, build_tiny_sam

QUICK = ("--device", "cpu", "--set", "points_per_side=3")
NAMES = ("a/one", "a/two", "b/three")


def pair(seed: int, size: tuple[int, int] = (40, 64)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.full(size, 10, np.uint8)  # sky
    label[size[0] // 2 :] = 0  # road
    label[10:30, 12:40] = 13  # car
    image = np.array(CITYSCAPES.colours, np.uint8)[label]
    label[rng.random(size) < 0.2] = 255
    return image, label


@pytest.fixture
def work(tmp_path):
    """Three images in two formats, their labels and confidences, in subfolders."""
    for seed, name in enumerate(NAMES):
        image, label = pair(seed)
        for kind in ("images", "labels", "confidence"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        suffix = ".png" if seed else ".bmp"
        Image.fromarray(image).save(tmp_path / "images" / f"{name}{suffix}")
        write_label(tmp_path / "labels" / f"{name}.png", label, CITYSCAPES)
        confidence = np.linspace(0, 1, label.size, dtype=np.float32).reshape(label.shape)
        np.save(tmp_path / "confidence" / f"{name}.npy", confidence)
    return tmp_path


def refine(work: Path, *more: object):
    return run("refine", work / "images", work / "labels", work / "out", *QUICK, *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.*"))
        if path.is_file() and path.suffix not in (".json", ".jsonl")
    }


def test_folder_gives_one_palette_png_per_label(work):
    result = refine(work)
    assert result.exit_code == 0, result.output
    assert "3 refined, 0 skipped, 0 failed" in result.stdout
    assert re.search(
        r"(a second|an item); models computed \d+ % of the time, \d+ % went by", result.stdout
    )
    assert sorted(contents(work / "out")) == [f"{name}.png" for name in NAMES]
    for name in NAMES:
        before = read_label(work / "labels" / f"{name}.png")
        after = read_label(work / "out" / f"{name}.png")
        assert after.shape == before.shape
        assert set(np.unique(after)) <= set(np.unique(before))
        with Image.open(work / "out" / f"{name}.png") as file:
            assert file.mode == "P"
            assert tuple(file.getpalette()[:3]) == CITYSCAPES.colours[0]


def test_files_are_what_the_function_returns(work):
    assert refine(work, "--confidence", work / "confidence").exit_code == 0
    settings = PSASettings(proposals=replace(PROPOSALS, points_per_side=3))
    for seed, name in enumerate(NAMES):
        image, label = pair(seed)
        expected = seco.refine_pseudo_labels(
            image,
            label,
            seco.load_sam("tiny"),
            confidence=np.load(work / "confidence" / f"{name}.npy"),
            settings=settings,
        )
        assert (read_label(work / "out" / f"{name}.png") == expected).all()


def test_single_files(work):
    target = work / "new" / "refined.png"
    scores = work / "new" / "weights.png"
    arguments = (
        work / "images/a/two.png", work / "labels/a/two.png", target, *QUICK,
        "--confidence", work / "confidence/a/two.npy", "--save-scores", scores,
    )  # fmt: skip
    result = run("refine", *arguments)
    assert result.exit_code == 0, result.output
    assert read_label(target).shape == read_confidence(scores).shape == (40, 64)


def test_again_the_same_bytes(work):
    arguments = ("--save-scores", work / "weights", "--overwrite")
    assert refine(work, *arguments).exit_code == 0
    first = contents(work / "out") | contents(work / "weights")
    assert refine(work, *arguments).exit_code == 0
    assert contents(work / "out") | contents(work / "weights") == first


def test_finished_images_are_skipped_and_other_settings_refused(work):
    assert refine(work).exit_code == 0
    first = contents(work / "out")
    (work / "out/a/one.png").unlink()
    result = refine(work)
    assert result.exit_code == 0
    assert "1 refined, 2 skipped that were finished before (--overwrite" in result.stdout
    assert contents(work / "out") == first
    for more in (("--set", "stuff_share=0.3"), ("--outside", "keep"), ("--layout", "proda")):
        refused = refine(work, *more)
        assert refused.exit_code == 2
        assert "its outputs were made otherwise: settings." in refused.stderr
    assert contents(work / "out") == first
    result = refine(work, "--outside", "keep", "--overwrite")
    assert "3 refined, 0 skipped, 0 failed" in result.stdout
    assert not (read_label(work / "out/a/one.png") == 255).all()


def test_outputs_of_unknown_origin_are_refused(work):
    (work / "out/a").mkdir(parents=True)
    (work / "out/a/one.png").write_bytes(b"mine")
    result = refine(work)
    assert result.exit_code == 2
    assert "holds outputs such as" in result.stderr
    assert (work / "out/a/one.png").read_bytes() == b"mine"
    assert "3 refined" in refine(work, "--overwrite").stdout


def test_a_replaced_label_is_not_passed_over(work):
    assert refine(work).exit_code == 0
    write_label(work / "labels/a/one.png", np.full((40, 64), 10, np.uint8), CITYSCAPES)
    assert "1 refined, 2 skipped" in refine(work).stdout
    assert set(np.unique(read_label(work / "out/a/one.png"))) <= {10, 255}


def test_a_single_output_has_no_manifest_and_is_not_replaced_unasked(work):
    places = (work / "images/a/two.png", work / "labels/a/two.png", work / "new/out.png")
    assert run("refine", *places, *QUICK).exit_code == 0
    assert [path.name for path in (work / "new").iterdir()] == ["out.png"]
    again = run("refine", *places, *QUICK)
    assert again.exit_code == 2
    assert "out.png: exists already; --overwrite replaces it" in again.stderr
    assert run("refine", *places, *QUICK, "--overwrite").exit_code == 0
    places[1].write_bytes(b"")
    bad = run("refine", *places, *QUICK, "--overwrite")
    assert bad.exit_code == 1
    assert "failed: " in bad.stderr
    assert "expected a readable image" in bad.stderr


def test_scores_asked_for_later_are_other_settings(work):
    assert refine(work).exit_code == 0
    late = refine(work, "--save-scores", work / "weights")
    assert late.exit_code == 2
    assert "settings.layout is palette and scores as png, was palette" in late.stderr
    assert refine(work, "--save-scores", work / "weights", "--overwrite").exit_code == 0
    scores = read_confidence(work / "weights/a/one.png")
    assert (scores[read_label(work / "out/a/one.png") == 255] == 0).all()
    assert scores.max() > 0.5


def test_a_full_disk_has_an_exit_code_of_its_own(work, monkeypatch):
    for seed, name in enumerate(NAMES):
        regions = seco.Regions.from_label_map(torch.from_numpy(pair(seed)[1]).long() + 1)
        regions.save(work / "regions" / f"{name}.npz")
    vote = ("--sam", "none", "--regions", work / "regions")
    calls, real = count(), os.fsync

    def fsync(file: int) -> None:
        if next(calls) >= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr("os.fsync", fsync)
    full = run("refine", work / "images", work / "labels", work / "out", *vote)
    assert full.exit_code == 3
    assert "Stopped: [Errno 28] No space left on device" in full.stderr
    monkeypatch.undo()
    result = run("refine", work / "images", work / "labels", work / "out", *vote)
    assert result.exit_code == 0
    assert "skipped that were finished before" in result.stdout
    assert sorted(contents(work / "out")) == [f"{name}.png" for name in NAMES]


@pytest.mark.parametrize("encoder", ["sam", "small"])
def test_the_whole_chain_of_commands(work, encoder):
    """Regions once, refined by vote, fitted, corrected, all with what the one before wrote."""
    images = work / "images"
    assert "3 done" in run("regions", images, work / "regions", *QUICK).stdout
    vote = ("--sam", "none", "--regions", work / "regions", "--device", "cpu")
    refined = run(
        "refine", images, work / "labels", work / "out", *vote,
        "--save-scores", work / "weights", "--score-format", "npy", "--list-root", work,
    )  # fmt: skip
    assert "3 refined, 0 skipped, 0 failed" in refined.stdout, refined.stderr
    assert "Refining labels: 3 of 3 images, 00:" in refined.stderr
    pairs = (work / "out/labeled.txt").read_text().splitlines()
    assert pairs[0] == "images/a/one.bmp out/a/one.png"
    assert len(pairs) == 3
    assert (work / "out/unlabeled.txt").read_text() == ""
    fitted = run(
        "fit", images, work / "out", work / "corrector", "--encoder", encoder,
        "--set", "iterations=3", "--device", "cpu",
    )  # fmt: skip
    assert "1 fitted" in fitted.stdout, fitted.stderr
    passes = ("Checking files", "Counting regions", "Drawing neighbours", "Measuring losses")
    assert all(f"{name}: 3 of 3 images, 00:" in fitted.stderr for name in passes)
    assert "Training: step 3 of 3, loss " in fitted.stderr
    kind = json.loads((work / "corrector/corrector.json").read_text())["encoder"]["kind"]
    assert kind == {"sam": "segmenter", "small": "small"}[encoder]
    corrected = run(
        "correct", images, work / "out", work / "corrector", work / "corrected",
        "--confidence", work / "weights", "--layout", "proda", "--device", "cpu",
    )  # fmt: skip
    assert "3 corrected, 0 skipped, 0 failed" in corrected.stdout, corrected.stderr
    names = [f"{name}{end}" for name in NAMES for end in (".png", "_conf.npy")]
    assert sorted(contents(work / "corrected")) == names
    told = pytest.warns(UserWarning, match="was fitted to the connected components of labels")
    with told if encoder == "small" else nullcontext():
        at_once = run(
            "refine", images, work / "labels", work / "both", *vote,
            "--corrector", work / "corrector", "--list", work / "out/labeled.txt",
        )  # fmt: skip
    if encoder == "sam":
        assert at_once.exit_code == 2
        assert "--corrector was fitted with a SAM" in at_once.stderr
        return
    assert at_once.exit_code == 1  # the paths in the list are within another folder
    assert "0 refined, 0 skipped, 3 failed" in at_once.stdout


def test_labels_are_refined_and_corrected_at_once(work):
    images, labels = work / "images", work / "labels"
    keep = ("--outside", "keep", *QUICK)
    parts, corrector = work / "parts", work / "corrector"
    saved = ("--save-connectivities", parts)
    assert run("refine", images, labels, work / "psa", *keep, *saved).exit_code == 0
    given = ("--connectivities", parts, "--device", "cpu")
    fit = ("fit", images, work / "psa", corrector, "--set", "iterations=3")
    fitted = run(*fit, "--feature-memory", "0.5", *given)
    assert fitted.exit_code == 0, fitted.output
    small = run(*fit, "--feature-memory", "0.5", *given, "--encoder", "small")
    assert small.exit_code == 2
    assert (
        "--feature-memory: expected only with another --encoder than small, got 0.5" in small.stderr
    )
    both = run("refine", images, labels, work / "both", *keep, "--corrector", corrector)
    assert "3 refined, 0 skipped, 0 failed" in both.stdout, both.stderr
    after = run("correct", images, work / "psa", corrector, work / "after", *given)
    assert "3 corrected, 0 skipped, 0 failed" in after.stdout, after.stderr
    assert contents(work / "after") == contents(work / "both")
    inside = run("correct", images, work / "psa", corrector, parts / "in", *given)
    assert inside.exit_code == 2
    assert "expected a place apart" in inside.stderr
    single = (images / "a/two.png", labels / "a/two.png", work / "two.png")
    one = run("refine", *single, *QUICK, *saved)
    assert one.exit_code == 2
    assert "--save-connectivities: expected only with folders" in one.stderr


def test_a_sam_that_looks_at_windows_too(work):
    images, labels = work / "images", work / "labels"
    keep = ("--outside", "keep", *QUICK)
    parts, psa, corrector = work / "parts", work / "psa", work / "corrector"
    refined = run("refine", images, labels, psa, *keep, "--save-connectivities", parts)
    assert refined.exit_code == 0, refined.output
    given = ("--connectivities", parts, "--device", "cpu")
    fit = ("fit", images, psa, corrector, "--set", "iterations=3", *given, "--encoder")
    for name in ("sam-crops:0", "sam-crops:5", "sam-crops:", "sam-crops:01", "sam-crop"):
        wrong = run(*fit, name)
        assert wrong.exit_code == 2
        assert "--encoder: expected sam" in wrong.stderr
    fitted = run(*fit, "sam-crops")
    assert fitted.exit_code == 0, fitted.output
    said = json.loads((corrector / "corrector.json").read_text())["encoder"]
    assert said["crop_n_layers"] == "1"
    assert name_of_fitted(corrector, None) == "sam-crops:1"
    assert "features were not made for photographs" in fitted.stderr
    # What is known of it from the corrector need not be said again.
    both = run("refine", images, labels, work / "both", *keep, "--corrector", corrector)
    assert "3 refined, 0 skipped, 0 failed" in both.stdout, both.stderr
    after = run("correct", images, psa, corrector, work / "after", *given)
    assert "3 corrected, 0 skipped, 0 failed" in after.stdout, after.stderr
    assert contents(work / "after") == contents(work / "both")
    assert "features were not made for photographs" in both.stderr
    none = run("refine", images, labels, work / "none", "--sam", "none", "--regions", parts,
               "--corrector", corrector, "--device", "cpu")  # fmt: skip
    assert none.exit_code == 2
    assert "--corrector was fitted with a SAM" in none.stderr
    two = run("fit", images, psa, work / "two", "--set", "iterations=1", *given,
              "--encoder", "sam-crops:2")  # fmt: skip
    assert two.exit_code == 0, two.output
    assert name_of_fitted(work / "two", None) == "sam-crops:2"
    sam = seco.load_sam("tiny")
    with pytest.raises(ValueError, match=r"encoder: .* other crop_n_layers \(1, None\)"):
        seco.ConnectivityCorrector.load(corrector, encoder=sam)
    same = seco.SegmenterExtractor(sam, crop_n_layers=1)
    assert seco.ConnectivityCorrector.load(corrector, encoder=same).record.iterations == 3


def test_a_corrector_of_another_sam_or_of_ones_own_encoder(work):
    space = seco.CITYSCAPES
    samples = [pair(0, (40, 64))[:2]]
    settings = SCCSettings(iterations=1)
    other = seco.load_sam(build_tiny_sam())
    encoders = {"other": other, "own": torch.nn.Conv2d(3, 4, 3)}
    for name, encoder in encoders.items():
        corrector = seco.ConnectivityCorrector(space, encoder, settings=settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)
            corrector.fit(samples).save(work / name)
    said = {"other": "got one with other weights", "own": "fitted with an encoder of your own"}
    # The kind of encoder is in the JSON; tensors, which may be many, are read once, to be used.
    for path in work.glob("o*/*.safetensors"):
        path.rename(path.with_suffix(".away"))
    assert name_of_fitted(work / "other", None) == "sam"
    for path in work.glob("o*/*.away"):
        path.rename(path.with_suffix(".safetensors"))
    for name, message in said.items():
        result = run(
            "correct", work / "images", work / "labels", work / name, work / "o", "--device", "cpu"
        )
        assert result.exit_code == 2
        assert message in result.stderr


def test_an_image_where_sam_finds_nothing(work):
    nothing = ("--set", "pred_iou_thresh=9", "--set", "thing_iou_thresh=9")
    result = refine(work, *nothing, "--set", "rejected_things=drop")
    assert result.exit_code == 0, result.output
    assert (read_label(work / "out/a/one.png") == 255).all()


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
    assert "failed: a/two: pl: expected shape (41, 64) as img has, got (40, 64)" in errors
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
        ("images", "labels/a/one.png", "out", "expected a folder as"),
        ("images/a/two.png", "labels", "out.png", "expected a file as"),
        ("images/a/two.png", "labels/a/two.png", "labels/a/two.png", "a place apart from"),
        ("images/a/two.png", "labels/a/two.png", "out.tif", "expected a file name ending in .png"),
        ("images/a/two.png", "labels/a/two.png", "confidence", "expected a file as"),
        ("images", "nowhere", "out", "no such file or folder"),
    ],
)
def test_places_that_cannot_work_are_refused(work, image, label, out, message):
    before = contents(work)
    result = run("refine", work / image, work / label, work / out, *QUICK)
    assert result.exit_code == 2
    assert message in result.stderr
    assert contents(work) == before


@pytest.fixture
def calls(monkeypatch):
    """The keyword arguments of every call of the function that the command wraps."""
    seen = []
    original = seco.refine_with_details

    def spy(*args, **kwargs):
        seen.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr("seco.folder.refine.refine_with_details", spy)
    return seen


def test_paper_and_method_and_set_reach_the_method(work, calls):
    result = refine(
        work, "--paper", "--method", "alignment", "--set", "method=alignment",
        "--set", "box_enlargement=2", "--outside", "keep",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = replace(
        PAPER,
        method="alignment",
        box_enlargement=2.0,
        images_per_batch=1,  # of a job, whatever the default
        proposals=replace(PROPOSALS, points_per_side=3),
    )
    assert [call["settings"] for call in calls] == [expected] * 3
    assert calls[0]["outside"] == "keep"
    assert calls[0]["confidence"] is None


@pytest.mark.parametrize(
    ("more", "fraction", "threshold"),
    [
        ((), 0.5, None),
        (("--keep-fraction", "0.3"), 0.3, None),
        (("--confidence-threshold", "0.25"), 0.5, 0.25),
    ],
)
def test_selection_reaches_the_method(work, calls, more, fraction, threshold):
    assert refine(work, "--confidence", work / "confidence", *more).exit_code == 0
    assert calls[0]["keep_fraction"] == fraction
    assert calls[0]["confidence_threshold"] == threshold
    assert calls[0]["outside"] == "ignore"
    assert calls[0]["settings"].method == "psa"


@pytest.mark.parametrize("command", ["regions", "refine", "fit", "run"])
def test_the_example_in_the_help_is_taken(command):
    """What --help says of --set and --sam is so."""
    said = " ".join(run(command, "--help").stdout.split())
    name, value = re.search(r"such as --set (\w+)=([\d.]+)", said).groups()
    usual = {"regions": ProposalSettings(), "fit": SCCSettings()}.get(command, PSASettings())
    assert change_settings(usual, [f"{name}={value}"]) != usual
    assert ("none needs --regions" in said) == (command == "refine")
    assert ("|none" in said) == (command == "refine")


def test_the_tiny_model_is_warned_of(work, capsys):
    said = refine(work).stderr
    assert "tiny SAM is for demos and tests; for work" in said
    fitted = ("fit", work / "images", work / "labels", work / "corrector", "--device", "cpu",
              "--set", "iterations=1")  # fmt: skip
    assert "features were not made for photographs" in run(*fitted).stderr
    small = ("--encoder", "small", "--overwrite")
    assert "tiny SAM" not in run(*fitted, *small).stderr
    warn_of_tiny(SamModel.tiny, first=False)
    warn_of_tiny(SamModel.vit_h, first=True)
    assert capsys.readouterr().err == ""


def test_every_setting_can_be_set_and_is_explained():
    names = {field.name for owner in (PSASettings, ProposalSettings) for field in fields(owner)}
    names -= {"proposals", "images_per_batch"}
    page = list_settings(PSASettings(), PAPER, ["images_per_batch"]).split("\n")
    assert {line.split(" = ")[0] for line in page if not line.startswith(" ")} == names
    for name in names:
        start = next(i for i, line in enumerate(page) if line.startswith(f"{name} = "))
        assert page[start + 1].startswith("    expected: ")
        assert page[start + 2].startswith("    "), f"{name} has no meaning"
        value = page[start].split(" = ")[1].split()[0]
        changed = change_settings(PSASettings(), [f"{name}={value}"])
        assert changed.proposals in (None, ProposalSettings())
        assert replace(changed, proposals=None) == PSASettings()
    assert run("refine", "--list-settings").stdout.rstrip("\n") == "\n".join(page)


@pytest.mark.parametrize("command", ["refine", "run"])
def test_a_setting_that_means_nothing_in_commands_is_refused(work, command):
    folders = (work / "images", work / "labels", work / "out")
    result = run(command, *folders, "--device", "cpu", "--set", "images_per_batch=2")
    assert result.exit_code == 2
    assert "--set images_per_batch: expected no such setting" in result.stderr


@pytest.mark.parametrize(
    ("command", "default"), [("fit", SCCSettings()), ("regions", ProposalSettings())]
)
def test_settings_of_other_commands_can_be_set_and_are_explained(command, default):
    page = run(command, "--list-settings").stdout.rstrip("\n").split("\n")
    names = [line.split(" = ")[0] for line in page if not line.startswith(" ")]
    assert names == [field.name for field in fields(default)]
    for name in names:
        start = next(i for i, line in enumerate(page) if line.startswith(f"{name} = "))
        assert page[start + 2].startswith("    "), f"{name} has no meaning"
        own = page[start].split("  (--paper")[0].replace(" ", "")
        assert change_settings(default, [own]) == default


def test_optional_numbers_are_set_and_unset():
    changed = change_settings(SCCSettings(), ["iterations=7"])
    assert changed.iterations == 7
    assert change_settings(changed, ["iterations=none"]) == SCCSettings()
    with pytest.raises(ValueError, match="iterations: expected an integer or none, got 'many'"):
        change_settings(changed, ["iterations=many"])


def test_version_and_help():
    assert run("--version").stdout == f"seco {seco.__version__}\n"
    assert "refine" in run("--help").stdout
    assert "--overwrite" in run("refine", "--help").stdout
    assert run("refine").exit_code == 2


def test_the_examples_of_the_help_are_right():
    for command, _, examples in COMMANDS:
        shown = " ".join(run(command.__name__, "--help").stdout.split())
        for example in examples.split("\n\n"):
            assert example in shown
            # "--help" ends what has been understood
            assert run(*example.split()[1:], "--help").exit_code == 0


@pytest.mark.parametrize("name", ["seco", "sgg"])
def test_entry_points_are_installed(name):
    command = Path(sys.executable).with_name(name)
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{name} {seco.__version__}\n"
    assert shown.stderr == ""


def test_the_real_command_refines_a_folder_and_fails_with_1(work):
    (work / "images/a/two.png").write_bytes(b"")
    shown = subprocess.run(
        [Path(sys.executable).with_name("seco"), "refine", "images", "labels", "out", *QUICK],
        cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 1, shown.stderr
    assert "failed: a/two: images/a/two.png: expected a readable image" in shown.stderr
    assert "2 refined, 0 skipped, 1 failed; results in out" in shown.stdout
    assert sorted(contents(work / "out")) == ["a/one.png", "b/three.png"]
