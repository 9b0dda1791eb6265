"""What `seco refine` writes, skips and does not replace."""

from __future__ import annotations

import errno
import os
import re
import warnings
from dataclasses import replace
from itertools import count

import numpy as np
import torch
from commands import run
from PIL import Image
from seco_command import NAMES, QUICK, contents, pair, refine

import seco
from seco import CITYSCAPES, PSASettings
from seco.common.files import read_confidence, read_label, write_label
from seco.sam.tiny import PROPOSALS


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


def test_warnings_of_a_single_image_are_plain(work, monkeypatch):
    seen = []

    def warned(*given):  # pytest records warnings and shows none
        seen.append(warnings.formatwarning("as it reads", UserWarning, __file__, 1))

    monkeypatch.setattr("seco.folder.refine_file", warned)
    places = (work / "images/a/two.png", work / "labels/a/two.png", work / "new.png")
    assert run("refine", *places, *QUICK).exit_code == 0
    assert seen == ["Warning: as it reads\n"]


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


def test_an_image_where_sam_finds_nothing(work):
    nothing = ("--set", "pred_iou_thresh=9", "--set", "thing_iou_thresh=9")
    result = refine(work, *nothing, "--set", "rejected_things=drop")
    assert result.exit_code == 0, result.output
    assert (read_label(work / "out/a/one.png") == 255).all()
