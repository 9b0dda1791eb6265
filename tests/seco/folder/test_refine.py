"""Refining folders: what is written, what is done again, what is refused."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from folder_stages import QUICK, SIZE, fit, scene, vote, vote_in_parts
from outcomes import statuses

import seco
from seco import CITYSCAPES, ConnectivityCorrector
from seco.common.files import read_confidence, read_label, write_label
from seco.common.jobs import Summary
from seco.folder import (
    ImageFiles,
    OutputFormat,
    Refiner,
    correct_folder,
    find_inputs,
    fit_folder,
    refine_file,
    refine_folder,
    single_input,
)
from seco.folder.evaluate import evaluate_folder, find_pairs
from seco.folder.outputs import labelled_share


def test_refining_by_vote_fills_the_speckles_and_counts(work):
    summary = vote(work)
    assert statuses(summary) == {"written": 6}
    for seed in range(6):
        _, label, speckled = scene(seed)
        assert (read_label(work / f"out/part{seed % 2}/{seed}.png") == label).all()
        facts = summary.facts()[f"part{seed % 2}/{seed}"]
        assert facts["changed"] == (speckled == 255).sum()
        assert facts["after"][13] == 80
        assert facts["before"][-1] == (speckled == 255).sum()
        assert labelled_share(facts) == 1
    assert vote(work).facts() == summary.facts()


def test_places_may_be_strings(work):
    inputs = find_inputs(str(work / "images"), str(work / "labels"))
    refiner = Refiner(None, CITYSCAPES, regions=str(work / "regions"))
    output = OutputFormat(scores=str(work / "scores"), connectivities=str(work / "parts"))
    done = refine_folder(inputs, str(work / "out"), refiner, output=output)
    assert statuses(done) == {"written": 6}
    assert (work / "scores/part0/0.png").exists()
    refined = find_inputs(str(work / "images"), str(work / "out"), confidence=str(work / "scores"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        fit_folder(
            refined, str(work / "corrector"), label_space=CITYSCAPES, settings=QUICK,
            connectivities=str(work / "parts"),
        )  # fmt: skip
    given = {"connectivities": str(work / "parts")}
    done = correct_folder(refined, str(work / "corrector"), str(work / "after"), **given)
    assert statuses(done) == {"written": 6}
    pairs = find_pairs(str(work / "after"), str(work / "labels"))
    assert evaluate_folder(pairs, CITYSCAPES).images == 6
    one = single_input(str(work / "images/part0/0.png"), str(work / "labels/part0/0.png"))
    shutil.copy(work / "regions/part0/0.npz", work / "regions")
    refine_file(one, str(work / "one.png"), None, refiner)
    assert (work / "one.png").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"outside": "drop"}, "outside: expected one of 'ignore', 'keep', got 'drop'"),
        ({"keep_fraction": 7}, "keep_fraction: expected a number"),
        ({"confidence_threshold": -1}, "confidence_threshold: expected a number"),
        ({"label_space": "cityscapes"}, "label_space: expected seco.LabelSpace, got str"),
        ({"settings": {}}, "settings: expected seco.PSASettings, got dict"),
        ({"settings": seco.PSASettings(method="prompts")}, "sam: .* with method 'prompts'"),
        ({"regions": None}, "sam: expected a segmenter where no regions are given"),
    ],
)
def test_what_no_image_is_to_blame_for_is_told_at_once(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Refiner(**({"sam": None, "label_space": CITYSCAPES, "regions": "regions"} | wrong))


def test_bad_files_of_every_kind_are_told_apart(work):
    files = {n: work / f"labels/part{n % 2}/{n}.png" for n in range(6)}
    data = files[0].read_bytes()
    files[0].write_bytes(data[: len(data) // 2])
    files[1].write_bytes(b"")
    write_label(files[2], np.zeros((5, 5), np.uint8), CITYSCAPES)
    (work / "regions/part1/3.npz").unlink()
    files[4].unlink()
    summary = vote(work)
    assert statuses(summary) == {"failed": 5, "written": 1}
    reasons = {outcome.name: outcome.reason for outcome in summary.of("failed")}
    assert "expected a readable image" in reasons["part0/0"]
    assert "expected a readable image" in reasons["part1/1"]
    assert (
        f"0/2.png: expected the size (24, 32) of {work / 'regions/part0/2.npz'}, got (5, 5)"
        in reasons["part0/2"]
    )
    assert "No such file" in reasons["part1/3"]
    assert reasons["part0/4"] == "no label of that name"


def test_a_replaced_regions_file_counts_as_an_input(work):
    vote(work)
    nothing = seco.Regions.from_masks(torch.zeros(0, *SIZE, dtype=torch.bool))
    nothing.save(work / "regions/part0/0.npz")
    assert statuses(vote(work)) == {"written": 1, "skipped": 5}
    assert (read_label(work / "out/part0/0.png") == 255).all()


def test_proda_layout_out_and_in_again(work):
    nothing = seco.Regions.from_masks(torch.zeros(0, *SIZE, dtype=torch.bool))
    nothing.save(work / "regions/part0/0.npz")
    assert statuses(vote(work, "proda", OutputFormat("proda"))) == {"written": 6}
    assert (read_label(work / "proda/part0/0.png") == 250).all()
    assert set(np.unique(read_label(work / "proda/part1/1.png"))) == {0, 10, 13}
    raw = np.load(work / "proda/part1/1_conf.npy")
    assert (raw.dtype, raw.shape) == (np.float16, SIZE)
    inputs = find_inputs(work / "images", work / "proda", confidence=work / "proda", naming="proda")
    refiner = Refiner(None, CITYSCAPES, regions=work / "regions", outside="keep")
    summary = refine_folder(inputs, work / "again", refiner)
    assert statuses(summary) == {"written": 6}
    assert (read_label(work / "again/part0/0.png") == 255).all()


def test_names_with_dots_keep_them(tmp_path):
    place = Path("y/v1.0")
    files = ImageFiles(tmp_path, None, None, place, place)
    paths = OutputFormat(scores=tmp_path / "s").paths(files, tmp_path / "out")
    assert paths == (tmp_path / "out/y/v1.0.png", tmp_path / "s/y/v1.0.png")
    proda = OutputFormat("proda").paths(files, tmp_path)
    assert [path.name for path in proda] == ["v1.0.png", "v1.0_conf.npy"]


def test_scores_as_png_and_as_npy(work):
    for kind, tolerance in (("png", 1 / 510), ("npy", 1 / 2048)):
        vote(work, f"out-{kind}", OutputFormat(scores=work / kind, score_format=kind))
        scores = read_confidence(work / f"{kind}/part0/0.{kind}")
        image, _, speckled = scene(0)
        regions = seco.Regions.load(work / "regions/part0/0.npz")
        expected = seco.refine_with_details(image, speckled, regions=regions).scores[0].numpy()
        assert np.abs(scores - expected).max() <= tolerance


def test_a_new_corrector_refines_anew_and_a_corrector_at_all_is_a_setting(work):
    def refine(corrector: Path | None) -> Summary:
        refiner = Refiner(None, CITYSCAPES, regions=work / "regions", corrector=corrector)
        inputs = find_inputs(work / "images", work / "labels")
        return refine_folder(inputs, work / "out", refiner)

    vote_in_parts(work)
    fit(work, "refined", work / "parts")
    assert statuses(refine(work / "corrector")) == {"written": 6}
    assert statuses(refine(work / "corrector")) == {"skipped": 6}
    (work / "refined/part0/0.png").write_bytes(b"")
    assert statuses(fit(work, "refined", work / "parts")) == {"failed": 1, "written": 1}
    assert statuses(refine(work / "corrector")) == {"written": 6}
    with pytest.raises(ValueError, match=r"settings\.corrector is False, was True"):
        refine(None)


@pytest.mark.parametrize(
    ("space", "layout"),
    [
        (replace(CITYSCAPES, ignore_index=65535), "palette"),
        (seco.LabelSpace(tuple(map(str, range(252)))), "proda"),
    ],
)
def test_ids_that_cannot_be_written_are_refused_before_the_work(work, space, layout):
    output, inputs = OutputFormat(layout), find_inputs(work / "images", work / "labels")
    with pytest.raises(ValueError, match=r"label_space: expected ids in 0\.\.255"):
        refine_folder(
            inputs, work / "out", Refiner(None, space, regions=work / "regions"), output=output
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        image, label, _ = scene(0)
        corrector = ConnectivityCorrector(space, settings=QUICK)
        corrector.fit([(image, label.astype(np.uint16))]).save(work / "corrector")
    with pytest.raises(ValueError, match=r"label_space: expected ids in 0\.\.255"):
        correct_folder(inputs, work / "corrector", work / "out", output=output)
    assert not (work / "out").exists()


def test_a_corrector_for_other_classes_is_refused_before_the_work(work):
    fit(work)
    refiner = Refiner(None, seco.CAMVID, regions=work / "regions", corrector=work / "corrector")
    with pytest.raises(ValueError, match="corrector: expected one for label_space"):
        refine_folder(find_inputs(work / "images", work / "labels"), work / "out", refiner)
    assert not (work / "out").exists()
