"""``sgg translate`` and ``sgg evaluate``: options in, files, messages and exit codes out."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from progressive_world import SPACE
from typer.testing import CliRunner

from sgg import PAPER, translate
from sgg.cli import app
from sgg.cli.translation import tile_size_of
from sgg.folder import TranslationOptions

MODELS = """
import torch
import sgg

def diffusion():
    def denoiser(x_t, t):
        return 0.5 * x_t
    return sgg.CallableDiffusion(denoiser, [0.99, 0.9, 0.7, 0.5])

def segmenter():
    return lambda x: torch.cat([torch.zeros_like(x[:, :1]), 4 * x], 1)
"""


@pytest.fixture
def gta(tmp_path, monkeypatch):
    """A data set, and in the current folder a module with models for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_models.py").write_text(MODELS)
    (tmp_path / "broken_models.py").write_text("import no_such_dependency")
    (tmp_path / "classes.json").write_text(SPACE.to_json())
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / "gta" / name).mkdir(parents=True)
    stats, samples = [], {"0": [], "1": []}
    for name in ("00001", "00002", "00003"):
        image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"gta/images/{name}.png")
        label = np.zeros((16, 24), np.uint8)
        label[:2, :2] = 1
        Image.fromarray(label).save(tmp_path / f"gta/labels/{name}_labelTrainIds.png")
        Image.fromarray(label + 20).save(tmp_path / f"gta/labels/{name}_labelIds.png")
        file = f"labels/{name}_labelTrainIds.png"
        stats.append({"file": file, "0": 380, "1": 4})
        samples["0"].append([file, 380])
        samples["1"].append([file, 4])
    (tmp_path / "gta/sample_class_stats.json").write_text(json.dumps(stats))
    (tmp_path / "gta/samples_with_class.json").write_text(json.dumps(samples))
    yield tmp_path / "gta"
    sys.modules.pop("cli_models", None)


def run(*arguments: str, command: str = "translate", out: str = "out"):
    given = [command, "gta/images", "gta/labels"]
    given += [out] if command == "translate" else []
    models = ["--segmenter", "cli_models:segmenter", "--seg-normalization", "none"]
    models += ["--label-space", "classes.json", "--device", "cpu"]
    if command == "translate":
        models += ["--diffusion", "cli_models:diffusion"]
    return CliRunner().invoke(app, [*given, *models, *arguments])


def test_translate_and_evaluate(gta, tmp_path):
    done = run("--steps", "2", "--strength", "0.5", "--min-pixels", "10")
    assert done.exit_code == 0, done.output
    assert "3 translated, 0 skipped, 0 failed; results in out" in done.output
    assert "not listed for rare class sampling: 1 (red): no translated image" in done.output
    assert len(list((tmp_path / "out/images").iterdir())) == 3
    again = run("--steps", "2", "--strength", "0.5", "--min-pixels", "10")
    assert "0 translated, 3 skipped that were finished before" in again.output
    for images in ("gta/images", "out/images"):
        measured = CliRunner().invoke(app, [
            "evaluate", images, "out/labels", "--segmenter", "cli_models:segmenter",
            "--seg-normalization", "none", "--label-space", "classes.json", "--naming", "gta",
            "--target", "gta/images", "--json", "found/numbers.json", "--device", "cpu",
        ])  # fmt: skip
        assert measured.exit_code == 0, measured.output
        assert "| mean IoU |" in measured.output
        numbers = json.loads((tmp_path / "found/numbers.json").read_text())
        assert numbers["images"] == numbers["targets"] == 3
        moved = images != "gta/images"
        assert all((distance > 1e-6) == moved for distance in numbers["distance"].values())


def test_a_source_without_class_files_is_told_before_the_work(gta, tmp_path, monkeypatch):
    assert "sample_class_stats.json" not in run("--steps", "1", out="with").output
    (tmp_path / "elsewhere").mkdir()
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        (gta / name).rename(tmp_path / "elsewhere" / name)

    def never(*models, **options):
        raise ValueError("the work")

    with monkeypatch.context() as patch:
        patch.setattr("sgg.folder.translate_folder", never)
        done = run("--steps", "1")
    said, _, after = done.stderr.partition("Error: the work")
    assert after
    assert said.count("\n") == 1
    assert "no sample_class_stats.json or samples_with_class.json in gta: the set gets none" in said
    assert run("--steps", "1").exit_code == 0
    again = run("--steps", "1", "--class-files", "elsewhere", "--min-pixels", "3")
    assert "0 translated, 3 skipped" in again.output
    assert "the set gets none" not in again.output
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        assert json.loads((tmp_path / "out" / name).read_text())


def test_every_option_is_passed_on(gta, tmp_path, monkeypatch):
    seen = []

    def remembered(image, label, *models, **options):
        seen.append(options)
        return translate(image, label, *models, **options)

    monkeypatch.setattr("sgg.folder.translate.translate", remembered)
    done = run(
        "--strength", "0.75", "--steps", "3", "--sampler", "ddpm", "--guidance", "global",
        "--guidance-scale", "0.25", "--guidance-input", "x_t", "--tile-size", "8x16",
        "--tile-overlap", "4", "--tiles-per-batch", "3", "--precision", "bfloat16",
        "--channels-last", "--labels", "copy",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for name in ("generator", "ignore_index", "settings"):
        seen[0].pop(name)
    assert str(seen[0].pop("dtype")) == "torch.bfloat16"
    assert seen[0] == {
        "strength": 0.75, "num_inference_steps": 3, "sampler": "ddpm", "eta": 0.0,
        "guidance": "global", "guidance_scale": 0.25, "guidance_input": "x_t",
        "tile_size": (8, 16), "tile_overlap": 4, "tiles_per_batch": 3,
        "channels_last": True, "compile": False,
    }  # fmt: skip
    assert not (tmp_path / "out/labels").is_symlink()


def options_passed(monkeypatch, *arguments: str) -> dict:
    seen = []

    def remembered(image, label, *models, **options):
        seen.append(options)
        return image

    monkeypatch.setattr("sgg.folder.translate.translate", remembered)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return {
        name: value for name, value in seen[0].items() if name in TranslationOptions().arguments()
    }


def test_defaults_are_those_of_the_call(gta, monkeypatch):
    assert options_passed(monkeypatch) == TranslationOptions().arguments()


def test_eta_is_passed_on(gta, monkeypatch):
    assert options_passed(monkeypatch, "--eta", "0.5")["eta"] == 0.5


def test_images_go_together(gta, monkeypatch):
    counts = []

    def remembered(image, label, *models, **options):
        counts.append(len(options["generator"]))
        return image

    monkeypatch.setattr("sgg.folder.translate.translate", remembered)
    done = run("--images-per-batch", "2")
    assert done.exit_code == 0, done.output
    assert counts == [2, 1]


def test_what_cannot_be_compiled_is_said_at_once(gta, tmp_path):
    done = run("--compile")
    assert done.exit_code == 2
    assert "compile: expected a model made of torch modules" in " ".join(done.output.split())
    assert not (tmp_path / "out/images").exists()


def test_the_papers_options_and_single_settings(gta, monkeypatch):
    found = options_passed(
        monkeypatch, "--paper", "--strength", "0.5", "--set", "clip=0.1", "--tile-size", "none",
        "--set", "class_weights=1,2,3,4", "--set", "crop_margin=16",
    )  # fmt: skip
    changed = replace(
        PAPER["settings"], clip=0.1, class_weights=(1.0, 2.0, 3.0, 4.0), crop_margin=16
    )
    expected = {**PAPER, "strength": 0.5, "settings": changed, "tile_size": None}
    assert found == TranslationOptions().arguments() | expected


def test_settings_are_listed():
    done = CliRunner().invoke(app, ["translate", "--list-settings"])
    assert done.exit_code == 0
    assert "clip = None\n    expected: a number or none\n" in done.output
    assert (
        "class_weights = None\n    expected: numbers with commas between them or none"
        in done.output
    )


def test_a_bad_file_is_said_and_the_exit_code_tells(gta):
    (gta / "images/00002.png").write_bytes(b"no image")
    done = run("--steps", "1")
    assert done.exit_code == 1
    assert "failed: 00002: gta/images/00002.png: expected a readable image" in done.output
    assert "2 translated, 0 skipped, 1 failed" in done.output
    done = run("--naming", "gta", command="evaluate")
    assert done.exit_code == 1
    assert "| 2 images | % |" in done.output


def test_raw_ids_are_explained(gta):
    done = run("--label-suffix", "_labelIds")
    assert done.exit_code == 1
    assert "got 20, 21; are these raw ids?" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--diffusion", "nowhere"], "expected a diffusers folder"),
        (["--segmenter", "nowhere"], "expected a transformers folder"),
        (["--segmenter", "broken_models:make"], "No module named 'no_such_dependency'"),
        (["--label-space", "cityscapes"], "expected 19 classes, as the label space has, got 4"),
        (["--strength", "0"], "strength: expected a number in (0, 1], got 0"),
        (["--paper", "--eta", "0.5"], "eta: expected 0 with sampler 'ddpm'"),
        (["--tile-size", "8y8"], "--tile-size: expected auto, none, SIDE or HEIGHTxWIDTH"),
        (["--class-files", "out"], "expected a place apart from the inputs"),
        (["--class-files", "gta/images"], "class_files: expected a folder with sample_class_stats"),
        (["--naming", "plain"], "expected images and labels with the same names"),
        (["--set", "clip=big"], "clip: expected a number or none, got 'big'"),
        (["--set", "strength=1"], "settings: expected one of even_steps"),
        (["--device", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(gta, tmp_path, arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_the_bundled_segmenter_has_the_classes_of_streets(gta):
    done = run("--segmenter", "demo", "--label-space", "streets", "--steps", "1")
    assert done.exit_code == 0, done.output
    assert "3 translated, 0 skipped, 0 failed" in done.output


def test_a_missing_segmenter_is_said(gta):
    done = CliRunner().invoke(app, [
        "translate", "gta/images", "gta/labels", "out", "--diffusion", "cli_models:diffusion"
    ])  # fmt: skip
    assert done.exit_code == 2
    assert "--segmenter: expected a model that guides, or --guidance none" in done.output


UNGUIDED = ("--guidance", "none")


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        ((*UNGUIDED, "--segmenter", "no/such/thing"), "--segmenter", "no/such/thing"),
        (("--guidance-scale", "0", "--segmenter", "nowhere"), "--segmenter", "nowhere"),
        ((*UNGUIDED, "--seg-normalization", "none"), "--seg-normalization", "none"),
        ((*UNGUIDED, "--guidance-scale", "7"), "--guidance-scale", "7.0"),
        ((*UNGUIDED, "--guidance-input", "x_t"), "--guidance-input", "x_t"),
        ((*UNGUIDED, "--set", "clip=1", "--set", "interval=2"), "--set", "clip=1, interval=2"),
    ],
)
def test_options_of_guidance_are_refused_without_it(gta, tmp_path, arguments, option, value):
    done = CliRunner().invoke(app, [
        "translate", "gta/images", "gta/labels", "out", "--diffusion", "cli_models:diffusion",
        *arguments,
    ])  # fmt: skip
    assert done.exit_code == 2
    wanted = "another --guidance than none and a --guidance-scale over 0"
    assert f"{option}: expected only with {wanted}, got {value}" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [UNGUIDED, (*UNGUIDED, "--guidance-scale", "0")])
def test_no_guidance_needs_no_segmenter(gta, arguments):
    done = CliRunner().invoke(app, [
        "translate", "gta/images", "gta/labels", "out", "--diffusion", "cli_models:diffusion",
        "--label-space", "classes.json", "--device", "cpu", "--steps", "1", *arguments,
    ])  # fmt: skip
    assert done.exit_code == 0, done.output


def test_min_pixels_without_class_files_is_refused(gta, tmp_path):
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        (gta / name).unlink()
    done = run("--min-pixels", "5")
    assert done.exit_code == 2
    wanted = "sample_class_stats.json or samples_with_class.json (--class-files)"
    assert f"--min-pixels: expected only with {wanted}, got 5" in done.output
    assert not (tmp_path / "out").exists()


def test_a_set_inside_its_source_is_refused(gta):
    done = run(out="gta/images/translated")
    assert done.exit_code == 2
    assert "expected a place apart from gta/images" in done.output


@pytest.mark.parametrize(
    ("text", "size"),
    [("auto", "auto"), ("none", None), ("512", (512, 512)), ("256x512", (256, 512))],
)
def test_tile_sizes(text, size):
    assert tile_size_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "8x", "8x8x8", "-8", "eight"])
def test_wrong_tile_sizes(text):
    with pytest.raises(ValueError, match="--tile-size"):
        tile_size_of(text)
