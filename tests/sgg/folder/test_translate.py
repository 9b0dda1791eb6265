"""Translating a data set: what comes out, whatever happens on the way.

The models are formulas, so that an image takes milliseconds.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import fork, forking
from gaussian_domain import SCHEDULE, Denoiser, target_domain
from outcomes import statuses
from PIL import Image
from rendezvous import fork_together
from small_gta import OPTIONS, SEGMENTER, SIZE, SPACE, Source, by_colour, content

from seco.common.files import read_image
from seco.common.inputs import find_inputs
from seco.common.jobs import JobOptions
from seco.common.processes import Processes
from sgg import CallableDiffusion, GuidanceSettings, Segmenter, translate
from sgg.folder import (
    SetLayout,
    TranslationOptions,
    image_seed,
    translate_folder,
)


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path / "gta")


def test_the_set_can_take_the_place_of_its_source(source, tmp_path):
    out = tmp_path / "gta_sgg"
    made = source.translate(out)
    assert statuses(made.summary) == {"written": 6}
    names = sorted(path.name for path in (source.root / "images").iterdir())
    assert sorted(os.listdir(out / "images")) == names
    for name in names:
        with Image.open(out / "images" / name) as image:
            assert (image.format, image.mode, image.size[::-1]) == ("PNG", "RGB", SIZE)
    assert os.readlink(out / "labels") == "../gta/labels"
    assert content(out / "labels") == content(source.root / "labels")
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        before, after = ((f / name).read_text() for f in (source.root, out))
        assert json.loads(after) == json.loads(before)
    said = json.loads((out / "provenance.json").read_text())
    assert (said["images"], said["failed"]) == (6, 0)
    assert said["settings"]["seed"] == 0
    assert said["settings"]["num_inference_steps"] == 3
    assert set(said["models"]) == {"diffusion", "segmenter"}
    known = {"images", "labels", ".job", "manifest.json", "summary.json", "provenance.json"}
    known |= {"sample_class_stats.json", "samples_with_class.json"}
    assert set(os.listdir(out)) == known


def test_each_image_is_what_the_call_makes_of_it(source, tmp_path):
    source.translate(tmp_path / "out", seed=5)
    label = np.array(Image.open(source.root / "labels/00004_labelTrainIds.png"))
    expected = translate(
        read_image(source.root / "images/00004.png"),
        label,
        target_domain(),
        SEGMENTER,
        num_inference_steps=3,
        guidance_scale=0.5,
        generator=torch.Generator().manual_seed(image_seed(5, "00004")),
    )
    np.testing.assert_array_equal(read_image(tmp_path / "out/images/00004.png"), expected)


def test_noise_depends_on_the_name_and_the_seed_alone(source, tmp_path):
    image = read_image(source.root / "images/00001.png")
    for name in ("00001", "00002"):
        source.write_image(name, image)
        source.write_label(name, np.ones(SIZE, np.uint8))
    source.translate(tmp_path / "all")
    for number in (1, 2, 3, 5):
        (source.root / f"images/{number:05}.png").unlink()
    source.translate(tmp_path / "some")
    assert len(content(tmp_path / "some/images")) == 2
    whole = content(tmp_path / "all/images")
    assert content(tmp_path / "some/images").items() <= whole.items()
    assert whole["00001.png"] != whole["00002.png"]
    source.translate(tmp_path / "other", seed=1)
    assert content(tmp_path / "other/images")["00004.png"] != whole["00004.png"]


def test_global_randomness_is_untouched(source, tmp_path):
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    source.translate(tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_a_second_run_does_what_is_missing_only(source, tmp_path):
    first = Denoiser()
    source.translate(tmp_path / "out", diffusion=target_domain(first))
    assert first.calls == 6 * 3
    before = content(tmp_path / "out/images")
    (tmp_path / "out/images/00003.png").unlink()
    source.write_label("00005", np.zeros(SIZE, np.uint8))
    again = Denoiser()
    made = source.translate(tmp_path / "out", diffusion=target_domain(again))
    assert statuses(made.summary) == {"skipped": 4, "written": 2}
    assert again.calls == 2 * 3
    after = content(tmp_path / "out/images")
    assert {name for name in before if before[name] != after[name]} == {"00005.png"}


@forking
def test_a_kill_loses_nothing_and_changes_nothing(source, tmp_path):
    out = tmp_path / "out"
    denoiser = Denoiser(kill_at=3 * 3 + 2)  # within the fourth image
    # Of three finished images one at most has not been written yet.
    options = JobOptions(ahead=1)
    child = fork(lambda: source.translate(out, diffusion=target_domain(denoiser), options=options))
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (out / "sample_class_stats.json").exists()
    denoiser = Denoiser()
    made = source.translate(out, diffusion=target_domain(denoiser))
    done = len(made.summary.of("skipped"))
    assert 2 <= done <= 3
    assert denoiser.calls == 3 * (6 - done)
    source.translate(tmp_path / "at once")
    assert content(out / "images") == content(tmp_path / "at once/images")


@forking
def test_two_processes_make_the_same_set(source, tmp_path):
    (source.root / "images/00002.png").write_bytes(b"no image")

    def run(rank: int) -> None:
        denoiser = Denoiser()
        made = source.translate(
            tmp_path / "two",
            diffusion=target_domain(denoiser),
            options=JobOptions(processes=Processes.join()),
        )
        assert statuses(made.summary) == {"written": 5, "failed": 1}
        assert denoiser.calls == 3 * (2 if rank else 3)
        assert set(made.left_out) == {"3"}

    assert fork_together(run) == [0, 0]
    made = source.translate(tmp_path / "one")
    assert statuses(made.summary) == {"written": 5, "failed": 1}
    two, one = content(tmp_path / "two"), content(tmp_path / "one")
    for name in one:
        if name.startswith(("images/", "sample")):
            assert two[name] == one[name]
    assert os.readlink(tmp_path / "two/labels") == "../gta/labels"


def test_bad_files_are_reported_and_left_out_of_sampling(source, tmp_path):
    label = np.zeros(SIZE, np.uint8)
    (source.root / "images/00001.png").write_bytes(b"\x89PNG\r\n\x1a\n half a")
    source.write_label("00002", label[:-1])
    source.write_label("00003", label + 26)
    (source.root / "labels/00004_labelTrainIds.png").unlink()
    made = source.translate(tmp_path / "out")
    assert statuses(made.summary) == {"failed": 4, "written": 2}
    reasons = {outcome.name: outcome.reason for outcome in made.summary.of("failed")}
    assert "readable image" in reasons["00001"]
    assert "expected shape (12, 20) as image has, got (11, 20)" in reasons["00002"]
    assert "got 26" in reasons["00003"]
    assert "_labelTrainIds" in reasons["00003"]
    assert "no label" in reasons["00004"]
    assert sorted(content(tmp_path / "out/images")) == ["00005.png", "00006.png"]
    stats = json.loads((tmp_path / "out/sample_class_stats.json").read_text())
    assert [Path(one["file"]).name[:5] for one in stats] == ["00005", "00006"]
    assert set(made.left_out) == {"3"}
    check_sampling(tmp_path / "out", 10)


def check_sampling(out: Path, min_pixels: int) -> None:
    """What DAFormer does with the two files, and where it stops."""
    stats = json.loads((out / "sample_class_stats.json").read_text())
    samples = json.loads((out / "samples_with_class.json").read_text())
    listed = {key for one in stats for key in one if key != "file"}
    assert listed
    images = {f"{path.stem}_labelTrainIds.png" for path in (out / "images").iterdir()}
    for class_id in listed:
        usable = [file.split("/")[-1] for file, pixels in samples[class_id] if pixels > min_pixels]
        assert usable
        assert set(usable) <= images
    assert all(one["file"].split("/")[-1] in images for one in stats)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "settings.seed is 1, was 0"),
        ({"translation": replace(OPTIONS, strength=0.5)}, "settings.strength is 0.5, was 0.6"),
        (
            {"translation": replace(OPTIONS, settings=GuidanceSettings(clip=1.0))},
            "settings.settings.clip is 1.0, was None",
        ),
        ({"seg_model": Segmenter(by_colour)}, "models.segmenter is"),
        (
            {"diffusion": CallableDiffusion(Denoiser(), SCHEDULE, prediction_type="epsilon")},
            "models.diffusion is",
        ),
        ({"labels_by": "copy"}, "expected no link where labels are copied to"),
    ],
)
def test_a_set_made_otherwise_is_not_mixed(source, tmp_path, changed, said):
    out = tmp_path / "out"
    source.translate(out)
    before = content(out)
    with pytest.raises(ValueError, match=said):
        source.translate(out, **changed)
    assert content(out) == before
    if "labels_by" not in changed:
        again = source.translate(out, options=JobOptions(overwrite=True), **changed)
        assert statuses(again.summary) == {"written": 6}


def test_classes_that_can_no_longer_be_sampled_are_told(source, tmp_path):
    made = source.translate(tmp_path / "out", min_pixels=20)
    assert made.left_out == {"3": "no translated image has more than 20 pixels of it"}
    check_sampling(tmp_path / "out", 20)
    stats = json.loads((tmp_path / "out/sample_class_stats.json").read_text())
    assert len(stats) == 6
    assert all("3" not in one for one in stats)
    said = json.loads((tmp_path / "out/provenance.json").read_text())
    assert said["classes_left_out_of_sampling"] == made.left_out


def test_a_source_without_class_files_has_none(source, tmp_path):
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        shutil.move(source.root / name, tmp_path / name)
    made = source.translate(tmp_path / "out")
    assert not made.has_class_files
    assert not (tmp_path / "out/sample_class_stats.json").exists()
    made = source.translate(tmp_path / "out", class_files=tmp_path)  # all is done already
    assert made.has_class_files
    check_sampling(tmp_path / "out", 10)


def test_class_files_are_where_they_are_said_to_be(source, tmp_path):
    denoiser = Denoiser()
    with pytest.raises(ValueError, match="class_files: expected a folder with sample_class_stats"):
        source.translate(
            tmp_path / "out", diffusion=target_domain(denoiser), class_files=source.root / "images"
        )
    assert denoiser.calls == 0


@pytest.mark.parametrize(
    ("stats", "samples", "said"),
    [
        ({"file": "a"}, {}, "sample_class_stats.json: expected a list"),
        ([{"0": 3}], {}, "sample_class_stats.json: expected a list"),
        ([], [["a", 3]], "samples_with_class.json: expected an object"),
        ([], {"road": []}, "samples_with_class.json: expected an object"),
    ],
)
def test_wrong_class_files_are_refused_before_the_work(source, tmp_path, stats, samples, said):
    source.write_class_files(stats, samples)
    denoiser = Denoiser()
    with pytest.raises(ValueError, match=said):
        source.translate(tmp_path / "out", diffusion=target_domain(denoiser))
    assert denoiser.calls == 0
    (source.root / "samples_with_class.json").unlink()
    with pytest.raises(FileNotFoundError):
        source.translate(tmp_path / "out")


def test_labels_can_be_copied(source, tmp_path):
    (source.root / "labels/notes.txt").write_text("not a label")
    (source.root / "images/00001.png").write_bytes(b"no image")
    source.translate(tmp_path / "out", labels_by="copy")
    assert not (tmp_path / "out/labels").is_symlink()
    found, before = content(tmp_path / "out/labels"), content(source.root / "labels")
    assert sorted(found) == [f"{number:05}_labelTrainIds.png" for number in range(2, 7)]
    assert found.items() <= before.items()


def test_source_and_set_can_be_moved_together(source, tmp_path):
    source.translate(tmp_path / "gta_sgg")
    (tmp_path / "elsewhere").mkdir()
    for name in ("gta", "gta_sgg"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    labels = tmp_path / "elsewhere/gta_sgg/labels"
    assert labels.is_symlink()
    assert (labels / "00001_labelTrainIds.png").is_file()


def test_a_link_from_a_folder_that_is_itself_a_link(source, tmp_path):
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk/deep")
    source.translate(tmp_path / "out")
    assert content(tmp_path / "out/labels") == content(source.root / "labels")


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_nothing_of_the_users_is_replaced_by_the_link(source, tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir()
    if kind == "folder":
        (out / "labels").mkdir()
    else:
        (out / "labels").symlink_to(tmp_path / "nowhere")
    denoiser = Denoiser()
    with pytest.raises(ValueError, match="expected a link to"):
        source.translate(out, diffusion=target_domain(denoiser), options=JobOptions(overwrite=True))
    assert denoiser.calls == 0


def test_synthia_keeps_its_own_layout(source, tmp_path):
    root = tmp_path / "synthia"
    shutil.copytree(source.root / "images", root / "RGB")
    shutil.copytree(source.root / "labels", root / "GT/LABELS")
    out = tmp_path / "synthia_sgg"
    images, labels = root / "RGB", root / "GT/LABELS"
    translate_folder(
        find_inputs(images, labels, naming="synthia"), SetLayout(images, labels, out),
        target_domain(), SEGMENTER, label_space=SPACE, translation=OPTIONS,
    )  # fmt: skip
    assert len(content(out / "RGB")) == 6
    assert os.readlink(out / "GT/LABELS") == "../../synthia/GT/LABELS"
    assert content(out / "GT/LABELS") == content(labels)


def test_subfolders_and_names_with_dots_stay(source, tmp_path):
    for folder in ("images", "labels"):
        (source.root / folder / "a.b").mkdir()
    shutil.move(source.root / "images/00001.png", source.root / "images/a.b/1.5 x.png")
    shutil.move(
        source.root / "labels/00001_labelTrainIds.png",
        source.root / "labels/a.b/1.5 x_labelTrainIds.png",
    )
    source.translate(tmp_path / "out")
    assert (tmp_path / "out/images/a.b/1.5 x.png").is_file()


def test_jpeg_sources_become_png(source, tmp_path):
    image = Image.open(source.root / "images/00001.png")
    (source.root / "images/00001.png").unlink()
    image.save(source.root / "images/00001.jpg")
    source.translate(tmp_path / "out")
    assert "00001.png" in os.listdir(tmp_path / "out/images")


@pytest.mark.parametrize(
    ("seg_model", "error", "said"),
    [
        (Segmenter(lambda x: x, normalization=None), ValueError, "expected 4 classes.* got 3"),
        (None, TypeError, "seg_model: expected a segmentation model"),
    ],
)
def test_a_segmenter_that_does_not_fit_is_refused(source, tmp_path, seg_model, error, said):
    with pytest.raises(error, match=said):
        source.translate(tmp_path / "out", seg_model=seg_model)
    assert not (tmp_path / "out").exists()


def test_without_guidance_no_segmenter_is_needed(source, tmp_path):
    plain = replace(OPTIONS, guidance="none")
    made = source.translate(tmp_path / "out", seg_model=None, translation=plain)
    assert statuses(made.summary) == {"written": 6}
    source.translate(tmp_path / "guided")
    assert content(tmp_path / "out/images") != content(tmp_path / "guided/images")


def test_the_options_are_those_of_the_call():
    given = inspect.signature(translate).parameters
    others = {"src_img", "src_label", "diffusion", "seg_model", "seg_normalization"}
    others |= {"ignore_index", "generator", "progress"}
    defaults = {name: given[name].default for name in given if name not in others}
    assert TranslationOptions().arguments() == defaults
    assert {field.name for field in fields(TranslationOptions)} == set(defaults)
    assert TranslationOptions(dtype="float16").arguments()["dtype"] is torch.float16


@pytest.mark.parametrize(
    "faster", [{"tiles_per_batch": 2}, {"channels_last": True}, {"compile": True}]
)
def test_what_changes_images_by_rounding_only_may_change_from_run_to_run(
    source, tmp_path, monkeypatch, faster
):
    monkeypatch.setattr(torch, "compile", lambda forward, **options: forward)
    plain = replace(OPTIONS, guidance="none", tile_size=8)
    model = CallableDiffusion(Network(), SCHEDULE)
    source.translate(tmp_path / "out", diffusion=model, translation=plain)
    (tmp_path / "out/images/00003.png").unlink()
    made = source.translate(tmp_path / "out", diffusion=model, translation=replace(plain, **faster))
    assert statuses(made.summary) == {"skipped": 5, "written": 1}


class Network(torch.nn.Module):
    def forward(self, x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return 0.5 * x_t


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 0}, {"num_inference_steps": 0}, {"sampler": "euler"}, {"eta": 2},
        {"guidance": "both"}, {"guidance_scale": -1}, {"guidance_input": "x_0"},
        {"tile_size": 0}, {"tile_overlap": -1}, {"dtype": "float8"},
        {"tiles_per_batch": 0}, {"channels_last": 1}, {"compile": "fast"},
        {"guidance_input": "x_t", "settings": GuidanceSettings(differentiate_denoiser=True)},
    ],
)  # fmt: skip
def test_wrong_options_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match=r"expected .* got"):
        TranslationOptions(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"settings": GuidanceSettings(class_weights=(1.0, 2.0))},
            "class_weights: expected 4 numbers, one per class of the label space, got 2",
        ),
        ({"tile_size": 6}, "tile_size: expected multiples of 4, which the model takes, got"),
        ({"tile_size": 8, "tile_overlap": 7}, "tile_overlap: expected less than 8"),
    ],
)
def test_options_that_fit_no_image_are_refused_before_the_work(source, tmp_path, wrong, said):
    denoiser = Denoiser()
    model = CallableDiffusion(denoiser, SCHEDULE, size_multiple=4)
    with pytest.raises(ValueError, match=said):
        source.translate(tmp_path / "out", diffusion=model, translation=replace(OPTIONS, **wrong))
    assert not (tmp_path / "out").exists()
    assert denoiser.calls == 0


@pytest.mark.parametrize(
    "error", [MemoryError("as said"), torch.cuda.OutOfMemoryError("CUDA out of memory: as said")]
)
def test_out_of_memory_says_what_needs_less(source, tmp_path, error):
    def too_large(x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        raise error

    made = source.translate(tmp_path / "out", diffusion=CallableDiffusion(too_large, SCHEDULE))
    assert statuses(made.summary) == {"failed": 6}
    reason = made.summary.outcomes[0].reason
    less = ("max_copies", "crop_margin", "tile_size", "images_per_batch", "bfloat16")
    for name in (*less, "as said"):
        assert name in reason


def test_a_bug_of_a_model_stays_one(source, tmp_path):
    def broken(x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        source.translate(tmp_path / "out", diffusion=CallableDiffusion(broken, SCHEDULE))


def test_an_image_that_diverges_is_a_failure(source, tmp_path):
    def overflowing(x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return x_t * torch.inf

    made = source.translate(
        tmp_path / "out", diffusion=CallableDiffusion(overflowing, SCHEDULE),
    )  # fmt: skip
    assert statuses(made.summary) == {"failed": 6}
    assert "after step t=" in made.summary.outcomes[0].reason
    assert content(tmp_path / "out/images") == {}
