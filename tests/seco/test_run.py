"""``seco run``: the whole chain on generated streets, offline, and what its report says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image

import seco
import seco.correction.extractors
import seco.report.chain
import seco.report.kept
from seco import NoNoiseFoundWarning, SCCSettings
from seco.common.confusion import Confusion, confusion
from seco.common.files import read_confidence, read_image, read_label, write_label
from seco.common.inputs import Inputs
from seco.demo import STREETS, street_scene
from seco.demo.segmenter import load_segmenter, predict
from seco.folder import first_look
from seco.folder.connectivities import read_connectivities
from seco.sam.tiny import PROPOSALS
from seco.settings import PSASettings

NAMES = ("one", "two & 'three'", 'a/<b>four</b> "five"', "six", "a/seven", "eight")
WITHOUT_TRUTH = "six"
QUICK = ("--set", "points_per_side=4", "--set-scc", "iterations=4", "--set-scc", "batch_size=8",
         "--device", "cpu", "--outside", "keep")  # fmt: skip
LABEL_FOLDERS = ("psa", "psa_scores", "labels", "scores")


def call(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        return run(*arguments)


def arguments(data, out, *more):
    return (
        "run", data / "images", data / "labels", out, "--truth", data / "truth",
        "--confidence", data / "confidence", "--label-space", data / "streets.json", *QUICK, *more,
    )  # fmt: skip


def contents(folder):
    """What a run made, without times and places."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in LABEL_FOLDERS
        for path in sorted((folder / part).rglob("*.png"))
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six scenes as a segmenter from another domain labels them; one has no truth."""
    folder = tmp_path_factory.mktemp("streets & <data>")
    segmenter = load_segmenter()
    for seed, name in enumerate(NAMES):
        scene = street_scene(90_100 + seed, size=(64, 128))
        label, confidence = predict(segmenter, scene.image[None])
        for kind in ("images", "labels", "truth", "confidence"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(folder / "images" / f"{name}.png")
        write_label(folder / "labels" / f"{name}.png", label[0], STREETS)
        grey = np.rint(confidence[0] * 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "confidence" / f"{name}.png")
        if name != WITHOUT_TRUTH:
            write_label(folder / "truth" / f"{name}.png", scene.label, STREETS)
    (folder / "streets.json").write_text(STREETS.to_json())
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "chain"
    result = call(*arguments(data, out))
    assert result.exit_code == 0, result.output
    return out, result


@pytest.fixture
def again(data, done, tmp_path):
    """A copy of the data and of what was made of it, to spoil."""
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(done[0], tmp_path / "out")
    return tmp_path / "data", tmp_path / "out"


def test_it_says_where_to_look(done):
    out, result = done
    assert "6 images done, 0 failed" in result.stdout
    assert f"Labels: {out / 'labels'}" in result.stdout
    assert f"Report: {out / 'report.html'}" in result.stdout
    assert (out / "report.html").stat().st_size < 2e6
    for part in LABEL_FOLDERS:
        found = {str(path.relative_to(out / part).with_suffix("")) for path in
                 (out / part).rglob("*.png")}  # fmt: skip
        assert found == set(NAMES)


def test_it_is_the_functions_one_after_the_other(data, done):
    out = done[0]
    sam = seco.load_sam("tiny")
    settings = PSASettings(proposals=replace(PROPOSALS, points_per_side=4))
    refined = {}
    for name in NAMES:
        found = seco.refine_with_details(
            read_image(data / "images" / f"{name}.png"),
            read_label(data / "labels" / f"{name}.png"),
            sam,
            label_space=STREETS,
            confidence=read_confidence(data / "confidence" / f"{name}.png"),
            outside="keep",
            settings=settings,
        )
        refined[name] = found.labels[0].numpy(), found.connectivities[0]
        stored = read_label(out / "psa" / f"{name}.png")
        np.testing.assert_array_equal(stored, refined[name][0])
    corrector = seco.ConnectivityCorrector.load(out / "corrector", encoder=sam)
    assert corrector.settings == SCCSettings(iterations=4, batch_size=8)
    assert corrector.record.confident
    # What was fitted to: all that refining told apart, and the components of the rest.
    areas = []
    for label, known in refined.values():
        rest = torch.where(known.ids == 0, torch.from_numpy(label.astype(np.int64)), 255)
        components = seco.connected_components(rest.numpy()).areas
        areas += [*torch.bincount(known.ids.flatten(), minlength=len(known) + 1)[1:], *components]
    assert sorted(corrector.record.areas.tolist()) == sorted(
        int(area) for area in areas if area >= corrector.settings.min_area
    )
    for name in NAMES:
        image = read_image(data / "images" / f"{name}.png")
        label, known = refined[name]
        sure = read_confidence(out / "psa_scores" / f"{name}.png")
        found = corrector.correct(image, label, connectivities=known, confidence=sure)
        np.testing.assert_array_equal(read_label(out / "labels" / f"{name}.png"), found)


def test_the_report_measures_every_step(data, done):
    said = json.loads((done[0] / "report.json").read_text())
    assert said["images"] == 6
    assert said["with_truth"] == 5
    assert list(said["steps"]) == ["raw", "selection", "PSA", "SCC"]
    folders = {"raw": data / "labels", "PSA": done[0] / "psa", "SCC": done[0] / "labels"}
    for step in said["steps"]:
        pooled = Confusion.zero(STREETS)
        for name in NAMES:
            if name == WITHOUT_TRUTH:
                continue
            if step == "selection":
                label = seco.select_confident(
                    torch.from_numpy(read_label(data / "labels" / f"{name}.png")),
                    torch.from_numpy(read_confidence(data / "confidence" / f"{name}.png")),
                )
            else:
                label = read_label(folders[step] / f"{name}.png")
            pooled += confusion(label, read_label(data / "truth" / f"{name}.png"), STREETS)
        assert said["steps"][step]["mean_iou"] == pytest.approx(pooled.mean_iou, abs=1e-6)
        assert said["steps"][step]["coverage"] == pytest.approx(pooled.coverage, abs=1e-6)
    regions = sum(said["regions"].values())
    corrector = seco.ConnectivityCorrector.load(
        done[0] / "corrector", encoder=seco.load_sam("tiny")
    )
    judged = [
        corrector.correct_with_details(
            read_image(data / "images" / f"{name}.png"),
            read_label(done[0] / "psa" / f"{name}.png"),
            connectivities=read_connectivities(done[0] / "psa_connectivities" / f"{name}.npz"),
            confidence=read_confidence(done[0] / "psa_scores" / f"{name}.png"),
        ).judgements[0]
        for name in NAMES
    ]
    assert regions == sum(len(one.connectivities) for one in judged)
    with_truth = [len(one.connectivities) for one, name in zip(judged, NAMES, strict=True)
                  if name != WITHOUT_TRUTH]  # fmt: skip
    assert said["connectivities"]["count"] == sum(with_truth)  # the truth of streets is dense


def test_the_page_is_about_this_run(done):
    page = (done[0] / "report.html").read_text("utf-8")
    text = re.sub(r"<[^>]*>", " ", page)
    assert "<b>four</b>" not in page
    assert page.count('<h3 class="name">') == 6
    assert "two &amp; &#39;three&#39;" in page
    assert "points_per_side" in text
    # What the user chose differs from the defaults and is bold.
    for value in ("4", "8", "keep"):
        assert f"<b>{value}</b>" in page
    assert "training steps of the corrector" in text


def test_a_second_run_does_nothing_anew(data, done, monkeypatch):
    """Not even its report: nothing is measured, judged or drawn."""
    out = done[0]

    def never(*args, **options):
        raise AssertionError("done before")

    hashed = []
    counting = SimpleNamespace(sha256=lambda: hashed.append(1) or hashlib.sha256())
    monkeypatch.setitem(seco.correction.extractors.fingerprint.__globals__, "hashlib", counting)
    monkeypatch.setattr(seco.report.chain, "summarise", never)
    monkeypatch.setattr(seco.report.chain, "_judge", never)
    monkeypatch.setattr(seco.report.kept, "write_report", never)
    files = [path for part in (*LABEL_FOLDERS, "regions", "corrector", "measures")
             for path in (out / part).rglob("*") if path.is_file() and ".job" not in path.parts
             and path.name not in ("summary.json", "manifest.json")]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in files}
    before |= {path: path.stat().st_mtime_ns for path in (out / "report.html", out / "report.json")}
    result = call(*arguments(data, out))
    assert result.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(hashed) == 1  # the weights of a large SAM take seconds
    log = "5/5 Writing the report: 6 of 6 images, 6 finished before, 00:00 passed"
    assert log in result.stderr.splitlines()


def numbers(out):
    """What a report says, without the hashes that depend on places."""
    said = json.loads((out / "report.json").read_text())
    return {name: value for name, value in said.items() if name not in ("made_of", "page")}


def test_what_has_changed_is_measured_again_and_nothing_else(again, monkeypatch):
    data, out = again
    measured = []
    real = seco.report.chain.summarise

    def watched(item, *args, **options):
        measured.append(item.name)
        return real(item, *args, **options)

    monkeypatch.setattr(seco.report.chain, "summarise", watched)

    def run(*more):
        measured.clear()
        result = call(*arguments(data, out, *more))
        return result.exit_code, sorted(measured), numbers(out)

    # The truth of one more image, then one that is none, told at every run.
    first, truth = numbers(out), data / f"truth/{WITHOUT_TRUTH}.png"
    shutil.copy(data / "truth/one.png", truth)
    code, names, said = run()
    assert (code, names, said["with_truth"]) == (0, [WITHOUT_TRUTH], 6)
    assert said["steps"] != first["steps"]
    truth.write_bytes(b"no image")
    for expected in ([WITHOUT_TRUTH], []):
        code, names, said = run()
        assert (code, names, said["with_truth"]) == (1, expected, 5)
        assert said["failures"][WITHOUT_TRUTH].startswith("truth: ")
        assert said["steps"] == first["steps"]
    truth.unlink()
    # Another page of the measures, and one that somebody has cut off.
    assert run("--shown", "2") == (0, [], first)
    assert (out / "report.html").read_bytes().count(b'<h3 class="name">') == 2
    page = (out / "report.html").read_bytes()
    (out / "report.html").write_bytes(page[:1000])
    assert run("--shown", "2") == (0, [], first)
    assert (out / "report.html").read_bytes() == page
    # Measured otherwise: no labels are in danger, so that it is not refused.
    code, names, said = run("--boundary-ratio", "0.1")
    assert (code, names) == (0, sorted(NAMES))
    assert said["steps"]["SCC"]["mean_boundary_iou"] != first["steps"]["SCC"]["mean_boundary_iou"]
    assert run("--boundary-ratio", "0.1", "--overwrite") == (0, sorted(NAMES), said)


def test_what_is_missing_is_made_again(again):
    data, out = again
    expected = contents(out)
    (out / "labels" / "one.png").unlink()
    (out / "report.html").unlink()
    assert call(*arguments(data, out)).exit_code == 0
    assert contents(out) == expected
    assert (out / "report.html").exists()


def test_other_settings_are_not_mixed_with_these(data, done):
    result = call(*arguments(data, done[0], "--set", "thing_weight=3"))
    assert result.exit_code == 2
    assert "psa.thing_weight is 3.0" in result.stderr


def test_bad_files_are_left_out_and_listed(again):
    data, out = again
    shutil.rmtree(out)
    image = data / "images" / "one.png"
    image.write_bytes(image.read_bytes()[:500])
    truth = data / "truth" / "eight.png"
    truth.write_bytes(b"no image")
    write_label(data / "truth" / "a/seven.png", np.zeros((64, 127), np.uint8), STREETS)
    label = data / "labels" / f"{NAMES[1]}.png"
    write_label(label, np.full((64, 128), 255, np.uint8), STREETS)
    (data / "confidence" / f"{WITHOUT_TRUTH}.png").unlink()
    result = call(*arguments(data, out))
    assert result.exit_code == 1
    assert "4 images done (2 of them not measured: bad truth), 2 failed" in result.stdout
    said = json.loads((out / "report.json").read_text())
    assert set(said["failures"]) == {"one", "eight", "a/seven", WITHOUT_TRUTH}
    assert "expected a readable image" in said["failures"]["one"]
    assert said["failures"]["eight"].startswith("truth: ")
    assert "expected shape (64, 128) as the label has" in said["failures"]["a/seven"]
    assert "no confidence of that name" in said["failures"][WITHOUT_TRUTH]
    # An image whose truth is bad is refined and shown all the same.
    assert said["images"] == 4
    assert said["with_truth"] == 2
    assert set((out / "labels").rglob("*.png")) == {
        out / "labels" / f"{name}.png" for name in ("eight", "a/seven", NAMES[1], NAMES[2])
    }
    assert set(np.unique(read_label(out / "labels" / f"{NAMES[1]}.png"))) == {255}
    assert "4 files could not be used" in (out / "report.html").read_text("utf-8")


def test_without_truth_and_confidence(again):
    data, out = again
    shutil.rmtree(out)
    for name in NAMES[2:]:
        (data / "images" / f"{name}.png").unlink()
        (data / "labels" / f"{name}.png").unlink()
    result = call(
        "run", data / "images", data / "labels", out, "--label-space", data / "streets.json", *QUICK
    )
    assert result.exit_code == 0, result.output
    said = json.loads((out / "report.json").read_text())
    assert "steps" not in said
    page = (out / "report.html").read_text("utf-8")
    assert "Quality, step by step" not in page
    assert "<b>raw</b>" in page
    assert "<b>selection</b>" not in page


@pytest.mark.parametrize(
    ("kind", "array", "message"),
    [
        ("labels", np.full((64, 128), 255), "expected a class at some pixel, got 255 (ignore)"),
        ("labels", np.full((64, 128), 33), "are these raw ids?"),
        ("labels", np.zeros((64, 128, 3)), "one class id per pixel (8- or 16-bit grey, or palette"),
        ("labels", np.zeros((32, 64)), "png, got (32, 64)"),
        ("confidence", np.zeros((32, 64)), "confidence: expected shape"),
        ("truth", np.zeros((64, 128, 3)), "one class id per pixel (8- or 16-bit grey, or palette"),
    ],
)
def test_what_is_wrong_with_all_is_told_before_anything_is_made(again, kind, array, message):
    data, out = again
    shutil.rmtree(out)
    files = sorted((data / kind).rglob("*.png"))
    for path in files:
        Image.fromarray(array.astype(np.uint8)).save(path)
    result = call(*arguments(data, out))
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    name = "truth" if kind == "truth" else "images and labels"
    count = f"{len(files)} of {len(files)}"
    assert f"{name}: expected some that can be used, got none among the {count} that" in said
    assert message in said
    assert not out.exists()


def test_only_some_files_are_looked_at_before(data, monkeypatch):
    looked = []

    def label_of(files, inputs, space):
        looked.append(files)
        raise ValueError("no")

    monkeypatch.setattr(first_look, "label_of", label_of)
    with pytest.raises(ValueError, match="none among the 8 of 80 that were looked at; the first"):
        first_look.check_some_inputs(Inputs(tuple(range(80))), STREETS)
    assert looked == list(range(0, 80, 10))
    first_look.check_some_inputs(Inputs(()), STREETS)
    # One that is right is enough: the others fail for themselves.
    first_look.check_some_truths([*["nowhere.png"] * 7, data / "truth/one.png"], STREETS)
    first_look.check_some_truths([], STREETS)


@pytest.mark.parametrize(
    "place", ["psa/one.png", "psa_connectivities/one.npz", "corrector/corrector.json",
              "labels/one.png", "scores/one.png"]
)  # fmt: skip
def test_outputs_of_others_are_seen_before_anything_is_made(data, tmp_path, place):
    other = tmp_path / "out" / place
    other.parent.mkdir(parents=True)
    other.write_bytes(b"somebody's")
    result = call(*arguments(data, tmp_path / "out"))
    assert result.exit_code == 2
    assert f"holds outputs such as {other}, but no manifest.json" in result.stderr
    assert not (tmp_path / "out/regions").exists()
    assert other.read_bytes() == b"somebody's"


def test_outputs_of_another_command_are_seen_before_anything_is_made(again):
    data, out = again
    shutil.rmtree(out / "regions")
    shutil.rmtree(out / "labels")
    shutil.copytree(out / "psa", out / "labels")
    result = call(*arguments(data, out))
    assert result.exit_code == 2
    said = (
        f"{out / 'labels'}: its outputs were made otherwise: job is seco correct, was seco refine;"
    )
    assert said in result.stderr
    assert not (out / "regions").exists()


def test_what_cannot_work_is_refused_before_anything_is_made(data, tmp_path):
    def refused(*more):
        result = call(*arguments(data, tmp_path / "out", *more))
        assert result.exit_code == 2
        assert not (tmp_path / "out").exists()
        return result.stderr

    assert "exclude each other" in refused("--keep-fraction", "1", "--confidence-threshold", "0.5")
    assert "--keep-fraction: expected" in refused("--keep-fraction", "7")
    assert "--confidence-threshold: expected" in refused("--confidence-threshold", "-1")
    assert "'none' is not one of" in refused("--sam", "none")
    assert "flip: expected" in refused("--set-scc", "flip=maybe")
    assert "no such folder" in refused("--truth", tmp_path / "nowhere")
    without = ("run", data / "images", data / "labels", tmp_path / "out", *QUICK)
    result = call(*without, "--confidence-threshold", "0.5")
    assert result.exit_code == 2
    assert "need --confidence" in result.stderr
    assert not (tmp_path / "out").exists()
    result = call(*arguments(data, data / "truth" / "out"))
    assert result.exit_code == 2
    assert "expected a place apart" in result.stderr


def test_two_processes_make_one_report(data, done, tmp_path):
    main = tmp_path / "main.py"
    main.write_text("from seco.cli import main\nmain()\n")
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *map(str, (main, *arguments(data, out))),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("6 images done, 0 failed") == 1
    expected, found = contents(done[0]), contents(out)
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in found if name.startswith("psa"))
    said = json.loads((out / "report.json").read_text())
    assert (said["images"], said["with_truth"]) == (6, 5)
    one = json.loads((done[0] / "report.json").read_text())
    for step in ("raw", "selection", "PSA"):
        assert said["steps"][step] == one["steps"][step]


def stages(out):
    """What each stage of the last run wrote and left alone."""
    said = {}
    for part in ("regions", "psa", "corrector", "labels"):
        summary = json.loads((out / part / "summary.json").read_text())
        said[part] = (summary["written"], summary["skipped"])
    return said


def test_changed_inputs_are_taken_through_every_stage(again):
    """A second round with a new label: what depends on it is made anew, without being asked."""
    data, out = again
    write_label(data / "labels/one.png", read_label(data / "truth/one.png"), STREETS)
    result = call(*arguments(data, out))
    assert result.exit_code == 0, result.output
    assert stages(out) == {"regions": (0, 6), "psa": (1, 5), "corrector": (1, 0), "labels": (6, 0)}
    assert call(*arguments(data, out)).exit_code == 0
    assert stages(out) == {"regions": (0, 6), "psa": (0, 6), "corrector": (0, 1), "labels": (0, 6)}
    fresh = data.parent / "fresh"
    assert call(*arguments(data, fresh)).exit_code == 0
    assert contents(out) == contents(fresh)


def correct_otherwise(again, said, *more, then=()):
    """Other options of correcting: refused, then, if asked for, only the last two stages run."""
    data, out = again
    changed = arguments(data, out, *more)
    result = call(*changed)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    result = call(*changed, "--overwrite", *then)
    assert result.exit_code == 0, result.output
    assert stages(out) == {"regions": (0, 6), "psa": (0, 6), "corrector": (1, 0), "labels": (6, 0)}
    return result


def test_other_settings_of_a_stage_leave_the_stages_before_it(again):
    said = "settings.scc.tau_ns is 0.5, was "
    with pytest.warns(UserWarning, match="feature_memory: .* hold the features of 0 images"):
        correct_otherwise(again, said, "--set-scc", "tau_ns=0.5", then=("--feature-memory", "1e-6"))


def test_another_encoder_leaves_what_was_refined(again):
    result = correct_otherwise(again, "crop_n_layers", "--encoder", "sam-crops")
    assert "<b>sam-crops:1</b>" in (again[1] / "report.html").read_text()
    assert "features were not made for photographs" in result.stderr


def test_regions_from_elsewhere(again):
    """They are those of seco regions for these images, or the run says that they are not."""
    data, out = again
    expected = contents(out)
    kept = data.parent / "kept regions"
    (out / "regions").rename(kept)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    shutil.rmtree(out)
    result = call(*arguments(data, out, "--regions", kept))
    assert result.exit_code == 0, result.output
    assert contents(out) == expected
    assert not (out / "regions").exists()
    # Of other settings, none are used and none replaced.
    for more in ((), ("--overwrite",)):
        other = ("--regions", kept, "--set", "pred_iou_thresh=0.5", *more)
        result = call(*arguments(data, data.parent / "other", *other))
        assert result.exit_code == 2
        assert "settings.proposals.pred_iou_thresh is 0.5, was " in " ".join(result.stderr.split())
        assert not (data.parent / "other").exists()
    result = call(*arguments(data, out, "--regions", kept, "--set", "method=prompts"))
    assert result.exit_code == 2
    assert "regions: expected none with method prompts" in " ".join(result.stderr.split())
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
    # An image that is another one now, and one whose regions are gone.
    image = Image.open(data / "images/one.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(data / "images/one.png")
    (kept / "a/seven.npz").unlink()
    result = call(*arguments(data, out, "--regions", kept))
    assert result.exit_code == 1
    said = json.loads((out / "report.json").read_text())["failures"]
    assert said.keys() == {"one", "a/seven"}
    assert "one.npz: expected regions of this image, got those of another" in said["one"]
    assert said["a/seven"].endswith("seven.npz: expected regions of this image, got none")
    (kept / "manifest.json").unlink()
    result = call(*arguments(data, out, "--regions", kept))
    assert result.exit_code == 2
    assert "expected the folder of seco regions" in " ".join(result.stderr.split())


def test_lists_of_what_came_out(again):
    data, out = again
    result = call(*arguments(data, out, "--list-root", data.parent))
    assert result.exit_code == 2
    assert "expected no space in a path" in " ".join(result.stderr.split())
    for name in NAMES[1:3]:
        (data / "images" / f"{name}.png").unlink()
        (data / "labels" / f"{name}.png").unlink()
    write_label(data / "labels/eight.png", np.full((64, 128), 255, np.uint8), STREETS)
    result = call(*arguments(data, out, "--list-root", data.parent, "--min-labelled", "0.01"))
    assert result.exit_code == 0, result.output
    lines = {name: (out / f"labels/{name}.txt").read_text().splitlines()
             for name in ("labeled", "unlabeled")}  # fmt: skip
    labelled = {name: (read_label(out / f"labels/{name}.png") != 255).any()
                for name in ("one", "six", "eight", "a/seven")}  # fmt: skip
    assert not labelled.pop("eight")
    assert all(labelled.values())
    assert sorted(lines["labeled"]) == [
        f"data/images/{name}.png out/labels/{name}.png" for name in sorted(labelled)
    ]
    assert lines["unlabeled"] == ["data/images/eight.png out/labels/eight.png"]
