"""``sgg progressive``: options in, files, messages and exit codes out."""

from __future__ import annotations

import inspect
import json
import os
import sys
from dataclasses import fields, replace

import pytest
import torch
from PIL import Image
from progressive_world import SPACE, Colour, write_source
from safetensors.torch import load_file
from typer.testing import CliRunner

import sgg
from sgg import PAPER
from sgg.cli import app
from sgg.folder import TranslationOptions
from sgg.progressive import STRENGTHS, FinetuneSettings, progressive_translation

MODELS = """
import progressive_world as world
import torch

def diffusion():
    return world.target_domain()

def segmenter():
    return world.segmenter()

def collapsing(segmenter, task):
    if task.stage == 2:
        with torch.no_grad():
            segmenter.model.look.weight.zero_()
    return [(1, 0.5)]
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a data set and, in modules, models for it."""
    folder = tmp_path_factory.mktemp("here")
    write_source(folder / "game", images=3)
    (folder / "progressive_models.py").write_text(MODELS)
    (folder / "classes.json").write_text(SPACE.to_json())
    return folder


@pytest.fixture(autouse=True)
def inside(here, monkeypatch):
    monkeypatch.chdir(here)
    yield
    sys.modules.pop("progressive_models", None)


FAST = ["--steps", "2", "--set-finetune", "steps=3", "--set-finetune", "batch_size=2"]


def run(out, *arguments: str, fast: bool = True):
    given = ["progressive", "game/images", "game/labels", str(out)]
    given += ["--diffusion", "progressive_models:diffusion", "--label-space", "classes.json"]
    given += ["--device", "cpu", *(FAST if fast else [])]
    if "--segmenter" not in arguments:
        given += ["--segmenter", "progressive_models:segmenter"]
    if "--strengths" not in arguments:
        given += ["--strengths", "0.4,0.8"]
    return CliRunner().invoke(app, [*given, *arguments])


def test_a_run_and_what_it_leaves(tmp_path):
    out = tmp_path / "out"
    done = run(out, "--target", "game/images", "--oracle", "progressive_models:segmenter")
    assert done.exit_code == 0, done.output
    for said in ("Stage 1: translating", "Source: measuring", "Stage 2: fine-tuning",
                 "2 stages, 3 images translated, 0 failed", f"Data set: {out}/stage-2",
                 f"Segmenter: {out}/stage-2/segmenter/segmenter.safetensors",
                 f"Report: {out}/report.html"):  # fmt: skip
        assert said in done.output
    assert (out / "report.html").is_file()
    manifests = [json.loads(path.read_bytes()) for path in out.rglob("manifest.json")]
    names = ("sgg progressive", "sgg translate", "sgg progressive: measures",
             "sgg progressive: segmenter")  # fmt: skip
    assert {manifest["job"] for manifest in manifests} == set(names)
    assert {manifest["versions"]["sgg"] for manifest in manifests} == {sgg.__version__}
    assert len(os.listdir(out / "stage-2/images")) == 3
    numbers = json.loads((out / "progressive.json").read_text())
    assert [len(stage["losses"]) for stage in numbers["stages"]] == [3, 3]
    assert set(numbers["stages"][0]["distance"]) == {"colour", "logits"}
    # The target folder held the source images; this oracle was the first segmenter.
    assert numbers["source"]["distance"] == {"colour": 0.0, "logits": 0.0}
    assert numbers["source"]["oracle"] == numbers["source"]["guide"]
    before = (out / "report.html").read_bytes()
    again = run(out, "--target", "game/images", "--oracle", "progressive_models:segmenter")
    assert again.exit_code == 0, again.output
    assert (out / "report.html").read_bytes() == before


def test_a_source_without_class_files_is_told_before_the_work(here, tmp_path, monkeypatch):
    def never(*models, **options):
        raise ValueError("the work")

    monkeypatch.setattr("sgg.progressive.progressive_translation", never)
    said, _, after = run(tmp_path / "out").stderr.partition("Error: the work")
    assert after
    assert said.count("\n") == 1
    assert "no sample_class_stats.json or samples_with_class.json in game: the set" in said
    done = run(tmp_path / "out", "--class-files", "game/images")
    assert done.exit_code == 2
    assert "class_files: expected a folder with sample_class_stats.json" in done.output


def options_passed(monkeypatch, out, *arguments: str, fast: bool = True) -> dict:
    seen = {}

    def remembered(source, *models, **options):
        seen.update(options, source=source, models=models)
        return progressive_translation(source, *models, **options)

    monkeypatch.setattr("sgg.progressive.progressive_translation", remembered)
    done = run(out, *arguments, fast=fast)
    assert done.exit_code == 0, done.output
    return seen


def test_every_option_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "class files").mkdir()
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        (tmp_path / "class files" / name).write_text("[]" if "stats" in name else "{}")
    seen = options_passed(
        monkeypatch, tmp_path / "out", "--strengths", "0.25,0.5", "--min-consistency", "0.01",
        "--collapse", "0.25", "--checkpoint-every", "1", "--paper", "--sampler", "ddim", "--eta",
        "0.5", "--guidance", "global", "--guidance-scale", "0.25", "--guidance-input", "x_t",
        "--set", "clip=0.1", "--tile-size", "32x16", "--tile-overlap", "4", "--precision",
        "bfloat16", "--channels-last", "--tiles-per-batch", "2", "--images-per-batch", "2",
        "--seed", "3", "--labels", "copy", "--class-files",
        str(tmp_path / "class files"), "--min-pixels", "7", "--overwrite", "--set-finetune",
        "flip=false",
    )  # fmt: skip
    expected = {
        "strengths": (0.25, 0.5), "min_consistency": 0.01, "collapse": 0.25, "checkpoint_every": 1,
        "seed": 3, "labels_by": "copy", "class_files": tmp_path / "class files", "min_pixels": 7,
        "oracle": None, "target": None, "images_per_batch": 2,
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected
    changed = TranslationOptions(
        num_inference_steps=2, sampler="ddim", eta=0.5, guidance="global", guidance_scale=0.25,
        guidance_input="x_t", settings=replace(PAPER["settings"], clip=0.1),
        tile_size=(32, 16), tile_overlap=4, tiles_per_batch=2, dtype="bfloat16", channels_last=True,
    )  # fmt: skip
    assert seen["translation"] == changed
    settings = FinetuneSettings(steps=3, batch_size=2, flip=False)
    assert seen["finetune"].keywords == {"settings": settings}
    assert seen["options"].overwrite
    assert seen["label_space"].names == SPACE.names
    assert not (tmp_path / "out/stage-1/labels").is_symlink()


def test_defaults_are_those_of_the_call(tmp_path, monkeypatch):
    short = replace(FinetuneSettings(), steps=1)
    monkeypatch.setattr("sgg.cli.progressive.FinetuneSettings", lambda: short)
    strengths = ",".join(map(str, STRENGTHS))
    seen = options_passed(monkeypatch, tmp_path / "out", "--strengths", strengths, fast=False)
    default = inspect.signature(progressive_translation).parameters
    for name in ("strengths", "min_consistency", "collapse", "translation", "seed", "oracle",
                 "target", "labels_by", "class_files", "min_pixels", "images_per_batch",
                 "checkpoint_every"):  # fmt: skip
        assert seen[name] == default[name].default
    command = next(c for c in app.registered_commands if c.callback.__name__ == "progressive")
    assert inspect.signature(command.callback).parameters["strengths"].default == strengths


def test_a_stop_is_said(tmp_path):
    done = run(tmp_path / "out", "--min-consistency", "1")
    assert done.exit_code == 3
    assert "Stopped: stage 1 (strength 0.4) is left out: its consistency of" in done.output
    assert "Segmenter:" not in done.output
    page = (tmp_path / "out/report.html").read_text()
    assert "is left out: its consistency" in page


def test_a_divergence_is_said_with_the_last_good_segmenter(tmp_path):
    done = run(
        tmp_path / "out", "--finetune", "progressive_models:collapsing", *FAST[:2], fast=False
    )
    assert done.exit_code == 3
    kept = tmp_path / "out/stage-1/segmenter/segmenter.safetensors"
    assert "Stopped: stage 2: fine-tuning diverged: consistency on the set" in done.output
    assert f"the last good segmenter, of stage 1, is {kept}" in done.output
    assert set(load_file(kept)) == {"look.weight", "look.bias"}
    assert "fine-tuning diverged" in (tmp_path / "out/report.html").read_text()


def test_a_bad_file_is_said_and_the_exit_code_tells(here, tmp_path):
    Image.new("RGB", (4, 4)).save(here / "game/images/odd.png")
    try:
        done = run(tmp_path / "out")
    finally:
        (here / "game/images/odd.png").unlink()
    assert done.exit_code == 1
    assert "failed: odd: no label of that name" in done.output
    assert "2 stages, 3 images translated, 1 failed" in done.output


def test_classes_that_can_no_longer_be_sampled_are_said(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    stats = [{"file": f"labels/0000{number}.png", "0": 90, "3": 4} for number in (1, 2, 3)]
    (files / "sample_class_stats.json").write_text(json.dumps(stats))
    samples = {k: [[one["file"], one[k]] for one in stats] for k in ("0", "3")}
    (files / "samples_with_class.json").write_text(json.dumps(samples))
    done = run(tmp_path / "out", "--class-files", str(files), "--min-pixels", "50")
    assert done.exit_code == 0, done.output
    assert done.output.count("not listed for rare class sampling") == 1
    assert "not listed for rare class sampling: 3 (blue): no translated image has" in done.output


def test_settings_of_fine_tuning_are_listed():
    done = CliRunner().invoke(app, ["progressive", "--list-finetune-settings"])
    assert done.exit_code == 0
    for field in fields(FinetuneSettings):
        assert f"\n{field.name} = " in f"\n{done.output}"
    assert "source_share = 0.0\n    expected: a number\n    that share of the crops" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strengths", "0.5,far"], "--strengths: expected numbers with commas between them"),
        (["--strengths", "0.5,0.4"], "strengths: expected them to grow"),
        (["--set-finetune", "speed=1"], "settings: expected one of steps"),
        (["--set-finetune", "jitter=2"], "jitter: expected a number in [0, 1], got 2"),
        (["--finetune", "math:sqrt"], "--set-finetune is of the built-in trainer"),
        (["--target", "nowhere"], "nowhere: no such folder"),
        (["--target", "out"], "no such folder"),
        (["--oracle", "nowhere"], "expected a transformers folder"),
        (["--seg-normalization", "imagenet"], "progressive_models:segmenter says itself what RGB"),
        (["--oracle", "demo", "--oracle-normalization", "imagenet"], "demo says itself what RGB"),
        (["--oracle-normalization", "none"], "--oracle-normalization: expected only with --oracle"),
        (["--segmenter", "progressive_models:nobody"], "expected a function nobody"),
        (["--device", "nonsense"], "nonsense"),
        (["--collapse", "3"], "collapse: expected a number in"),
        (["--guidance", "none", "--guidance-scale", "7"], "--guidance-scale: expected only with"),
        (["--guidance-scale", "0", "--set", "clip=1"], "--set: expected only with another"),
        (["--min-pixels", "5"], "--min-pixels: expected only with sample_class_stats.json or"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(tmp_path, arguments, said):
    done = run(tmp_path / "out", *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere:train", "expected an importable module, got no nowhere"),
        ("progressive_models:train", "expected a function train in progressive_models"),
        ("train.py", "expected package.module:function, got train.py"),
    ],
)
def test_a_trainer_that_is_not_there(tmp_path, spec, said):
    done = run(tmp_path / "out", "--finetune", spec, fast=False)
    assert done.exit_code == 2
    assert said in done.output


def test_changed_settings_are_refused(tmp_path):
    assert run(tmp_path / "out").exit_code == 0
    done = run(tmp_path / "out", "--set-finetune", "learning_rate=0.5")
    assert done.exit_code == 2
    assert "settings.finetune.options.settings.learning_rate is 0.5, was 0.0001" in done.output
    assert (
        run(tmp_path / "out", "--set-finetune", "learning_rate=0.5", "--overwrite").exit_code == 0
    )


def test_a_saved_segmenter_can_be_loaded_by_its_own_class(tmp_path):
    run(tmp_path / "out")
    model = Colour()
    model.load_state_dict(load_file(tmp_path / "out/stage-2/segmenter/segmenter.safetensors"))
    assert not torch.equal(model.look.weight, Colour().look.weight)
