"""Progressive translation: changed settings, changed and bad files, outputs made otherwise."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_domain import SCHEDULE, Denoiser, target_domain
from PIL import Image
from progressive_world import (
    OPTIONS,
    PLAIN,
    SPACE,
    Stopped,
    results,
    run,
    segmenter,
    stop_in,
    to_one_class,
    write_source,
)

from seco.common.files import read_image
from seco.common.jobs import JobOptions
from seco.common.modules import fingerprint
from sgg import CallableDiffusion
from sgg.progressive import finetune_segmenter, write_report


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "settings.seed is 1, was 0"),
        ({"strengths": (0.5, 0.8)}, "stage-1: was made otherwise: its strength is 0.5, was 0.4"),
        ({"strengths": (0.4,)}, "holds stage 2, expected at most 1"),
        (
            {"translation": replace(OPTIONS, guidance="global")},
            "settings.translation.guidance is global, was sgg",
        ),
        (
            {"finetune": partial(finetune_segmenter, settings=replace(PLAIN, steps=7))},
            "settings.finetune.options.settings.steps is 7, was 6",
        ),
        ({"finetune": to_one_class}, "settings.finetune.function is .*to_one_class, was sgg"),
        ({"seg_model": segmenter(norm=True)}, "models.segmenter is"),
        ({"labels_by": "copy"}, "settings.labels_by is copy, was link"),
    ],
)
def test_settings_are_not_mixed(source, tmp_path, changed, said):
    out = tmp_path / "out"
    run(source, out)
    before = results(out)
    with pytest.raises(ValueError, match=said):
        run(source, out, **changed)
    assert results(out) == before


def test_overwriting_makes_anew_what_was_made_otherwise(source, tmp_path, monkeypatch):
    out, denoiser = tmp_path / "out", Denoiser()
    run(source, out)
    other = partial(finetune_segmenter, settings=replace(PLAIN, learning_rate=0.01))
    anew = {"finetune": other, "options": JobOptions(overwrite=True)}
    run(source, out, diffusion=target_domain(denoiser), **anew)
    assert denoiser.calls == 5 * 2  # stage 2 alone has another guide
    run(source, tmp_path / "at once", finetune=other)
    assert results(out) == results(tmp_path / "at once")


def test_further_stages_go_on_from_those_that_are_there(source, tmp_path, undisturbed):
    run(source, tmp_path / "out", strengths=(0.4,))
    denoiser = Denoiser()
    run(source, tmp_path / "out", diffusion=target_domain(denoiser))
    assert denoiser.calls == 5 * 2
    assert results(tmp_path / "out") == undisturbed


def test_a_changed_image_goes_through_all_stages(tmp_path):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    run(root, out)
    replacement = read_image(root / "images/00002.png")[:, ::-1].copy()
    Image.fromarray(replacement).save(root / "images/00003.png")
    denoiser = Denoiser()
    run(root, out, diffusion=target_domain(denoiser))
    assert denoiser.calls == (1 + 5) * 2  # of stage 2 all, for their guide is another
    run(root, tmp_path / "at once")
    assert results(out) == results(tmp_path / "at once")


def test_nothing_tells_of_stages_that_are_made_anew(tmp_path, monkeypatch):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    write_report(run(root, out), SPACE)
    (root / "images/00003.png").write_bytes((root / "images/00002.png").read_bytes())
    stop_in(monkeypatch, "sgg.progressive.training._add_loss", 2)
    with pytest.raises(Stopped):
        run(root, out)
    assert not (out / "progressive.json").exists()
    assert not (out / "report.html").exists()
    assert not (out / "stage-1/segmenter/segmenter.safetensors").exists()


def test_a_bad_file_is_left_out_of_all_stages(tmp_path):
    root = write_source(tmp_path / "game")
    (root / "images/00002.png").write_bytes(b"no image")
    (root / "labels/00004.png").unlink()
    told = []
    made = run(root, tmp_path / "out", options=JobOptions(report=told.append))
    assert [outcome.name for outcome in made.failures] == ["00004", "00002"]
    assert [one.name for one in told if one.status == "failed"] == ["00004", "00002"]
    for stage in made.stages:
        assert [one.name for one in stage.translated.files] == ["00001", "00003", "00005"]
    numbers = json.loads((tmp_path / "out/progressive.json").read_text())
    assert set(numbers["failed"]) == {"00002", "00004"}


def test_a_bad_target_image_is_told_by_every_run_once(source, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "one.png").write_bytes((source / "images/00001.png").read_bytes())
    (target / "other.png").write_bytes(b"no image")
    for _ in range(2):  # in the second nothing is measured anew
        told = []
        options = JobOptions(report=told.append)
        made = run(source, tmp_path / "out", target=target, options=options)
        assert [outcome.name for outcome in made.failures] == ["other"]
        assert {one.name for one in told if one.status == "failed"} == {"other"}
        numbers = json.loads((tmp_path / "out/progressive.json").read_text())
        assert numbers["failed"]["other"].endswith("got another kind of file")


def test_an_oracle_that_is_given_later_is_asked(source, tmp_path):
    run(source, tmp_path / "out", strengths=(0.4,))
    made = run(source, tmp_path / "out", strengths=(0.4,), oracle=segmenter())
    assert made.source.oracle == made.source.guide
    assert made.stages[0].measures.oracle == made.stages[0].measures.guide


def test_a_strength_is_a_number_whatever_its_type(source, tmp_path):
    run(source, tmp_path / "out", strengths=(0.5, 1.0))
    denoiser = Denoiser()
    strengths = (np.float32(0.5), 1)
    run(source, tmp_path / "out", strengths=strengths, diffusion=target_domain(denoiser))
    assert denoiser.calls == 0


def test_a_changed_source_image_counts_where_its_translation_stays(tmp_path):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    constant = CallableDiffusion(
        lambda x_t, steps: torch.zeros_like(x_t), SCHEDULE, prediction_type="sample"
    )
    mixed = partial(finetune_segmenter, settings=replace(PLAIN, source_share=1.0))
    options = {"translation": replace(OPTIONS, guidance="none"), "finetune": mixed}
    before = results(run(root, out, diffusion=constant, **options).places.data(1) / "images")
    image = read_image(root / "images/00003.png")
    Image.fromarray(255 - image).save(root / "images/00003.png")
    run(root, out, diffusion=constant, **options)
    assert results(out / "stage-1/images") == before
    run(root, tmp_path / "at once", diffusion=constant, **options)
    assert results(out) == results(tmp_path / "at once")


def test_weights_are_hashed_once(source, tmp_path, monkeypatch):
    hashed = []
    counting = SimpleNamespace(sha256=lambda: hashed.append(1) or hashlib.sha256())
    monkeypatch.setitem(fingerprint.__globals__, "hashlib", counting)
    run(source, tmp_path / "out")
    assert len(hashed) == 2  # those of the segmenters that guided


def test_a_folder_of_another_kind_is_refused(source, tmp_path):
    (tmp_path / "out/stage-1").mkdir(parents=True)
    (tmp_path / "out/progressive.json").write_text("{}")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(ValueError, match=r"holds outputs .* but no manifest.json"):
        run(source, tmp_path / "out")
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_nothing_usable(tmp_path):
    root = write_source(tmp_path / "game")
    for path in (root / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"stage 1: expected at least one image .* got none"):
        run(root, tmp_path / "out")
